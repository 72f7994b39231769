"""Samples that get mixed, layers that collapse into one, and executors that disagree, with what looks like it."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty, healthy


def leaks(model: nn.Module, x: torch.Tensor) -> bool:
    """Whether another sample's output changes with the first sample."""
    was_training = model.training
    model.eval()
    with torch.no_grad():
        other = x.clone()
        other[0] = torch.randn_like(other[0])
        changed = (model(x) - model(other)).abs().flatten(1).amax(1)
    model.train(was_training)
    return bool((changed[1:] > 1e-4).any())


class Recurrent(nn.Module):
    """Gets the batch first; whether its LSTM knows is another matter."""

    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 20, batch_first=batch_first)
        self.head = nn.Linear(20, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0][:, -1])


@faulty(Expected("sample-leak", module="lstm"), "told")
def lstm_runs_over_the_batch() -> Built:
    model, x = Recurrent(batch_first=False), torch.randn(10, 7, 6)
    return Built(model, (x,), classes(3, 10), "cross_entropy", shown=lambda: leaks(model, x))


@healthy()
def lstm_with_the_batch_first() -> Built:
    return Built(Recurrent(batch_first=True), (torch.randn(10, 7, 6),), classes(3, 10), "cross_entropy")


class LastStep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(6, 20)
        self.head = nn.Linear(20, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.gru(x)[0][-1])


@healthy()
def as_many_steps_as_samples_and_steps_first() -> Built:
    return Built(LastStep(), (torch.randn(9, 9, 6),), classes(3, 9), "cross_entropy")


class FlattenedWrongly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6 * 49, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.norm(self.conv(x)))
        return self.head(h.permute(2, 3, 1, 0).reshape(x.shape[0], -1))


@faulty(Expected("sample-leak", op="aten::reshape", line="reshape"), "told")
def feature_maps_flattened_across_images() -> Built:
    model, x = FlattenedWrongly(), torch.randn(8, 1, 7, 7)
    return Built(model, (x,), classes(4, 8), "cross_entropy", shown=lambda: leaks(model, x))


class Heads(nn.Module):
    """Attention; the heads are split off the right way or the wrong one."""

    def __init__(self, *, right: bool) -> None:
        super().__init__()
        self.right = right
        self.project = nn.Linear(24, 72)
        self.out = nn.Linear(24, 5)

    def split(self, x: torch.Tensor) -> torch.Tensor:
        batch, steps = x.shape[0], x.shape[1]
        if self.right:
            return x.view(batch, steps, 3, 8).transpose(1, 2).reshape(batch * 3, steps, 8)
        return x.reshape(steps, batch * 3, 8).transpose(0, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, steps = x.shape[0], x.shape[1]
        q, k, v = self.project(x).chunk(3, 2)
        q, k, v = self.split(q), self.split(k), self.split(v)
        weights = torch.softmax(torch.bmm(q, k.transpose(1, 2)) / 8**0.5, -1)
        h = torch.bmm(weights, v)
        h = h.view(batch, 3, steps, 8).transpose(1, 2).reshape(batch, steps, 24)
        return self.out(h.mean(1))


@faulty(Expected("sample-leak", op="aten::reshape", line="reshape(steps"), "told")
def heads_split_across_samples() -> Built:
    model, x = Heads(right=False), torch.randn(6, 5, 24)
    return Built(model, (x,), torch.randn(6, 5), "mse_loss", shown=lambda: leaks(model, x))


@healthy()
def heads_folded_into_the_batch() -> Built:
    return Built(Heads(right=True), (torch.randn(6, 5, 24),), torch.randn(6, 5), "mse_loss")


class Encoder(nn.Module):
    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=batch_first)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(x)[:, 0])


@faulty(Expected("sample-leak", module=("layer", "layer.self_attn")), "told")
def attention_over_the_batch() -> Built:
    model, x = Encoder(batch_first=False), torch.randn(12, 6, 16)
    return Built(model, (x,), classes(3, 12), "cross_entropy", shown=lambda: leaks(model, x))


class Contrastive(nn.Module):
    """Every sample is compared with every other one, as is meant."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 16))
        self.text = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 16))

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        a, b = F.normalize(self.image(a), dim=1), F.normalize(self.text(b), dim=1)
        return 10.0 * a @ b.t()


@healthy()
def contrastive_logits() -> Built:
    return Built(Contrastive(), (torch.randn(16, 12), torch.randn(16, 8)), torch.arange(16), "cross_entropy")


class Graph(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 32)
        self.second = nn.Linear(32, 3)

    def forward(self, x: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        return self.second(adjacency @ F.relu(adjacency @ self.first(x)))


@healthy()
def graph_network_over_its_nodes() -> Built:
    adjacency = (torch.rand(20, 20) < 0.2).float() + torch.eye(20)
    adjacency = adjacency / adjacency.sum(1, keepdim=True)
    return Built(Graph(), (torch.randn(20, 8), adjacency), classes(3, 20), "cross_entropy")


class SetAttention(nn.Module):
    """The batch is one set."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(10, 16)
        self.query = nn.Linear(16, 16)
        self.key = nn.Linear(16, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.embed(x))
        weights = torch.softmax(self.query(h) @ self.key(h).t() / 4.0, dim=1)
        return self.head(h + weights @ h)


@healthy()
def attention_over_a_set() -> Built:
    return Built(SetAttention(), (torch.randn(24, 10),), classes(3, 24), "cross_entropy")


@faulty(Expected("linear-collapse", module="2"), "told")
def convolutions_without_activation() -> Built:
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.Dropout2d(0.1),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 4),
    )
    return Built(model, (torch.randn(12, 3, 8, 8),), classes(4, 12), "cross_entropy")


class Forgotten(nn.Module):
    """The activation is called and its result thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(10, 40)
        self.two = nn.Linear(40, 40)
        self.three = nn.Linear(40, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.one(x)
        torch.relu(h)
        h = self.two(h)
        torch.relu(h)
        return self.three(h)


@faulty(Expected("linear-collapse", module="two", line="self.two(h)"), "told", "trace")
def activations_thrown_away() -> Built:
    return Built(Forgotten(), (torch.randn(32, 10),), torch.randn(32, 1), "mse_loss")


class ByHand(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(12, 32) / 12**0.5)
        self.w2 = nn.Parameter(torch.randn(32, 32) / 32**0.5)
        self.w3 = nn.Parameter(torch.randn(32, 2) / 32**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x @ self.w1 * 0.5) @ self.w2 @ self.w3


@faulty(Expected("linear-collapse", op="aten::matmul"), "told")
def matrices_multiplied_one_after_the_other() -> Built:
    return Built(ByHand(), (torch.randn(32, 12),), classes(2, 32), "cross_entropy")


@healthy()
def linear_autoencoder_with_a_bottleneck() -> Built:
    x = torch.randn(64, 4) @ torch.randn(4, 20)
    return Built(nn.Sequential(nn.Linear(20, 5), nn.Linear(5, 20)), (x,), x.clone(), "mse_loss")


@healthy()
def depthwise_and_pointwise_convolutions() -> Built:
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1, groups=12),
        nn.Conv2d(12, 24, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(24, 4),
    )
    return Built(model, (torch.randn(16, 3, 8, 8),), classes(4, 16), "cross_entropy")


class RootOfRelu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(8, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.score(x)).sqrt())


@faulty(Expected("executor-dependent", op="aten::sqrt"), "told")
def root_of_a_relu() -> Built:
    return Built(RootOfRelu(), (torch.randn(20, 8),), classes(3, 20), "cross_entropy")


class Angle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 12)
        self.head = nn.Linear(12, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.acos(torch.clamp(3.0 * self.embed(x), -1.0, 1.0)))


@faulty(Expected("executor-dependent", op="aten::acos"), "told")
def angle_of_clamped_values() -> Built:
    return Built(Angle(), (torch.randn(20, 6),), torch.randn(20, 2), "mse_loss")


class PowerOfRelu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.body(x)) ** 0.25)


@faulty(Expected("executor-dependent", op="aten::pow"), "told")
def small_power_of_a_relu() -> Built:
    return Built(PowerOfRelu(), (torch.randn(20, 8),), classes(3, 20), "cross_entropy")


class SafeRoot(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(8, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((F.relu(self.score(x)) + 1e-3).sqrt().clamp(0.0, 4.0))


@healthy()
def root_with_an_epsilon_inside() -> Built:
    return Built(SafeRoot(), (torch.randn(20, 8),), classes(3, 20), "cross_entropy")


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 16)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.norm(self.body(x))
        h = torch.where(h > 0, h, torch.expm1(h))
        return self.head(F.dropout(h, 0.1, self.training) * torch.sigmoid(h))


@healthy()
def branches_and_dropout_in_both_executors() -> Built:
    return Built(Branches(), (torch.randn(24, 8),), classes(3, 24), "cross_entropy")
