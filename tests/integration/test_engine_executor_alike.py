"""Where the optimising executor is not tried: there it really gives what the plain one gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from gradclinic_engine.observe import executor_alike, executor_trial
from observed_models import FORMS, Form, observed

if TYPE_CHECKING:
    from collections.abc import Callable


class Plain(nn.Module):
    """Nothing but operations whose derivatives are alike."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 8))
        self.dead = nn.Linear(6, 8)
        self.flat = nn.Linear(6, 8)
        self.head = nn.Linear(8, 3)
        self.scale = nn.Parameter(torch.full((8,), scale))
        with torch.no_grad():
            self.dead.bias.fill_(-1e3)
            self.flat.weight.mul_(1e4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.body(x) * self.scale - torch.relu(self.dead(x)) + torch.sigmoid(self.flat(x))
        return self.head(torch.relu(torch.neg(h)))


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.conv(x.reshape(-1, 1, 4, 4)))
        return self.head(h.permute(0, 2, 3, 1).contiguous().flatten(1))


class Root(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x)).sqrt()


def tried(
    monkeypatch: pytest.MonkeyPatch, model: nn.Module, x: torch.Tensor, form: Form, *, all_tried: bool = False
) -> tuple[bool, tuple[object, ...]]:
    """Whether the optimising executor was tried, and what differed."""
    calls = []
    run = executor_trial.optimised_gradients

    def counted(*arguments: object) -> object:
        calls.append(arguments)
        return run(*arguments)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(executor_trial, "optimised_gradients", counted)
    if all_tried:
        monkeypatch.setattr(executor_alike, "cannot_differ", lambda *_: False)
    target = torch.arange(len(x)) % 3
    found = observed(model, (x,), form, target=target, loss="cross_entropy")
    assert [] == [what for what, _ in found.unobserved]
    return bool(calls), found.executor_differences


MODELS = [
    pytest.param(lambda: (Plain(1.0), torch.randn(8, 6)), id="perceptron"),
    pytest.param(lambda: (Plain(0.0), torch.randn(8, 6)), id="zero-weights"),
    pytest.param(lambda: (Plain(1.0), torch.zeros(8, 6)), id="zero-input"),
    pytest.param(lambda: (Plain(1e6), torch.randn(8, 6) * 1e3), id="large"),
    pytest.param(lambda: (Plain(1e-30), torch.randn(8, 6)), id="tiny"),
    pytest.param(lambda: (Images(), torch.randn(8, 16)), id="convolution"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", MODELS)
def test_what_is_not_tried_would_not_differ(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], tuple[nn.Module, torch.Tensor]], form: Form
) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        model, x = make()
        with monkeypatch.context() as patch:
            assert (False, ()) == tried(patch, model, x, form)
        with monkeypatch.context() as patch:
            assert (True, ()) == tried(patch, model, x, form, all_tried=True)


@pytest.mark.parametrize("form", FORMS)
def test_anything_else_is_tried(monkeypatch: pytest.MonkeyPatch, form: Form) -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 6)
    for model, inputs in ((Root(), x), (Plain(1e20), x), (Plain(1.0).double(), x.double() * 1e30)):
        with monkeypatch.context() as patch:
            assert tried(patch, model, inputs, form)[0]
