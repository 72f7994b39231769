"""Faults of batches, modes and structure that rules were not made with."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty
from zoo.cases.held_out_losses import depends_on_another_sample


class Forecaster(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(3, 16, batch_first=True)
        self.out = nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.rnn(x)[0][:, -1])


@faulty(Expected("unscaled-input", name="input:0"), "told")
def time_stamps_into_an_lstm() -> Built:
    x = torch.randn(16, 10, 3)
    x[:, :, 0] = 1.7e9 + torch.arange(10) * 3600.0
    return Built(Forecaster(), (x,), torch.randn(16, 1), "mse_loss")


@faulty(Expected("unscaled-input", name="input:0"), "told")
def raw_pixels_into_a_sigmoid_network() -> Built:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 5), nn.Sigmoid(), nn.AvgPool2d(2), nn.Conv2d(8, 12, 3), nn.Sigmoid(), nn.Flatten(),
        nn.Linear(48, 5),
    )  # fmt: skip
    return Built(model, (torch.randint(0, 256, (10, 3, 12, 12)).float(),), classes(5, 10), "cross_entropy")


@faulty(Expected("unscaled-input", name="input:0"), "told")
def pressures_with_a_large_offset() -> Built:
    model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1))
    return Built(model, (101_325 + 400 * torch.randn(32, 6),), torch.randn(32, 1), "mse_loss")


class Pictured(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3)
        self.context = nn.Linear(9, 12)
        self.out = nn.Linear(12, 3)

    def forward(self, image: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return self.out(F.gelu(self.conv(image).mean((2, 3)) + self.context(context)))


@faulty(Expected("constant-input", name="input:0"), "told")
def the_same_picture_for_every_sample() -> Built:
    image = torch.randn(3, 10, 10).expand(18, 3, 10, 10).contiguous()
    return Built(Pictured(), (image, torch.randn(18, 9)), classes(3, 18), "cross_entropy")


@faulty(Expected("constant-input", name="input:0"), "told")
def most_features_never_vary() -> Built:
    x = torch.randn(1, 30).repeat(40, 1)
    x[:, :4] = torch.randn(40, 4)
    model = nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 1))
    return Built(model, (x,), torch.randn(40, 1), "mse_loss")


@faulty(Expected("duplicate-samples", name="input:0"), "told")
def sentences_oversampled() -> Built:
    model = nn.Sequential(nn.Embedding(50, 12), nn.Flatten(), nn.Linear(12 * 7, 3))
    tokens = torch.randint(0, 50, (6, 7)).repeat(4, 1)
    return Built(model, (tokens,), classes(3, 6).repeat(4), "cross_entropy")


class SmallNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 10, 3, padding=1)
        self.norm = nn.BatchNorm2d(10)
        self.block = nn.Sequential(nn.Conv2d(10, 10, 3, padding=1), nn.BatchNorm2d(10), nn.ReLU())
        self.head = nn.Linear(10, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(F.relu(self.norm(self.stem(x)))).mean((2, 3)))


@faulty(Expected("frozen-normalization", module="norm"), "told", "script")
def untouched_statistics_in_eval_mode() -> Built:
    """Statistics as they are made (0 and 1), data in pixels, and only this layer in eval mode."""
    model = SmallNet()
    model.norm.eval()
    with torch.no_grad():
        model.stem.weight.mul_(30.0)
        model.stem.bias.add_(60.0)
    x = torch.randn(8, 3, 8, 8)
    far = lambda: float((model.stem(x).mean((0, 2, 3)) - model.norm.running_mean).abs().mean()) > 20  # noqa: E731 - a word for it
    return Built(model, (x,), classes(4, 8), "cross_entropy", shown=far)


@faulty(Expected("batch-too-small", module="1"), "raises", "script")
def batch_norm_after_global_pooling_of_one_image() -> Built:
    features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    model = nn.Sequential(features, nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 3))
    return Built(model, (torch.randn(1, 3, 16, 16),), torch.tensor([2]), "cross_entropy")


@faulty(Expected("batch-too-small", module=("1", "4")), "told", "script")
def batch_norm_of_two_samples() -> Built:
    model = nn.Sequential(
        nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(),
        nn.Linear(32, 1),
    )  # fmt: skip
    x = torch.randn(2, 10)
    signs = lambda: bool((model[1](model[0](x)).abs() > 0.9).float().mean() > 0.8)  # noqa: E731 - all that is left is a sign
    return Built(model, (x,), torch.randn(2, 1), "mse_loss", shown=signs)


class Forgetful(nn.Module):
    """Keep probability passed where the drop probability belongs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 24, 3)
        self.drop = nn.Dropout(0.95)
        self.out = nn.Linear(24, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.drop(F.relu(self.conv(x)).amax(2)))


@faulty(Expected("excessive-dropout", module="drop"), "told", "script")
def keep_probability_as_drop_probability() -> Built:
    return Built(Forgetful(), (torch.randn(24, 4, 16),), classes(3, 24), "cross_entropy")


@faulty(Expected("zero-multiplier", module="2"), "zero")
def dropout_of_everything() -> Built:
    model = nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Dropout(1.0), nn.Linear(20, 3))
    return Built(model, (torch.randn(24, 12),), classes(3, 24), "cross_entropy", suffers=("0.weight", "0.bias"))


@faulty(Expected("linear-collapse", module=("2", "3")), "told")
def convolutions_without_an_activation() -> Built:
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.Identity(), nn.Conv2d(16, 32, 3), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(32 * 16, 4),
    )  # fmt: skip
    return Built(model, (torch.randn(8, 3, 10, 10),), classes(4, 8), "cross_entropy")


class WrongAxis(nn.Module):
    """Batch-first data in an LSTM that expects time first: it runs through the samples."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(6, 16)
        self.out = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.rnn(x)[0].mean(1))


@faulty(Expected("sample-leak", module="rnn"), "told")
def lstm_runs_through_the_batch() -> Built:
    model = WrongAxis()
    x = torch.randn(10, 7, 6)
    leaks = lambda: depends_on_another_sample(_reversed(model), x.flip(0))  # noqa: E731 - a word for it
    return Built(model, (x,), classes(3, 10), "cross_entropy", shown=leaks)


class _Reversed(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x.flip(0)).flip(0)


def _reversed(model: nn.Module) -> nn.Module:
    return _Reversed(model)


class AttendsAcross(nn.Module):
    """Batch-first data in attention that expects time first."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(16, 4)
        self.out = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed, _ = self.attend(x, x, x, need_weights=False)
        return self.out((x + mixed).mean(1))


@faulty(Expected("sample-leak", module="attend"), "told")
def attention_across_the_batch() -> Built:
    model = AttendsAcross()
    x = torch.randn(9, 7, 16)
    return Built(model, (x,), classes(3, 9), "cross_entropy", shown=lambda: depends_on_another_sample(model, x))


class ViewedWrong(nn.Module):
    """Channels and samples are mixed by a view."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 8, 3, padding=1)
        self.out = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.conv(x))
        h = h.permute(2, 0, 1).contiguous().view(x.shape[0], -1, 8)
        return self.out(h.mean(1))


@faulty(Expected("sample-leak", op=("aten::view", "aten::permute", "aten::contiguous")), "told")
def view_after_a_permutation() -> Built:
    model = ViewedWrong()
    x = torch.randn(8, 2, 12)
    return Built(model, (x,), classes(4, 8), "cross_entropy", shown=lambda: depends_on_another_sample(model, x))


class RunningSum(nn.Module):
    """A running sum along the wrong dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 12)
        self.out = nn.Linear(12, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.body(x))
        return self.out(torch.cumsum(h, dim=0))


@faulty(Expected("sample-leak", op="aten::cumsum", line="torch.cumsum"), "told")
def running_sum_over_the_batch() -> Built:
    model = RunningSum()
    x = torch.randn(12, 6)
    leaks = lambda: depends_on_another_sample(_reversed(model), x.flip(0))  # noqa: E731 - a word for it
    return Built(model, (x,), classes(2, 12), "cross_entropy", shown=leaks)


@faulty(Expected("inference-trace"), "told", "trace")
def batch_norm_and_dropout_traced_in_eval_mode() -> Built:
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.Dropout2d(0.25), nn.Flatten(), nn.Linear(12 * 36, 5)
    ).eval()
    return Built(model, (torch.randn(10, 3, 8, 8),), classes(5, 10), "cross_entropy")
