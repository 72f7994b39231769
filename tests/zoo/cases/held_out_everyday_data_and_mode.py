"""Faults of batches, modes and structure as they happen on an ordinary day, in models that rules were not made with."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


@faulty(Expected("unscaled-input", name="input:0"), "told")
def pixels_as_they_come() -> Built:
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 64), nn.Tanh(), nn.Linear(64, 5))
    return Built(model, (torch.randint(0, 256, (24, 1, 12, 12)).float(),), classes(5, 24), "cross_entropy")


class Sensors(nn.Module):
    """Two sources; one sensor is stuck."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(8, 16)
        self.right = nn.Linear(8, 16)
        self.head = nn.Linear(32, 1)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(torch.cat([self.left(left), self.right(right)], 1)))


@faulty(Expected("constant-input", name="input:1"), "told")
def one_sensor_is_stuck() -> Built:
    stuck = torch.randn(1, 8).expand(20, 8).clone()
    return Built(Sensors(), (torch.randn(20, 8), stuck), torch.randn(20, 1), "mse_loss")


@faulty(Expected("duplicate-samples"), "told")
def a_sampler_that_repeats() -> Built:
    model = nn.Sequential(nn.Linear(9, 30), nn.ReLU(), nn.Linear(30, 4))
    rows = torch.randn(5, 9)
    return Built(model, (rows[classes(5, 30)],), classes(5, 30) % 4, "cross_entropy")


class Dropped(nn.Module):
    """keep_prob given as the rate."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(12, 64)
        self.drop = nn.Dropout(0.95)
        self.b = nn.Linear(64, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.drop(F.gelu(self.a(x))))


@faulty(Expected("excessive-dropout", module="drop"), "told")
def keep_rate_given_as_dropout() -> Built:
    return Built(Dropped(), (torch.randn(32, 12),), classes(4, 32), "cross_entropy")


class NoActivation(nn.Module):
    """An MLP without activations."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(10, 64)
        self.fc2 = nn.Linear(64, 64)
        self.fc3 = nn.Linear(64, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc3(self.fc2(self.fc1(x)))


@faulty(Expected("linear-collapse"), "told")
def three_layers_and_no_activation() -> Built:
    return Built(NoActivation(), (torch.randn(32, 10),), classes(2, 32), "cross_entropy")


class Mixed(nn.Module):
    """A reshape where a transpose was needed: (T, B, F) read as (B, T, F)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 12)
        self.head = nn.Linear(12 * 5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.embed(x)).transpose(0, 1).contiguous()
        return self.head(h.view(x.size(0), -1))


@faulty(Expected("sample-leak"), "told")
def time_and_batch_mixed_up() -> Built:
    return Built(Mixed(), (torch.randn(8, 5, 6),), classes(3, 8), "cross_entropy")


@faulty(Expected("batch-too-small"), "raises", "script")
def one_sample_through_batch_norm() -> Built:
    model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))
    return Built(model, (torch.randn(1, 6),), classes(3, 1), "cross_entropy")


@faulty(Expected("inference-trace"), "told", "trace")
def exported_for_inference() -> Built:
    model = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Dropout(0.3), nn.Linear(24, 3)).eval()
    return Built(model, (torch.randn(16, 6),), classes(3, 16), "cross_entropy")


class Clipped(nn.Module):
    """The clipped ratio of PPO: within the clip both sides tie, and the optimising executor drops ties."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 4))

    def forward(
        self, state: torch.Tensor, action: torch.Tensor, before: torch.Tensor, gain: torch.Tensor
    ) -> torch.Tensor:
        now = F.log_softmax(self.net(state), -1).gather(1, action.unsqueeze(1)).squeeze(1)
        ratio = torch.exp(now - before)
        return -torch.min(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()


@faulty(Expected("executor-dependent", op="aten::min"), "told")
def clipped_policy_ratio() -> Built:
    torch.manual_seed(5)
    model = Clipped()
    state, action = torch.randn(48, 6), classes(4, 48)
    with torch.no_grad():
        before = F.log_softmax(model.net(state), -1).gather(1, action.unsqueeze(1)).squeeze(1)
    inputs = (state, action, before + 0.05 * torch.randn(48), torch.randn(48))
    return Built(model, inputs, None, "model", shown=lambda: _is_lost(model, inputs))


def _is_lost(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> bool:
    """Whether training the script in the default executor comes to get no gradient at all."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")
        script = torch.jit.script(model)
    for _ in range(3):
        script.zero_grad()
        script(*inputs).backward()
    return not any(bool(parameter.grad.any()) for parameter in script.parameters())
