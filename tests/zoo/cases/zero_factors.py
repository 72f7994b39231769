"""Faulty models in which a zero multiplies a path: weights, gates, masks, coefficients, inputs; and copied units."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class LowRank(nn.Module):
    """A frozen layer with a low-rank update both halves of which start at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(20, 20)
        self.base.requires_grad_(requires_grad=False)
        self.down = nn.Linear(20, 4, bias=False)
        self.up = nn.Linear(4, 20, bias=False)
        self.head = nn.Linear(20, 5)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.gelu(self.base(x) + self.up(self.down(x)) * 2.0))


@faulty(Expected("zero-weights", parameter=("down.weight", "up.weight")), "zero")
def both_halves_of_a_low_rank_update_are_zero() -> Built:
    suffers = ("down.weight", "up.weight")
    return Built(LowRank(), (torch.randn(12, 20),), classes(5, 12), "cross_entropy", suffers=suffers)


class FrozenZeroConv(nn.Module):
    """A zero convolution, as control branches have them, that somebody froze."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.control = nn.Conv2d(3, 8, 3, padding=1)
        self.gate = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 4)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)
        self.gate.requires_grad_(requires_grad=False)

    def forward(self, x: torch.Tensor, hint: torch.Tensor) -> torch.Tensor:
        h = self.stem(x) + self.gate(F.silu(self.control(hint)))
        return self.head(F.silu(h).mean(dim=(2, 3)))


@faulty(Expected("zero-weights", parameter="gate.weight"), "zero")
def zero_convolution_is_frozen() -> Built:
    inputs = (torch.randn(6, 3, 8, 8), torch.randn(6, 3, 8, 8))
    return Built(FrozenZeroConv(), inputs, classes(4, 6), "cross_entropy", suffers=("control.weight", "control.bias"))


class ZeroAttention(nn.Module):
    """Query and key both start at zero: the scores' derivative to each is the other one."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 16)
        self.query = nn.Parameter(torch.zeros(16, 16))
        self.key = nn.Parameter(torch.zeros(16, 16))
        self.value = nn.Linear(16, 16)
        self.head = nn.Linear(16, 6)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens)
        scores = (x @ self.query) @ (x @ self.key).transpose(1, 2) / 4.0
        return self.head((scores.softmax(-1) @ self.value(x)).mean(1))


@faulty(Expected("zero-weights", parameter=("query", "key")), "zero")
def query_and_key_start_at_zero() -> Built:
    tokens = torch.randint(0, 30, (10, 7))
    return Built(ZeroAttention(), (tokens,), classes(6, 10), "cross_entropy", suffers=("query", "key"))


class ZeroScaleThenReLU(nn.Module):
    """A normalisation whose scale and shift are zero, and a ReLU that sees nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 10, 3, padding=1)
        self.norm = nn.BatchNorm1d(10)
        self.out = nn.Conv1d(10, 2, 1)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.norm(self.conv(x)))).mean(-1)


@faulty(Expected("zero-weights", parameter="norm.weight"), "zero")
def zero_scale_before_a_relu() -> Built:
    suffers = ("conv.weight", "norm.weight", "out.weight")
    return Built(ZeroScaleThenReLU(), (torch.randn(8, 4, 12),), torch.randn(8, 2), "mse_loss", suffers=suffers)


class Recommender(nn.Module):
    """Dense features that a broken join filled with zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(40, 8)
        self.dense = nn.Sequential(nn.Linear(13, 8), nn.ReLU())
        self.score = nn.Linear(16, 1)

    def forward(self, item: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return self.score(torch.cat([self.items(item), self.dense(features)], dim=1)).squeeze(1)


@faulty(Expected("zero-input", parameter="dense.0.weight"), "zero")
def dense_features_all_zero() -> Built:
    inputs = (torch.randint(0, 40, (24,)), torch.zeros(24, 13))
    y = (torch.arange(24) % 2).float()
    return Built(Recommender(), inputs, y, "binary_cross_entropy_with_logits", suffers=("dense.0.weight",))


class Placeholder(nn.Module):
    """A context that was never filled in."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 6, 3)
        self.context = nn.Linear(10, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        context = torch.zeros(x.size(0), 10)
        h = F.relu(self.body(x)).mean(dim=(2, 3)) + self.context(context)
        return self.head(h)


@faulty(Expected("zero-input", parameter="context.weight"), "zero")
def context_never_filled_in() -> Built:
    return Built(Placeholder(), (torch.randn(8, 3, 9, 9),), classes(3, 8), "cross_entropy", suffers=("context.weight",))


class MaskedBeforeConv(nn.Module):
    """A depth channel that a mask removes for the whole batch before its own convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.colour = nn.Conv2d(3, 6, 3)
        self.depth = nn.Conv2d(1, 6, 3)
        self.head = nn.Linear(6, 2)

    def forward(self, image: torch.Tensor, depth: torch.Tensor, has_depth: torch.Tensor) -> torch.Tensor:
        both = self.colour(image) + self.depth(depth * has_depth.view(-1, 1, 1, 1))
        return self.head(torch.tanh(both).flatten(2).mean(-1))


@faulty(Expected("zero-input", parameter="depth.weight"), "zero")
def depth_masked_away() -> Built:
    inputs = (torch.randn(8, 3, 7, 7), torch.rand(8, 1, 7, 7), torch.zeros(8))
    return Built(MaskedBeforeConv(), inputs, classes(2, 8), "cross_entropy", suffers=("depth.weight",))


class Fusion(nn.Module):
    """A branch under a mask of the batch that is never set."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(5, 8, batch_first=True)
        self.side = nn.Sequential(nn.Linear(7, 8), nn.Tanh())
        self.head = nn.Linear(8, 3)

    def forward(self, series: torch.Tensor, side: torch.Tensor, has_side: torch.Tensor) -> torch.Tensor:
        _, (state, _) = self.encoder(series)
        return self.head(state[0] + has_side.unsqueeze(1) * self.side(side))


@faulty(Expected("zero-multiplier", op="aten::mul", line="has_side.unsqueeze(1) *"), "zero")
def branch_masked_for_every_sample() -> Built:
    inputs = (torch.randn(9, 4, 5), torch.randn(9, 7), torch.zeros(9))
    return Built(Fusion(), inputs, classes(3, 9), "cross_entropy", suffers=("side.0.weight", "side.0.bias"))


class AllDropped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 16)
        self.drop = nn.Dropout(p=1.0)
        self.mix = nn.Linear(16, 16)
        self.skip = nn.Linear(8, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.gelu(self.skip(x)) + self.mix(self.drop(F.gelu(self.body(x)))))


@faulty(Expected("zero-multiplier", module="drop", op="aten::dropout"), "zero")
def dropout_drops_everything() -> Built:
    suffers = ("body.weight", "mix.weight")
    return Built(AllDropped(), (torch.randn(16, 8),), classes(3, 16), "cross_entropy", suffers=suffers)


class GraphLayer(nn.Module):
    """Message passing over an adjacency matrix without edges."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Linear(6, 8)
        self.message = nn.Linear(6, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        return self.head(F.elu(self.own(x) + adjacency @ self.message(x)))


@faulty(Expected("zero-multiplier", op="aten::matmul", line="adjacency @"), "zero")
def graph_without_edges() -> Built:
    inputs = (torch.randn(14, 6), torch.zeros(14, 14))
    return Built(GraphLayer(), inputs, classes(2, 14), "cross_entropy", suffers=("message.weight", "message.bias"))


class MultiTask(nn.Module):
    """Three losses under weights in a buffer, one of which is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(10, 12)
        self.heads = nn.ModuleList([nn.Linear(12, 1) for _ in range(3)])
        self.weights: torch.Tensor
        self.register_buffer("weights", torch.tensor([1.0, 0.5, 0.0]))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.trunk(x))
        total = torch.zeros(())
        for i, head in enumerate(self.heads):
            total = total + F.mse_loss(head(h).squeeze(1), y[:, i]) * self.weights[i]
        return total


@faulty(Expected("zero-multiplier", op="aten::mul", line="self.weights[i]"), "zero")
def one_task_has_no_weight() -> Built:
    inputs = (torch.randn(16, 10), torch.randn(16, 3))
    return Built(MultiTask(), inputs, None, "model", suffers=("heads.2.weight", "heads.2.bias"))


def constant(module: nn.Module, value: float) -> nn.Module:
    for parameter in module.parameters():
        nn.init.constant_(parameter, value)
    return module


@faulty(Expected("symmetric-weights", parameter=("0.weight", "2.weight")), "told")
def convolutions_initialised_to_a_constant() -> Built:
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 5)]
    model = constant(nn.Sequential(*layers), 0.05)
    return Built(model, (torch.rand(12, 3, 8, 8),), classes(5, 12), "cross_entropy")


class ConstantCell(nn.Module):
    """An LSTM whose weights and those of the head behind it are all the same number."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = constant(nn.LSTM(4, 10, batch_first=True), 0.1)
        self.head = constant(nn.Linear(10, 2), 0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out, _ = self.rnn(x)
        return self.head(out[:, -1])


@faulty(Expected("symmetric-weights", parameter=("rnn.weight_ih_l0", "rnn.weight_hh_l0")), "told")
def lstm_initialised_to_a_constant() -> Built:
    return Built(ConstantCell(), (torch.randn(12, 6, 4),), torch.randn(12, 2), "mse_loss")


class Matrices(nn.Module):
    """Plain matrices of ones, multiplied from the right."""

    def __init__(self) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.full((9, 16), 0.3))
        self.w2 = nn.Parameter(torch.full((16, 3), 0.3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(x @ self.w1) @ self.w2


@faulty(Expected("symmetric-weights", parameter="w1"), "told")
def matrices_of_one_number() -> Built:
    return Built(Matrices(), (torch.randn(20, 9),), classes(3, 20), "cross_entropy")
