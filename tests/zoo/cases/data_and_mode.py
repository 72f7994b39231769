"""Faulty batches, and models in the wrong mode or of a wrong structure."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


def classifier(inputs: int = 12, outputs: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 32), nn.Tanh(), nn.Linear(32, outputs))


@faulty(Expected("unscaled-input", name="input:0"), "told")
def raw_pixels_into_tanh() -> Built:
    x = torch.randint(0, 256, (32, 12)).float()
    return Built(classifier(), (x,), classes(4, 32), "cross_entropy")


@faulty(Expected("unscaled-input", name="input:0"), "told")
def prices_in_cents() -> Built:
    model = nn.Sequential(nn.Linear(5, 16), nn.Sigmoid(), nn.Linear(16, 1))
    return Built(model, (torch.rand(32, 5) * 50_000 + 10_000,), torch.randn(32, 1), "mse_loss")


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 16)
        self.b = nn.Linear(6, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.a(a) + self.b(b)))


@faulty(Expected("constant-input", name="input:1"), "told")
def second_input_is_the_same_for_every_sample() -> Built:
    inputs = (torch.randn(32, 6), torch.randn(1, 6).expand(32, 6).clone())
    return Built(TwoInputs(), inputs, classes(3, 32), "cross_entropy")


@faulty(Expected("duplicate-samples", name="input:0"), "told")
def the_loader_repeats_one_sample() -> Built:
    return Built(classifier(), (torch.randn(1, 12).expand(32, 12).clone(),), classes(4, 32), "cross_entropy")


@faulty(Expected("duplicate-samples", name="input:0"), "told")
def most_samples_are_copies() -> Built:
    x = torch.randn(32, 12)
    x[8:] = x[torch.arange(24) % 8]
    return Built(classifier(), (x,), classes(4, 32), "cross_entropy")


class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.norm(self.conv(x))).mean((2, 3)))


@faulty(Expected("frozen-normalization", module="norm"), "told", "script")
def batch_norm_in_eval_mode_with_wrong_statistics() -> Built:
    model = Normalised()
    model.norm.eval()
    model.norm.running_mean.fill_(40.0)
    model.norm.running_var.fill_(0.01)
    return Built(model, (torch.randn(8, 3, 8, 8),), classes(4, 8), "cross_entropy")


class BatchOfOne(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 12)
        self.norm = nn.BatchNorm1d(12)
        self.head = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.norm(self.body(x))))


@faulty(Expected("batch-too-small", module="norm"), "raises", "script")
def batch_norm_of_one_sample() -> Built:
    return Built(BatchOfOne(), (torch.randn(1, 6),), torch.tensor([1]), "cross_entropy")


@faulty(Expected("excessive-dropout", module="2"), "told", "script")
def dropout_of_nearly_everything() -> Built:
    model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Dropout(0.97), nn.Linear(64, 3))
    return Built(model, (torch.randn(32, 12),), classes(3, 32), "cross_entropy")


@faulty(Expected("linear-collapse", module="1"), "told")
def three_linear_layers_in_a_row() -> Built:
    model = nn.Sequential(nn.Linear(12, 64), nn.Linear(64, 64), nn.Linear(64, 4))
    return Built(model, (torch.randn(32, 12),), classes(4, 32), "cross_entropy")


class MixedUp(nn.Module):
    """A view where a transpose was meant: samples and time steps are mixed."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(5, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, steps = x.shape[0], x.shape[1]
        h = torch.relu(self.body(x))
        h = h.transpose(0, 1).reshape(batch, steps, 16)
        return self.head(h.mean(1))


@faulty(Expected("sample-leak", op=("aten::reshape", "aten::transpose")), "told")
def reshape_mixes_batch_and_time() -> Built:
    return Built(MixedUp(), (torch.randn(8, 6, 5),), classes(3, 8), "cross_entropy")


class WithDropout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(F.relu(self.norm(self.conv(x))).mean((2, 3))))


@faulty(Expected("inference-trace"), "told", "trace")
def traced_in_eval_mode() -> Built:
    return Built(WithDropout().eval(), (torch.randn(8, 1, 8, 8),), classes(3, 8), "cross_entropy")
