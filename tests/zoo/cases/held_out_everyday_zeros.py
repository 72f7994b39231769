"""Gradients of exactly zero as they happen on an ordinary day, in models that rules were not made with."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class Quantised(nn.Module):
    """Rounds its code without a straight-through estimator."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(20, 40), nn.ELU(), nn.Linear(40, 6))
        self.decoder = nn.Sequential(nn.Linear(6, 40), nn.ELU(), nn.Linear(40, 20))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        code = torch.round(self.encoder(x) * 8) / 8
        return self.decoder(code)


@faulty(Expected("zero-derivative-op", op="aten::round"), "zero")
def code_rounded_to_eighths() -> Built:
    x = torch.randn(18, 20)
    return Built(Quantised(), (x,), x.clone(), "mse_loss", suffers=("encoder.0.weight", "encoder.2.bias"))


class Spiking(nn.Module):
    """Spikes by the sign of the membrane."""

    def __init__(self) -> None:
        super().__init__()
        self.synapse = nn.Linear(8, 30)
        self.readout = nn.Linear(30, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spikes = (torch.sign(self.synapse(x) - 0.1) + 1) / 2
        return self.readout(spikes)


@faulty(Expected("zero-derivative-op", op="aten::sign"), "zero")
def spikes_by_sign() -> Built:
    return Built(Spiking(), (torch.randn(16, 8),), classes(4, 16), "cross_entropy", suffers=("synapse.weight",))


class DeepConv(nn.Module):
    """A block whose convolution has learnt a bias far below zero."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, padding=1)
        self.two = nn.Conv2d(8, 8, 3, padding=1)
        self.three = nn.Conv2d(8, 8, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 5)
        with torch.no_grad():
            self.two.bias.sub_(30.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.one(x))
        x = F.relu_(self.two(x))
        x = self.act(self.three(x))
        return self.head(x.mean((2, 3)))


@faulty(Expected("dead-relu", line="F.relu_(self.two(x))"), "zero")
def middle_convolution_is_dead() -> Built:
    return Built(
        DeepConv(), (torch.randn(8, 3, 16, 16),), classes(5, 8), "cross_entropy", suffers=("one.weight", "two.weight")
    )


class Gate(nn.Module):
    """A gated unit whose gate's logits are scaled by 200."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Linear(14, 28)
        self.gate = nn.Linear(14, 28)
        self.out = nn.Linear(28, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = torch.sigmoid(self.gate(x) * 2000.0)
        return self.out(self.value(x) * gate)


@faulty(Expected("saturated-activation", op="aten::sigmoid"), "told")
def gate_with_a_temperature_upside_down() -> Built:
    return Built(Gate(), (torch.randn(16, 14),), classes(3, 16), "cross_entropy")


class Bounded(nn.Module):
    """Log-variance clipped where it never is."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(7, 32), nn.ReLU())
        self.mean = nn.Linear(32, 1)
        self.log_variance = nn.Linear(32, 1)
        with torch.no_grad():
            self.log_variance.bias.fill_(9.0)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = self.body(x)
        log_variance = self.log_variance(h).clamp(-4.0, 4.0)
        return 0.5 * ((y - self.mean(h)) ** 2 * torch.exp(-log_variance) + log_variance).mean()


@faulty(Expected("clamp-saturation", op="aten::clamp"), "zero")
def log_variance_clipped_away() -> Built:
    inputs = (torch.randn(30, 7), torch.randn(30, 1))
    return Built(Bounded(), inputs, None, "model", suffers=("log_variance.weight", "log_variance.bias"))


class LoudAttention(nn.Module):
    """Attention without its scale, and projections that grew."""

    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Linear(64, 64)
        self.k = nn.Linear(64, 64)
        self.v = nn.Linear(64, 64)
        self.head = nn.Linear(64, 6)
        with torch.no_grad():
            self.q.weight.mul_(12)
            self.k.weight.mul_(12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.q(x) @ self.k(x).transpose(1, 2)
        return self.head((F.softmax(scores, dim=-1) @ self.v(x)).mean(1))


@faulty(Expected("saturated-softmax", op="aten::softmax"), "told")
def attention_without_scale_and_loud_projections() -> Built:
    return Built(LoudAttention(), (torch.randn(6, 10, 64),), classes(6, 6), "cross_entropy")


class Residual(nn.Module):
    """A plain (not residual) stack behind a scale that was initialised with zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(9, 18), nn.ReLU(), nn.Linear(18, 18))
        self.scale = nn.Parameter(torch.zeros(18), requires_grad=False)
        self.head = nn.Linear(18, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.inner(x) * self.scale)


@faulty(Expected("zero-weights", parameter="scale"), "zero")
def frozen_scale_of_zeros() -> Built:
    return Built(
        Residual(), (torch.randn(14, 9),), classes(2, 14), "cross_entropy", suffers=("inner.0.weight", "inner.2.weight")
    )


class Fusion(nn.Module):
    """Image and text; the loader left the text features out."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Linear(16, 24)
        self.text = nn.Linear(12, 24, bias=False)
        self.head = nn.Linear(48, 3)

    def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([F.relu(self.image(image)), torch.tanh(self.text(text))], -1))


@faulty(Expected("zero-input", name="input:1"), "zero")
def text_features_missing() -> Built:
    return Built(
        Fusion(), (torch.randn(10, 16), torch.zeros(10, 12)), classes(3, 10), "cross_entropy", suffers=("text.weight",)
    )


class Constant(nn.Module):
    """Hidden layers set to one constant each."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(5, 12)
        self.b = nn.Linear(12, 12)
        self.c = nn.Linear(12, 1)
        for layer in (self.a, self.b, self.c):
            nn.init.constant_(layer.weight, 0.1)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(torch.tanh(self.b(torch.tanh(self.a(x)))))


@faulty(Expected("symmetric-weights"), "told")
def every_layer_one_constant() -> Built:
    return Built(Constant(), (torch.randn(20, 5),), torch.randn(20, 1), "mse_loss")


class Masked(nn.Module):
    """The padding mask is inverted for these sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 16, padding_idx=0)
        self.mix = nn.Linear(16, 16)
        self.side = nn.Linear(4, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, ids: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
        mask = (ids == 0).to(extra.dtype).unsqueeze(-1)
        pooled = (self.mix(self.embed(ids)) * mask).sum(1)
        return self.head(pooled + self.side(extra))


@faulty(Expected("zero-multiplier", op="aten::mul"), "zero")
def mask_is_the_wrong_way_round() -> Built:
    inputs = (torch.randint(1, 30, (9, 7)), torch.randn(9, 4))
    return Built(Masked(), inputs, classes(3, 9), "cross_entropy", suffers=("mix.weight", "embed.weight"))


class OneChannel(nn.Module):
    """Softmax over a dimension of one."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(11, 22), nn.ReLU(), nn.Linear(22, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.net(x), dim=1)


@faulty(Expected("degenerate-normalization", op="aten::softmax"), "zero")
def binary_output_through_softmax() -> Built:
    target = classes(2, 16).float().unsqueeze(1)
    return Built(OneChannel(), (torch.randn(16, 11),), target, "binary_cross_entropy", suffers=("net.0.weight",))
