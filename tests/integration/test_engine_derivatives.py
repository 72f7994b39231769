"""Models whose forward takes derivatives itself (`torch.autograd.grad`): gradient penalties, PINNs, force fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from eager_reference import Request, compared, measured, only, sites, unobserved
from gradclinic_engine.measurements import GradientStatus
from observed_models import alarms

if TYPE_CHECKING:
    from collections.abc import Callable


class Critic(nn.Module):
    """WGAN-GP: scores, and a penalty on the slope between real and fake samples."""

    def __init__(self, *, keeps_graph: bool, with_scores: bool) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(4, 16), nn.Linear(16, 1)
        self.keeps_graph, self.with_scores = keeps_graph, with_scores

    def score(self, samples: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.tanh(self.inner(samples)))

    def forward(self, real: torch.Tensor, fake: torch.Tensor, share: torch.Tensor) -> dict[str, torch.Tensor]:
        between = (share * real + (1 - share) * fake).requires_grad_(True)  # noqa: FBT003 - as TorchScript has it
        slope = torch.autograd.grad([self.score(between).sum()], [between], create_graph=self.keeps_graph)[0]
        assert slope is not None
        loss = 10.0 * (slope.norm(2, dim=1) - 1).square().mean()
        if self.with_scores:
            loss = loss + self.score(fake).mean() - self.score(real).mean()
        return {"loss": loss}


class Residual(nn.Module):
    """A PINN: u'' = -sin(x), with u(0) = u(1) = 0 where it has a boundary."""

    def __init__(self, activation: nn.Module, *, with_boundary: bool) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 32), activation, nn.Linear(32, 32), activation, nn.Linear(32, 1))
        self.with_boundary = with_boundary

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = x.requires_grad_(True)  # noqa: FBT003 - as TorchScript has it
        slope = torch.autograd.grad([self.net(x).sum()], [x], create_graph=True)[0]
        assert slope is not None
        bend = torch.autograd.grad([slope.sum()], [x], create_graph=True)[0]
        assert bend is not None
        loss = (bend + torch.sin(x)).square().mean()
        if self.with_boundary:
            loss = loss + self.net(torch.zeros(1, 1)).square().mean() + self.net(torch.ones(1, 1)).square().mean()
        return {"loss": loss}


class Forces(nn.Module):
    """A force field: the negative derivative of the energy with respect to positions ``[batch, atoms, 3]``."""

    def __init__(self, activation: nn.Module, *, keeps_graph: bool) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(3, 32), activation, nn.Linear(32, 32), activation, nn.Linear(32, 1, bias=False)
        )
        self.keeps_graph = keeps_graph

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        positions = positions.requires_grad_(True)  # noqa: FBT003 - as TorchScript has it
        slope = torch.autograd.grad([self.net(positions).sum()], [positions], create_graph=self.keeps_graph)[0]
        assert slope is not None
        return -slope


def critic(*, keeps_graph: bool = True, with_scores: bool = True) -> Request:
    torch.manual_seed(0)
    batch = (torch.randn(32, 4), torch.randn(32, 4) + 2, torch.rand(32, 1))
    return Request(Critic(keeps_graph=keeps_graph, with_scores=with_scores), batch, loss="model", output="loss")


def pinn(activation: nn.Module, *, with_boundary: bool) -> Request:
    torch.manual_seed(0)
    return Request(
        Residual(activation, with_boundary=with_boundary), (torch.rand(64, 1) * 3,), loss="model", output="loss"
    )


def forces(activation: nn.Module, *, keeps_graph: bool = True) -> Request:
    torch.manual_seed(0)
    model, target = Forces(activation, keeps_graph=keeps_graph), torch.randn(24, 5, 3)
    return Request(model, (torch.randn(24, 5, 3),), loss="mse_loss", target=target)


HEALTHY = {
    "gradient penalty with scores": critic,
    "gradient penalty": lambda: critic(with_scores=False),
    "PINN with boundary": lambda: pinn(nn.Tanh(), with_boundary=True),
    "PINN": lambda: pinn(nn.Tanh(), with_boundary=False),
    "force field": lambda: forces(nn.SiLU()),
}


@pytest.mark.parametrize("request_of", HEALTHY.values(), ids=HEALTHY)
def test_healthy_models_have_the_gradients_of_eager_autograd_and_no_alarm(request_of: Callable[[], Request]) -> None:
    found = compared(request_of())
    assert alarms(found) == []
    assert "the optimising executor" not in dict(found.unobserved)
    assert unobserved(found) == {}
    last = sites(found, "grad")[-1]
    assert last.requires_grad
    assert last.gradient is not None


def test_samples_are_compared_where_the_output_is_a_derivative() -> None:
    assert measured(forces(nn.SiLU())).unobserved == ()


NO_SECOND_DERIVATIVE = ("zero-derivative-op", "aten::relu")
NO_GRAPH = ("detached-graph", "aten::grad")
SICK = {
    "gradient penalty without a graph": (lambda: critic(keeps_graph=False, with_scores=False), NO_GRAPH, 3),
    "forces without a graph": (lambda: forces(nn.SiLU(), keeps_graph=False), NO_GRAPH, 5),
    "PINN of ReLUs": (lambda: pinn(nn.ReLU(), with_boundary=False), NO_SECOND_DERIVATIVE, 5),
    "forces of ReLUs": (lambda: forces(nn.ReLU()), NO_SECOND_DERIVATIVE, 2),
}


@pytest.mark.parametrize(("request_of", "expected", "starved"), SICK.values(), ids=SICK)
def test_a_derivative_that_gives_no_gradient_is_found(
    request_of: Callable[[], Request], expected: tuple[str, str], starved: int
) -> None:
    found = compared(request_of())
    (finding,) = alarms(found)
    assert (finding.code, finding.location.op) == expected
    assert finding.location.source is not None
    assert len(finding.affected) == starved


def test_a_derivative_depends_on_what_its_formula_names_alone() -> None:
    derivative = only(measured(critic()), "grad")
    assert set(derivative.parameters) == {"outer.weight", "inner.weight"}  # not on the bias that is added last
    assert derivative.reached_by == {"outer.weight", "inner.weight", "inner.bias"}


class SteepProbe(nn.Module):
    """Takes a derivative a thousand times as large as that of its loss, which does not read it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.tanh(self.layer(x.requires_grad_(True)))  # noqa: FBT003 - as TorchScript has it
        slope = torch.autograd.grad([1000.0 * y.sum()], [x], retain_graph=True)[0]
        assert slope is not None
        return y + 0.0 * slope.detach().sum()


def test_gradients_within_forward_are_not_counted_as_those_of_the_loss() -> None:
    torch.manual_seed(0)
    x, target = torch.randn(16, 4), torch.randn(16, 8)
    model = SteepProbe()
    found = compared(Request(model, (x,), loss="mse_loss", target=target))
    y = torch.tanh(model.layer(x)).detach().requires_grad_()
    nn.functional.mse_loss(y, target).backward()
    assert y.grad is not None
    gradient = only(found, "tanh").gradient
    assert gradient is not None
    assert gradient.element_count == y.numel()
    assert gradient.rms == pytest.approx(float(y.grad.square().mean().sqrt()), rel=1e-5)
    assert only(found, "linear").gradient_order > only(found, "tanh").gradient_order


class BackwardWithin(nn.Module):
    """Calls `backward` within forward: what it leaves in a parameter's gradient stays there."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.tanh(self.layer(x))
        y.sum().backward(retain_graph=True)
        return y


def test_a_backward_within_forward_adds_to_gradients_as_in_eager_mode() -> None:
    torch.manual_seed(0)
    compared(Request(BackwardWithin(), (torch.randn(16, 4),), loss="mse_loss", target=torch.randn(16, 8)))


class Overflowing(nn.Module):
    """Writes into its input, asks for a derivative with respect to it, and overflows."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1, bias=False)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x.mul_(2.0)
        slope = torch.autograd.grad([self.layer(x.requires_grad_(True)).sum()], [x], create_graph=True)[0]  # noqa: FBT003 - as TorchScript has it
        assert slope is not None
        return {"loss": torch.exp(slope.abs().sum() + 1e4)}


def test_a_second_run_begins_with_the_input_as_it_was_sent() -> None:
    torch.manual_seed(0)
    found = measured(Request(Overflowing(), (torch.randn(16, 4),), loss="model", output="loss"))
    (finding,) = alarms(found)
    assert (finding.code, finding.location.op) == ("non-finite-forward", "aten::exp")
    assert only(found, "exp").culprit is not None


def test_the_boundary_term_of_a_pinn_of_relus_trains_it() -> None:
    found = compared(pinn(nn.ReLU(), with_boundary=True))
    assert {parameter.status for parameter in found.parameters} == {GradientStatus.FLOWING}
