"""Vanishing, exploding and non-finite gradients that rules were not made with."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty
from zoo.truth import gradients, loss_of


def _scaled(module: nn.Linear | nn.Conv2d, std: float) -> nn.Module:
    nn.init.normal_(module.weight, std=std)
    nn.init.zeros_(module.bias)
    return module


@faulty(Expected("vanishing-gradient"), "tiny")
def deep_convolutions_with_sigmoids() -> Built:
    layers: list[nn.Module] = [nn.Conv2d(1, 8, 3, padding=1), nn.Sigmoid()]
    for _ in range(15):
        layers += [nn.Conv2d(8, 8, 3, padding=1), nn.Sigmoid()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    suffers = ("0.weight", "2.weight")
    return Built(model, (torch.randn(8, 1, 8, 8),), classes(4, 8), "cross_entropy", suffers=suffers)


class SigmoidRecurrence(nn.Module):
    """The memory of the first step is gone: sigmoid units, sixty steps."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Linear(4, 20)
        self.into = nn.Linear(4, 20)
        self.recur = nn.Linear(20, 20)
        self.out = nn.Linear(20, 1)

    def forward(self, first: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
        h = self.start(first)
        for t in range(rest.shape[1]):
            h = torch.sigmoid(self.into(rest[:, t]) + self.recur(h))
        return self.out(h)


@faulty(Expected("vanishing-gradient"), "tiny")
def first_state_of_a_sigmoid_recurrence() -> Built:
    inputs = (torch.randn(16, 4), torch.randn(16, 60, 4))
    return Built(SigmoidRecurrence(), inputs, torch.randn(16, 1), "mse_loss", suffers=("start.weight", "start.bias"))


class Doubling(nn.Module):
    """Residual blocks without normalisation whose branches are as strong as the stream."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 32)
        self.blocks = nn.ModuleList([nn.Linear(32, 32, bias=False) for _ in range(48)])
        self.head = nn.Linear(32, 2)
        for block in self.blocks:
            nn.init.orthogonal_(block.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + 1.6 * F.leaky_relu(block(x), 0.5)
        return self.head(x)


@faulty(Expected("exploding-gradient"), "huge")
def residual_stream_that_doubles() -> Built:
    return Built(Doubling(), (torch.randn(16, 8),), classes(2, 16), "cross_entropy", suffers=("stem.weight",))


class GrowingMemory(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(3, 20, nonlinearity="relu")
        self.out = nn.Linear(20, 2)
        with torch.no_grad():
            self.cell.weight_hh.copy_(1.7 * torch.eye(20))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.shape[0], 20)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        return self.out(h)


@faulty(Expected("exploding-gradient"), "told")
def relu_recurrence_with_growing_memory() -> Built:
    built = Built(GrowingMemory(), (torch.randn(16, 45, 3),), torch.randn(16, 2), "mse_loss")
    built.shown = lambda: float(gradients(built)["cell.weight_hh"].norm()) > 1e12
    return built


@faulty(Expected("poor-initialization"), "tiny")
def weights_drawn_far_too_small() -> Built:
    layers: list[nn.Module] = []
    for _ in range(9):
        layers += [_scaled(nn.Linear(64, 64), 0.01), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(64, 5))
    built = Built(model, (torch.randn(32, 64),), classes(5, 32), "cross_entropy", suffers=("0.weight", "2.weight"))
    model[16].bias.data.fill_(0.1)
    return built


@faulty(Expected("poor-initialization"), "told")
def convolutions_drawn_from_a_unit_normal() -> Built:
    layers: list[nn.Module] = [_scaled(nn.Conv2d(3, 16, 3, padding=1), 1.0), nn.ReLU()]
    for _ in range(7):
        layers += [_scaled(nn.Conv2d(16, 16, 3, padding=1), 1.0), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))
    x = torch.randn(8, 3, 10, 10)
    return Built(model, (x,), classes(4, 8), "cross_entropy", shown=lambda: float(model(x).std()) > 1e5)


class TinyHalfLoss(nn.Module):
    """Half precision without loss scaling: gradients are below the smallest number."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.body = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16)).half()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return ((self.body(x) - y).square() * self.weight).mean()


def _underflowing(weight: float, zero_share: float) -> Built:
    """Built so that at least this share of the first layer's gradient is zero, and is not in single precision."""
    x, y = torch.randn(128, 32).half(), torch.randn(128, 16).half()
    built = Built(TinyHalfLoss(weight), (x, y), None, "model")
    single = Built(copy.deepcopy(built.model).float(), (x.float(), y.float()), None, "model")

    def shown() -> bool:
        half, full = (gradients(each)["body.0.weight"] for each in (built, single))
        return float((half == 0).float().mean()) >= zero_share and bool((full != 0).float().mean() > 0.9)

    built.shown = shown
    return built


@faulty(Expected("gradient-underflow"), "told")
def half_precision_and_a_tiny_loss_weight() -> Built:
    return _underflowing(8e-5, 0.2)


@faulty(Expected("gradient-underflow", op="aten::mul", line="* self.weight"), "told")
def half_precision_and_a_loss_weight_that_leaves_nothing() -> Built:
    return _underflowing(4e-5, 1.0)


class CosineOfNearlyNothing(nn.Module):
    """Embeddings near the origin are divided by their length."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 8))
        self.classes = nn.Linear(8, 3, bias=False)
        with torch.no_grad():
            self.encode[2].weight.mul_(1e-9)
            self.encode[2].bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.encode(x)
        return self.classes(z / torch.linalg.vector_norm(z, dim=1, keepdim=True))


@faulty(Expected("ill-conditioned-op", op="aten::div", line="z / torch"), "huge")
def direction_of_vectors_of_length_zero() -> Built:
    suffers = ("encode.2.weight",)
    return Built(CosineOfNearlyNothing(), (torch.randn(16, 6),), classes(3, 16), "cross_entropy", suffers=suffers)


class Ratio(nn.Module):
    """One sample's denominator is almost zero."""

    def __init__(self) -> None:
        super().__init__()
        self.top = nn.Linear(5, 3)
        self.bottom = nn.Linear(5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.top(x) / (self.bottom(x).square() + 1e-9)


@faulty(Expected("ill-conditioned-op", op="aten::div", line="self.top(x) /"), "told")
def ratio_with_one_tiny_denominator() -> Built:
    model = Ratio()
    x = torch.randn(16, 5)
    with torch.no_grad():
        model.bottom.bias.sub_(model.bottom(x)[4])
    built = Built(model, (x,), torch.randn(16, 3), "l1_loss")
    built.shown = lambda: float(gradients(built)["top.weight"].abs().max()) > 1e5
    return built


@faulty(Expected("non-finite-input", name="input:0"), "non-finite")
def missing_values_in_a_table() -> Built:
    x = torch.randn(32, 9)
    x[torch.rand(32, 9) < 0.03] = torch.nan
    model = nn.Sequential(nn.Linear(9, 20), nn.ReLU(), nn.Linear(20, 2))
    return Built(model, (x,), classes(2, 32), "cross_entropy", suffers=("0.weight", "2.weight"))


@faulty(Expected("non-finite-input", name="target"), "non-finite")
def infinite_target() -> Built:
    y = torch.randn(32, 1)
    y[11] = torch.inf
    model = nn.Sequential(nn.Linear(9, 20), nn.ReLU(), nn.Linear(20, 1))
    return Built(model, (torch.randn(32, 9),), y, "mse_loss", suffers=("0.weight", "2.weight"))


@faulty(Expected("non-finite-parameter", parameter=("1.running_var",)), "non-finite", "script")
def corrupt_running_variance() -> Built:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 3))
    model[1].eval()
    model[1].running_var[2] = torch.nan
    return Built(model, (torch.randn(8, 3, 8, 8),), classes(3, 8), "cross_entropy", suffers=("0.weight",))


class MaskedMean(nn.Module):
    """One sample has no tokens at all."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 12, padding_idx=0)
        self.out = nn.Linear(12, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        keep = (tokens > 0).float().unsqueeze(2)
        return self.out((self.embed(tokens) * keep).sum(1) / keep.sum(1))


@faulty(Expected("non-finite-forward", op="aten::div", line="/ keep.sum(1)"), "non-finite")
def mean_of_no_tokens() -> Built:
    tokens = torch.randint(1, 30, (10, 8))
    tokens[6] = 0
    return Built(MaskedMean(), (tokens,), classes(3, 10), "cross_entropy", suffers=("out.weight",))


class AllMasked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 16)
        self.attend = nn.MultiheadAttention(16, 2, batch_first=True)
        self.out = nn.Linear(16, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens)
        mixed, _ = self.attend(x, x, x, key_padding_mask=tokens == 0)
        return self.out(mixed.mean(1))


@faulty(Expected("non-finite-forward", module="attend"), "non-finite")
def attention_with_every_key_masked() -> Built:
    tokens = torch.randint(1, 30, (9, 7))
    tokens[2] = 0
    suffers = ("embed.weight", "attend.in_proj_weight", "out.weight")
    return Built(AllMasked(), (tokens,), classes(3, 9), "cross_entropy", suffers=suffers)


class OverflowingRates(nn.Module):
    """Poisson rates by exp of something that is not small."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 1)
        nn.init.constant_(self.body.bias, 95.0)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        rate = self.body(x).exp()
        return (rate - y * torch.log(rate)).mean()


@faulty(Expected("non-finite-forward", op="aten::exp", line=".exp()"), "non-finite")
def rates_overflow() -> Built:
    return Built(OverflowingRates(), (torch.rand(20, 4), torch.ones(20, 1)), None, "model", suffers=("body.weight",))


class Entropy(nn.Module):
    """p log p where some p is exactly zero: the loss is NaN, though ReLU keeps it from the gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        p = F.relu(self.body(x))
        return -(p * p.log()).sum(1).mean()


@faulty(Expected("non-finite-forward", op="aten::log", line="p.log()"), "told")
def entropy_with_zero_probabilities() -> Built:
    built = Built(Entropy(), (torch.randn(16, 6),), None, "model")
    built.shown = lambda: bool(loss_of(built).isnan())
    return built


class Distances(nn.Module):
    """All pairs' distances; those to oneself are zero."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(7, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.encode(x)
        square = (z.unsqueeze(0) - z.unsqueeze(1)).pow(2).sum(-1)
        return (square.sqrt() - 1.0).abs().mean()


@faulty(Expected("non-finite-backward", op="aten::sqrt", line="sqrt()"), "non-finite")
def distance_to_oneself() -> Built:
    return Built(Distances(), (torch.randn(12, 7),), None, "model", suffers=("encode.weight",))


class SafeLog(nn.Module):
    """`where` around log: forward is fine, backward multiplies zero by infinity."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(10) + 0.5)
        self.head = nn.Linear(10, 2)

    def forward(self, counts: torch.Tensor) -> torch.Tensor:
        h = counts * self.scale
        return self.head(torch.where(h > 0, torch.log(h), torch.zeros_like(h)))


@faulty(Expected("non-finite-backward", op="aten::log", line="torch.log(h)"), "non-finite")
def where_around_a_logarithm() -> Built:
    counts = torch.poisson(torch.full((16, 10), 2.0))
    return Built(SafeLog(), (counts,), classes(2, 16), "cross_entropy", suffers=("scale",))


class Angles(nn.Module):
    """The angle between a direction and itself."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(8, 4, bias=False)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        left, right = F.normalize(self.encode(a), dim=1), F.normalize(self.encode(b), dim=1)
        cosine = (left * right).sum(1).clamp(-1.0, 1.0)
        return torch.acos(cosine).mean()


@faulty(Expected("non-finite-backward", op="aten::acos", line="torch.acos"), "non-finite")
def angle_of_equal_directions() -> Built:
    model = Angles()
    nn.init.eye_(model.encode.weight)
    a = torch.randn(10, 8)
    a[3] = torch.tensor([2.0, 0, 0, 0, 1, 1, 1, 1])
    b = torch.randn(10, 8)
    b[3] = torch.tensor([5.0, 0, 0, 0, 3, 1, 2, 1])
    return Built(model, (a, b), None, "model", suffers=("encode.weight",))


class HalfScores(nn.Module):
    """Unscaled attention scores in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(64, 64).half()
        self.key = nn.Linear(64, 64).half()
        self.head = nn.Linear(64, 3).half()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = torch.matmul(self.query(x) * 60.0, (self.key(x) * 60.0).transpose(1, 2))
        return self.head(torch.softmax(scores, dim=-1) @ x).float().mean(1)


@faulty(Expected("overflow-low-precision", op="aten::matmul", line="torch.matmul"), "non-finite")
def attention_scores_overflow_in_half_precision() -> Built:
    x = (torch.randn(6, 5, 64) * 6).half()
    return Built(HalfScores(), (x,), classes(3, 6), "cross_entropy", suffers=("query.weight", "head.weight"))


class HalfSquares(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(16, 32).half()
        nn.init.constant_(self.body.bias, 300.0)
        self.head = nn.Linear(32, 1).half()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.body(x)
        return self.head(h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True)))


@faulty(Expected("overflow-low-precision", op="aten::pow", line="h.pow(2)"), "told")
def squares_overflow_in_half_precision() -> Built:
    model = HalfSquares()
    x = torch.randn(8, 16).half()
    shown = lambda: not bool(model.body(x).pow(2).isfinite().all())  # noqa: E731 - a word for it
    return Built(model, (x,), torch.randn(8, 1).half(), "mse_loss", shown=shown)
