"""Values and gradients that are not finite, that rules were not made with."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty
from zoo.truth import loss_of


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
