"""Values rounded, in flat regions, one-hot or constant by their normalisation; rules were not made with these."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class QuantisedWeights(nn.Module):
    """Quantisation-aware training without the straight-through estimator."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, 10) * 0.3)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        step = 0.1
        weight = (self.weight / step + 0.5).floor() * step
        return self.head(F.relu(F.linear(x, weight)))


@faulty(Expected("zero-derivative-op", op="aten::floor", line=".floor()"), "zero")
def weights_quantised_by_floor() -> Built:
    return Built(QuantisedWeights(), (torch.randn(24, 10),), classes(3, 24), "cross_entropy", suffers=("weight",))


class BinaryGates(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(12, 20)
        self.body = nn.Linear(12, 20)
        self.head = nn.Linear(20, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        keep = torch.bernoulli(torch.sigmoid(self.gate(x)))
        return self.head(keep * torch.tanh(self.body(x)))


@faulty(Expected("zero-derivative-op", op="aten::bernoulli", line="torch.bernoulli"), "zero")
def gates_drawn_at_random() -> Built:
    return Built(BinaryGates(), (torch.randn(24, 12),), classes(2, 24), "cross_entropy", suffers=("gate.weight",))


class Integral(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.where = nn.Linear(4, 2)
        self.grow = nn.Linear(2, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.grow(self.where(x).mul(8).trunc_())


@faulty(Expected("zero-derivative-op", op=("aten::trunc_", "aten::trunc"), line="trunc_()"), "zero")
def coordinates_truncated_in_place() -> Built:
    return Built(Integral(), (torch.randn(30, 4),), torch.randn(30, 6), "mse_loss", suffers=("where.weight",))


class DeadConvolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 12, 3, padding=1)
        self.norm = nn.BatchNorm2d(12)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(12, 12, 3, padding=1)
        self.head = nn.Linear(12, 5)
        nn.init.constant_(self.norm.bias, -30.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.norm(self.conv1(x)))
        return self.head(self.conv2(x).mean((2, 3)))


@faulty(Expected("dead-relu", module="relu"), "zero")
def shift_of_batch_norm_kills_a_layer() -> Built:
    suffers = ("conv1.weight", "norm.weight", "conv2.weight")
    return Built(DeadConvolution(), (torch.randn(8, 3, 9, 9),), classes(5, 8), "cross_entropy", suffers=suffers)


class RectifiedByMaximum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(10, 40)
        self.second = nn.Linear(40, 3)
        nn.init.constant_(self.first.bias, -12.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x)
        return self.second(torch.maximum(h, torch.zeros_like(h)))


@faulty(Expected("dead-relu", op="aten::maximum", line="torch.maximum"), "zero")
def maximum_with_zero_is_dead() -> Built:
    return Built(
        RectifiedByMaximum(), (torch.randn(20, 10),), classes(3, 20), "cross_entropy", suffers=("first.weight",)
    )


class RectifiedByClamp(nn.Module):
    """Nearly all units are off after one step too large."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(10, 100)
        self.second = nn.Linear(100, 3)
        with torch.no_grad():
            self.first.bias[:96] = -15.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).clamp_(min=0.0))


@faulty(Expected("dead-relu", op=("aten::clamp_", "aten::clamp_min_"), line="clamp_(min"), "told")
def clamp_at_zero_with_most_units_off() -> Built:
    model = RectifiedByClamp()
    x = torch.randn(50, 10)
    off = lambda: bool(((model.first(x) > 0).any(0)).float().mean() < 0.1)  # noqa: E731 - a word for it
    return Built(model, (x,), classes(3, 50), "cross_entropy", shown=off)


class ForcedGates(nn.Module):
    """An attention gate whose bias was set as if it were a probability in percent."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(16, 16)
        self.body = nn.Linear(16, 16)
        self.head = nn.Linear(16, 1)
        nn.init.constant_(self.gate.bias, 50.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x + torch.sigmoid(self.gate(x)) * self.body(x))


@faulty(Expected("saturated-activation", op="aten::sigmoid", line="torch.sigmoid"), "zero")
def sigmoid_gate_held_open() -> Built:
    return Built(ForcedGates(), (torch.randn(24, 16),), torch.randn(24, 1), "mse_loss", suffers=("gate.weight",))


@faulty(Expected("saturated-activation", module="2"), "zero")
def relu6_beyond_six() -> Built:
    model = nn.Sequential(nn.Conv1d(2, 10, 3), nn.BatchNorm1d(10), nn.ReLU6(), nn.Flatten(), nn.Linear(180, 2))
    nn.init.constant_(model[1].bias, 25.0)
    return Built(model, (torch.randn(12, 2, 20),), classes(2, 12), "cross_entropy", suffers=("0.weight", "1.weight"))


class LargeRecurrence(nn.Module):
    """A GRU whose biases were set far too large: every gate is at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(8, 24, batch_first=True)
        self.out = nn.Linear(24, 3)
        with torch.no_grad():
            self.rnn.bias_ih_l0.copy_(torch.where(torch.rand(72) > 0.5, 35.0, -35.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.rnn(x)[0].mean(1))


@faulty(Expected("saturated-activation", module="rnn"), "tiny")
def gates_of_a_gru_saturated() -> Built:
    suffers = ("rnn.weight_ih_l0", "rnn.weight_hh_l0")
    return Built(LargeRecurrence(), (torch.randn(16, 10, 8),), classes(3, 16), "cross_entropy", suffers=suffers)


class Bounded(nn.Module):
    """A policy's log standard deviation, all below the clamp's range."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 24), nn.ReLU())
        self.mean = nn.Linear(24, 2)
        self.log_std = nn.Linear(24, 2)
        nn.init.constant_(self.log_std.bias, -9.0)

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        h = self.body(state)
        log_std = self.log_std(h).clamp(-5.0, 2.0)
        return (log_std + 0.5 * ((action - self.mean(h)) / log_std.exp()) ** 2).mean()


@faulty(Expected("clamp-saturation", op="aten::clamp", line="clamp(-5.0"), "zero")
def log_deviation_below_the_clamp() -> Built:
    inputs = (torch.randn(32, 6), torch.randn(32, 2) * 0.01)
    return Built(Bounded(), inputs, None, "model", suffers=("log_std.weight", "log_std.bias"))


class ClippedScores(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(9, 16), nn.Tanh(), nn.Linear(16, 1))
        nn.init.constant_(self.body[2].bias, 4.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x).clip(1e-7, 1 - 1e-7)


@faulty(Expected("clamp-saturation", op=("aten::clip", "aten::clamp"), line="clip(1e-7"), "zero")
def scores_clipped_to_probabilities() -> Built:
    y = (torch.rand(32, 1) > 0.5).float()
    return Built(ClippedScores(), (torch.randn(32, 9),), y, "binary_cross_entropy", suffers=("body.0.weight",))


class SharpAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(20, 60)
        self.out = nn.Linear(20, 3)
        with torch.no_grad():
            self.qkv.weight[:40].mul_(150.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).unsqueeze(1).chunk(3, dim=-1)
        return self.out(F.scaled_dot_product_attention(q, k, v).squeeze(1).mean(1))


@faulty(Expected("saturated-softmax", op="aten::scaled_dot_product_attention", line="scaled_dot_product"), "told")
def fused_attention_is_one_hot() -> Built:
    return Built(SharpAttention(), (torch.randn(10, 8, 20),), classes(3, 10), "cross_entropy")


class ColdGate(nn.Module):
    """A router with a temperature that is far too low."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 3)
        self.experts = nn.Parameter(torch.randn(3, 8, 4) * 0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        share = (self.gate(x) / 1e-4).softmax(dim=1)
        return torch.einsum("be,bi,eio->bo", share, x, self.experts)


@faulty(Expected("saturated-softmax", op="aten::softmax", line="softmax(dim=1)"), "told")
def router_far_too_cold() -> Built:
    return Built(ColdGate(), (torch.randn(32, 8),), torch.randn(32, 4), "mse_loss")


class OneHead(nn.Module):
    """Attention over a memory of a single slot."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(6, 10)
        self.key = nn.Linear(6, 10)
        self.value = nn.Linear(6, 10)
        self.out = nn.Linear(10, 2)

    def forward(self, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        share = torch.softmax(self.query(x).unsqueeze(1) @ self.key(memory).transpose(1, 2), dim=2)
        return self.out((share @ self.value(memory)).squeeze(1))


@faulty(Expected("degenerate-normalization", op="aten::softmax", line="torch.softmax"), "zero")
def attention_over_one_slot() -> Built:
    inputs = (torch.randn(16, 6), torch.randn(16, 1, 6))
    return Built(OneHead(), inputs, classes(2, 16), "cross_entropy", suffers=("query.weight", "key.weight"))


@faulty(Expected("degenerate-normalization", module="2"), "zero")
def layer_norm_of_one_feature() -> Built:
    model = nn.Sequential(nn.Linear(7, 14), nn.ReLU(), nn.LayerNorm(1), nn.Flatten(), nn.Linear(14, 2))
    model[1] = nn.Sequential(nn.ReLU(), nn.Unflatten(1, (14, 1)))
    return Built(model, (torch.randn(16, 7),), classes(2, 16), "cross_entropy", suffers=("0.weight",))


@faulty(Expected("degenerate-normalization", module="3"), "tiny")
def group_norm_with_a_group_per_value() -> Built:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.GroupNorm(8, 8), nn.Flatten(), nn.Linear(8, 4)
    )
    return Built(model, (torch.randn(12, 3, 10, 10),), classes(4, 12), "cross_entropy", suffers=("0.weight",))
