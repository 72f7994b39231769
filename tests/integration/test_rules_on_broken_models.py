"""Broken models in several spellings, scripted and traced: the cause is named once, at its place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

from observed_models import FORMS, Form, alarms, observed


class Around(nn.Module):
    """An encoder, something in between, and a head."""

    def __init__(self, *, width: int = 24, bias: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Linear(16, width))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3))
        last = nn.Linear(16, width)
        with torch.no_grad():
            last.bias.add_(bias)
            last.weight.mul_(scale)
        self.encoder[2] = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.between(self.encoder(x)))

    def between(self, h: torch.Tensor) -> torch.Tensor:
        return h


class Detach(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        return h.detach()


class DetachInPlace(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        h = h * 1.5
        h.detach_()
        return h


class ByData(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        return h.data * 2.0


class NoGrad(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.tanh(h)


class Compared(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        return (h > 0.1).float()


class Cast(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        return (h * 10).long().to(torch.float32)


class Sorted(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        return torch.argsort(h, dim=1).to(torch.float32) * 0.1


class OneNumber(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(h) * h.mean().item() + torch.arange(h.size(1))


class Stepped(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        return h // 0.25


class DeadModule(Around):
    def __init__(self) -> None:
        super().__init__(bias=-70.0)
        self.act = nn.ReLU()

    def between(self, h: torch.Tensor) -> torch.Tensor:
        return self.act(h)


class DeadMethod(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        return (h - 33.0).relu()


class DeadInPlace(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        h = h - 33.0
        torch.relu_(h)
        return h


class DeadClamp(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        return (h - 20.0).clamp(min=0)


class MostlyDead(Around):
    """All but one in sixteen units are off."""

    def __init__(self) -> None:
        super().__init__(width=64)
        self.act = nn.ReLU()

    def between(self, h: torch.Tensor) -> torch.Tensor:
        return self.act(h - 25.0 * (torch.arange(64) < 60).float())


class SaturatedModule(Around):
    def __init__(self) -> None:
        super().__init__(scale=400.0)
        self.act = nn.Tanh()

    def between(self, h: torch.Tensor) -> torch.Tensor:
        return self.act(h)


class SaturatedSigmoid(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(h * 300.0)


class SaturatedInPlace(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        h = h + 15.0
        h.tanh_()
        return h


class SaturatedRelu6(Around):
    def __init__(self) -> None:
        super().__init__(bias=50.0)
        self.act = nn.ReLU6()

    def between(self, h: torch.Tensor) -> torch.Tensor:
        return self.act(h)


class LogOfNegative(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        return torch.log(h.pow(3))


class ZeroByZero(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        gate = (h > 1e6).to(h.dtype)
        return h * gate / gate.sum(1, keepdim=True)


class Overflow(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        grown = torch.exp(h.abs() * 1e4 + 100)
        return grown / grown.sum(1, keepdim=True)


class MaskedRow(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        mask = torch.zeros_like(h) > torch.ones_like(h)
        mask[1] = True
        return torch.softmax(h.masked_fill(mask, -math.inf), 1)


class RootOfZero(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        return torch.sqrt((h - h.detach()).pow(2).sum(1, keepdim=True)) + h


class PowerOfZero(Around):
    def between(self, h: torch.Tensor) -> torch.Tensor:
        return (h - h.amin(1, keepdim=True)).pow(0.4) + h


class Hidden(Around):
    """`where` discards the bad value, but not its derivative."""

    def between(self, h: torch.Tensor) -> torch.Tensor:
        distance = (h - h.detach()).abs()
        return torch.where(distance > 0, torch.sqrt(distance), h)


class Idle(Around):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(24, 24)


class IdleNumber(Around):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(24))


class IdleBranch(Around):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(24, 24)

    def between(self, h: torch.Tensor) -> torch.Tensor:
        if h.shape[0] > 1000:
            h = self.spare(h)
        return h


def frozen() -> Around:
    model = Around()
    model.requires_grad_(requires_grad=False)
    return model


@dataclass(frozen=True)
class Broken:
    """A model, the code it must get, and where."""

    build: Callable[[], nn.Module]
    code: str
    op: str | None = None
    module: str | None = None
    parameter: str | None = None
    forms: tuple[Form, ...] = FORMS


BROKEN = [
    Broken(Detach, "detached-graph", "aten::detach", ""),
    Broken(DetachInPlace, "detached-graph", module=""),
    Broken(ByData, "detached-graph", module="", forms=("script",)),
    Broken(NoGrad, "detached-graph", "aten::tanh", "", forms=("script",)),
    Broken(Compared, "non-differentiable-op", "aten::gt", ""),
    Broken(Cast, "non-differentiable-op", "aten::to", ""),
    Broken(Sorted, "non-differentiable-op", "aten::argsort", ""),
    Broken(OneNumber, "non-differentiable-op", "aten::item", "", forms=("script",)),
    Broken(Stepped, "non-differentiable-op", "aten::floor_divide", ""),
    Broken(DeadModule, "dead-relu", "aten::relu", "act"),
    Broken(DeadMethod, "dead-relu", "aten::relu", ""),
    Broken(DeadInPlace, "dead-relu", "aten::relu_", ""),
    Broken(DeadClamp, "dead-relu", "aten::clamp", ""),
    Broken(MostlyDead, "dead-relu", "aten::relu", "act"),
    Broken(SaturatedModule, "saturated-activation", "aten::tanh", "act"),
    Broken(SaturatedSigmoid, "saturated-activation", "aten::sigmoid", ""),
    Broken(SaturatedInPlace, "saturated-activation", "aten::tanh_", ""),
    Broken(SaturatedRelu6, "saturated-activation", module="act"),
    Broken(LogOfNegative, "non-finite-forward", "aten::log", ""),
    Broken(ZeroByZero, "non-finite-forward", "aten::div", ""),
    Broken(Overflow, "non-finite-forward", "aten::exp", ""),
    Broken(MaskedRow, "non-finite-forward", "aten::softmax", ""),
    Broken(RootOfZero, "non-finite-backward", "aten::sqrt", ""),
    Broken(PowerOfZero, "non-finite-backward", "aten::pow", ""),
    Broken(Hidden, "non-finite-backward", "aten::sqrt", ""),
    Broken(Idle, "unused-parameter", module="spare"),
    Broken(IdleNumber, "unused-parameter", parameter="scale"),
    Broken(IdleBranch, "unused-parameter", module="spare"),
    Broken(frozen, "frozen-parameter", module=""),
]
CASES = [pytest.param(broken, form, id=f"{broken.build.__name__}-{form}") for broken in BROKEN for form in broken.forms]


@pytest.mark.parametrize(("broken", "form"), CASES)
def test_named_once_at_its_place(broken: Broken, form: Form) -> None:
    torch.manual_seed(5)
    found = alarms(
        observed(broken.build(), (torch.randn(10, 6),), form, target=torch.arange(10) % 3, loss="cross_entropy")
    )
    assert [broken.code] == [finding.code for finding in found]
    where = found[0].location
    assert broken.op in (None, where.op)
    assert broken.module in (None, where.module)
    assert broken.parameter in (None, where.parameter)
    # A trace keeps the line's number and not its text.
    assert where.op is None or form == "trace" or where.source is not None


def deep(activation: type[nn.Module], depth: int, scale: float, *, width: int = 32) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layer = nn.Linear(width, width)
        nn.init.normal_(layer.weight, std=scale / math.sqrt(width))
        nn.init.zeros_(layer.bias)
        layers += [layer, activation()]
    return nn.Sequential(*layers, nn.Linear(width, 3))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("activation", "depth", "scale", "code"),
    [
        (nn.Sigmoid, 30, 1.0, "vanishing-gradient"),
        (nn.Sigmoid, 11, 0.8, "vanishing-gradient"),
        (nn.Tanh, 25, 0.4, "poor-initialization"),
        (nn.ReLU, 14, 0.3, "poor-initialization"),
        (nn.Softplus, 40, 0.5, "vanishing-gradient"),
        (nn.ReLU, 12, 7.0, "poor-initialization"),
        (nn.LeakyReLU, 20, 4.0, "poor-initialization"),
        (nn.Identity, 16, 3.0, "poor-initialization"),
    ],
)
def test_depth(activation: type[nn.Module], depth: int, scale: float, code: str, form: Form) -> None:
    torch.manual_seed(6)
    model = nn.Sequential(deep(activation, depth, scale))
    found = alarms(observed(model, (torch.randn(16, 32),), form, target=torch.randn(16, 3), loss="mse_loss"))
    also = ["linear-collapse"] if activation is nn.Identity else []
    assert [code, *also] == [finding.code for finding in found]
    assert found[0].location.module == "0.0"
    assert "0.0.weight" in found[0].affected


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["input", "target"])
def test_bad_values_from_outside(place: str, form: Form) -> None:
    torch.manual_seed(7)
    x, y = torch.randn(10, 6), torch.randn(10, 3)
    (x if place == "input" else y)[4, 2] = math.nan
    (found,) = alarms(observed(Around(), (x,), form, target=y, loss="mse_loss"))
    assert found.code == "non-finite-input"
    assert found.location.name == ("input:0" if place == "input" else "target")
    assert [4] == [evidence.sample for evidence in found.evidence if evidence.sample is not None]


@pytest.mark.parametrize("form", FORMS)
def test_a_spoiled_weight(form: Form) -> None:
    model = Around()
    spoiled = nn.Linear(6, 16)
    with torch.no_grad():
        spoiled.weight[1, 1] = math.inf
    model.encoder[0] = spoiled
    (found,) = alarms(observed(model, (torch.randn(10, 6),), form, target=torch.randn(10, 3), loss="mse_loss"))
    assert ("non-finite-parameter", "encoder.0.weight") == (found.code, found.location.parameter)


def test_a_cut_names_all_that_it_starves() -> None:
    (found,) = alarms(observed(Detach(), (torch.randn(10, 6),), "script", target=torch.randn(10, 3), loss="mse_loss"))
    assert {"encoder.0.weight", "encoder.0.bias", "encoder.2.weight", "encoder.2.bias"} == set(found.affected)
