"""Gains of the gradient, op by op, layer by layer and step by step, against networks that know their answer."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from gradclinic_engine.result import result_of
from gradclinic_engine.rules import judge
from gradclinic_worker.report import report
from observed_models import FORMS, Form, observed

if TYPE_CHECKING:
    from gradclinic.v1 import flow_pb2
    from gradclinic_engine.measurements import Measurements

WIDTH = 16


def sites(found: Measurements, op: str) -> list[flow_pb2.Site]:
    return [site for site in report(result_of(judge(found))).sites if site.location.op == op]


class Behind(nn.Module):
    """A function behind a layer of which only the function reads the output."""

    def __init__(self, function: nn.Module, *, value: float | None = None) -> None:
        super().__init__()
        self.enter = nn.Linear(WIDTH, WIDTH)
        self.function = function
        if value is not None:  # every element that the function gets
            nn.init.zeros_(self.enter.weight)
            nn.init.constant_(self.enter.bias, value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self.enter(x))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        (nn.Sigmoid(), 0.0, 0.25),
        (nn.Sigmoid(), 3.0, math.exp(-3) / (1 + math.exp(-3)) ** 2),
        (nn.Tanh(), 0.5, 1 - math.tanh(0.5) ** 2),
        (nn.ReLU(), 2.0, 1.0),
        (nn.ReLU(), -2.0, 0.0),
        (nn.LeakyReLU(0.01), -2.0, 0.01),
        (nn.Softplus(), 1.0, 1 / (1 + math.exp(-1))),
        (nn.ELU(), -1.0, math.exp(-1)),
    ],
    ids=repr,
)
def test_an_activation_hands_on_its_derivative(function: nn.Module, value: float, expected: float, form: Form) -> None:
    found = observed(Behind(function, value=value), [torch.randn(6, WIDTH)], form)
    (_, activation) = report(result_of(judge(found))).sites
    assert pytest.approx(expected, rel=1e-4) == activation.gradient_gain


class Scale(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * -3.0


class Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1)


class Cube(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x**3


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [(Scale(), None, 3.0), (Mean(), None, 1 / WIDTH), (Cube(), 0.1, 3 * 0.1**2)],
    ids=["a factor", "a mean", "a power"],
)
def test_arithmetic_hands_on_its_derivative(
    function: nn.Module, value: float | None, expected: float, form: Form
) -> None:
    found = observed(Behind(function, value=value), [torch.randn(6, WIDTH)], form)
    assert pytest.approx(expected, rel=1e-4) == report(result_of(judge(found))).sites[-1].gradient_gain


class Rotations(nn.Module):
    """Layers that only turn and scale what passes: each multiplies the length of a gradient by the same number."""

    def __init__(self, depth: int, gain: float) -> None:
        super().__init__()
        layers = [nn.Linear(WIDTH, WIDTH) for _ in range(depth)]
        for layer in layers:
            nn.init.orthogonal_(layer.weight, gain)
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("gain", [0.3, 1.0, 2.5])
def test_a_stack_of_rotations_has_one_gain_throughout(gain: float, form: Form) -> None:
    layers = sites(observed(Rotations(9, gain), [torch.randn(6, WIDTH)], form), "aten::linear")
    assert [pytest.approx(gain, rel=1e-4)] * 8 == [layer.gradient_gain for layer in layers[1:]]
    assert pytest.approx(gain**8, rel=1e-3) == layers[0].gradient.rms / layers[-1].gradient.rms


class Turning(nn.Module):
    """A state that a loop turns and scales."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.enter = nn.Linear(4, WIDTH)
        self.again = nn.Linear(WIDTH, WIDTH, bias=False)
        nn.init.orthogonal_(self.again.weight, gain)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = self.enter(x[:, 0])
        for step in range(1, x.size(1)):
            state = self.again(state) + self.enter(x[:, step])
        return state


@pytest.mark.parametrize("gain", [0.5, 1.5])
def test_a_loop_has_one_gain_per_step(gain: float) -> None:
    found = observed(Turning(gain), [torch.randn(5, 12, 4)], "script")
    (again,) = (site for site in sites(found, "aten::linear") if site.location.module == "again")
    by_step = list(again.gradient_rms_by_call)
    assert 11 == len(by_step)
    assert [pytest.approx(gain, rel=1e-3)] * 10 == [early / late for early, late in itertools.pairwise(by_step)]
