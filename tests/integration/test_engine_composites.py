"""Activations that are written as several operations are known for what they are, and their look-alikes are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # everybody's name for it

from eager_reference import Request, measured
from observed_models import FORMS, Form

if TYPE_CHECKING:
    from collections.abc import Callable


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 6)


class Softsign(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.softsign(self.fc(x))


class SoftsignByHand(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x)
        return y / (1 + torch.abs(y))


class TimesMask(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x)
        return (y > 0) * y


class TimesNumbers(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x)
        return y * (y >= 0).float()


class Chosen(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x)
        return torch.where(y > 0, y, torch.zeros_like(y))


class ChosenNumber(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x)
        return torch.where(y > 0, y, 0.0)


class ChosenTheOtherWay(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x)
        return torch.where(y < 0, torch.zeros_like(y), y)


class Filled(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x)
        return y.masked_fill(y < 0, 0.0)


class Written(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x)
        y[y < 0] = 0.0
        return y


class Larger(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x)
        return torch.max(torch.zeros_like(y), y)


class LargerThanZero(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.maximum(self.fc(x), torch.tensor(0.0))


class LargerOfTwo(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x)
        return torch.max(y, -y) + y.max(dim=1, keepdim=True)[0]


class Leaking(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x)
        return torch.where(y > 0, y, 0.1 * y)


class MaskOfAnother(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) * (x.sum(1, keepdim=True) > 0).float()


class AboveOne(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x)
        return y * (y > 1).float()


class SizeOfAnother(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) / (1 + x.sum(1, keepdim=True).abs())


RECTIFIERS = [TimesMask, TimesNumbers, Chosen, ChosenNumber, ChosenTheOtherWay, Filled, Written, Larger, LargerThanZero]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        *((model, {"aten::softsign"}) for model in (Softsign, SoftsignByHand)),
        *((model, {"aten::relu"}) for model in RECTIFIERS),
        *((model, set()) for model in (Leaking, LargerOfTwo, MaskOfAnother, AboveOne, SizeOfAnother)),
    ],
)
def test_what_an_operation_acts_as(model: type[nn.Module], expected: set[str], form: Form) -> None:
    found = measured(Request(model(), (torch.randn(8, 4),), form))
    assert {site.acts_as for site in found.sites} - {""} == expected


@pytest.mark.parametrize("model", RECTIFIERS)
def test_units_of_a_written_out_rectifier_that_are_off(model: type[Own]) -> None:
    own = model()
    own.fc.bias = nn.Parameter(torch.tensor([0.0, -90.0, 0.0, -90.0, 90.0, 0.0]))
    found = measured(Request(own, (torch.randn(64, 4),)))
    assert [site.dead_unit_share for site in found.sites if site.acts_as] == [pytest.approx(2 / 6)]


@pytest.mark.parametrize("activation", [F.gelu, F.silu, F.mish, F.hardswish])
def test_units_of_smooth_rectifiers_that_are_off(activation: Callable[[torch.Tensor], torch.Tensor]) -> None:
    class Smooth(Own):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return activation(self.fc(x))

    own = Smooth()
    own.fc.bias = nn.Parameter(torch.tensor([0.0, -90.0, -1.5, -90.0, 90.0, 0.0]))
    found = measured(Request(own, (torch.randn(64, 4).clamp(-1, 1) / 4,), "trace"))
    assert [site.dead_unit_share for site in found.sites[1:]] == [pytest.approx(2 / 6)]
