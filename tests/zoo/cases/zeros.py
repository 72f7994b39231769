"""Faulty models through which exactly zero flows."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class Rounded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(8, 6)
        self.decode = nn.Linear(6, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        codes = torch.round(self.encode(x) * 4.0) / 4.0
        return self.decode(codes)


@faulty(Expected("zero-derivative-op", op="aten::round", line="torch.round"), "zero")
def codes_rounded() -> Built:
    x = torch.randn(16, 8)
    return Built(Rounded(), (x,), x.clone(), "mse_loss", suffers=("encode.weight",))


class Signed(nn.Module):
    """A binary network without a straight-through estimator."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(10, 10) for _ in range(3)])
        self.head = nn.Linear(10, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x).sign()
        return self.head(x)


@faulty(Expected("zero-derivative-op", op="aten::sign", line=".sign()"), "zero")
def sign_activations() -> Built:
    suffers = ("layers.0.weight", "layers.2.weight")
    return Built(Signed(), (torch.randn(16, 10),), classes(4, 16), "cross_entropy", suffers=suffers)


class FloorDivided(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(5, 7)
        self.head = nn.Linear(7, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.div(self.body(x), 0.5, rounding_mode="floor"))


@faulty(Expected("zero-derivative-op", op="aten::div", line="rounding_mode"), "zero")
def division_that_rounds() -> Built:
    return Built(FloorDivided(), (torch.randn(16, 5),), torch.randn(16, 1), "mse_loss", suffers=("body.weight",))


class Clipped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(12, 12)
        self.head = nn.Linear(12, 3)
        with torch.no_grad():
            self.body.bias.fill_(9.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.body(x)
        return self.head(torch.clamp(h, -1.0, 1.0))


@faulty(Expected("clamp-saturation", op="aten::clamp", line="torch.clamp"), "zero")
def features_clipped_away() -> Built:
    return Built(Clipped(), (torch.randn(16, 12),), classes(3, 16), "cross_entropy", suffers=("body.weight",))


class Capped(nn.Module):
    """An output that is capped below all that the model says."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
        with torch.no_grad():
            self.body[2].bias.fill_(30.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.minimum(self.body(x), torch.full((1,), 10.0))


@faulty(Expected("clamp-saturation", op="aten::minimum", line="torch.minimum"), "zero")
def output_capped_by_minimum() -> Built:
    return Built(Capped(), (torch.randn(16, 6),), torch.randn(16, 1), "mse_loss", suffers=("body.0.weight",))


class HardAttention(nn.Module):
    """Attention whose scores are not scaled and far too large."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(24, 24)
        self.key = nn.Linear(24, 24)
        self.value = nn.Linear(24, 24)
        self.head = nn.Linear(24, 3)
        with torch.no_grad():
            self.query.weight.mul_(60.0)
            self.key.weight.mul_(60.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = torch.softmax(self.query(x) @ self.key(x).transpose(1, 2), dim=-1)
        return self.head((weights @ self.value(x)).mean(1))


@faulty(Expected("saturated-softmax", op="aten::softmax", line="torch.softmax"), "told")
def attention_is_one_hot() -> Built:
    return Built(HardAttention(), (torch.randn(8, 6, 24),), classes(3, 8), "cross_entropy")


class ConfidentOutput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(10, 5)
        self.act = nn.Softmax(dim=1)
        with torch.no_grad():
            self.body.weight.mul_(900.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.body(x))


@faulty(Expected("saturated-softmax", module="act"), "told")
def output_softmax_is_one_hot() -> Built:
    y = F.one_hot(classes(5, 16), 5).float()
    return Built(ConfidentOutput(), (torch.randn(16, 10),), y, "mse_loss")


class ZeroInTheMiddle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.second = nn.Linear(16, 16)
        self.third = nn.Linear(16, 4)
        for layer in (self.second, self.third):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.first(x))
        h = F.relu(self.second(h))
        return self.third(h)


@faulty(Expected("zero-weights", parameter=("second.weight", "third.weight")), "zero")
def two_layers_initialised_to_zero() -> Built:
    suffers = ("first.weight", "second.weight", "third.weight")
    return Built(ZeroInTheMiddle(), (torch.randn(16, 8),), classes(4, 16), "cross_entropy", suffers=suffers)


@faulty(Expected("zero-input", parameter=("0.weight", "weight")), "zero")
def all_inputs_zero() -> Built:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    return Built(model, (torch.zeros(16, 8),), classes(3, 16), "cross_entropy", suffers=("0.weight",))


class MaskedFeatures(nn.Module):
    """A branch whose features are all masked away before its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Linear(6, 8)
        self.text = nn.Linear(10, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.image(image) + self.text(text)))


@faulty(Expected("zero-input", parameter="text.weight"), "zero")
def one_modality_all_zero() -> Built:
    inputs = (torch.randn(16, 6), torch.zeros(16, 10))
    return Built(MaskedFeatures(), inputs, classes(3, 16), "cross_entropy", suffers=("text.weight",))


@faulty(Expected("symmetric-weights", parameter=("0.weight", "2.weight")), "told")
def constant_initialisation() -> Built:
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
    for layer in (model[0], model[2]):
        nn.init.constant_(layer.weight, 0.1)
        nn.init.constant_(layer.bias, 0.0)
    return Built(model, (torch.randn(16, 8),), classes(3, 16), "cross_entropy")


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 8)
        self.skip = nn.Linear(8, 3)
        self.head = nn.Linear(8, 3)
        self.register_buffer("gate", torch.zeros(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.body(x)) * self.gate
        return self.skip(x) + self.head(h)


@faulty(Expected("zero-multiplier", op="aten::mul", line="* self.gate"), "zero")
def gate_buffer_is_zero() -> Built:
    suffers = ("body.weight", "head.weight")
    return Built(Gated(), (torch.randn(16, 8),), classes(3, 16), "cross_entropy", suffers=suffers)


class Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(10, 6)
        self.decode = nn.Linear(6, 10)
        self.classify = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.encode(x))
        supervised = F.cross_entropy(self.classify(h), y)
        return F.mse_loss(self.decode(h), x) + 0.0 * supervised


@faulty(Expected("zero-multiplier", op="aten::mul", line="0.0 * supervised"), "zero")
def auxiliary_loss_weighted_with_zero() -> Built:
    inputs = (torch.randn(16, 10), classes(3, 16))
    return Built(Weighted(), inputs, None, "model", suffers=("classify.weight",))


class NormalisedScalar(nn.Module):
    """LayerNorm over a dimension with one element."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
        self.norm = nn.LayerNorm(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.body(x))


@faulty(Expected("degenerate-normalization", module="norm", op="aten::layer_norm"), "zero")
def layer_norm_of_one_element() -> Built:
    return Built(NormalisedScalar(), (torch.randn(16, 8),), torch.randn(16, 1), "mse_loss", suffers=("body.0.weight",))


class SoftmaxOfOne(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.body(x), dim=1)


@faulty(Expected("degenerate-normalization", op="aten::softmax", line="torch.softmax"), "zero")
def softmax_over_one_class() -> Built:
    y = torch.rand(16, 1).round()
    return Built(SoftmaxOfOne(), (torch.randn(16, 8),), y, "binary_cross_entropy", suffers=("body.weight",))


def classifier() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


@faulty(Expected("flat-loss", name="loss"), "told")
def every_target_ignored() -> Built:
    y = torch.full((16,), -100)
    return Built(classifier(), (torch.randn(16, 8),), y, "cross_entropy")


class Hinge(nn.Module):
    """All samples are already beyond the margin."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 1)
        with torch.no_grad():
            self.body.bias.fill_(50.0)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.relu(1.0 - self.body(x).squeeze(1) * y).mean()


@faulty(Expected("flat-loss", name="loss"), "zero")
def hinge_beyond_its_margin() -> Built:
    return Built(Hinge(), (torch.randn(16, 6), torch.ones(16)), None, "model", suffers=("body.weight",))


class EmptyMask(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return ((self.body(x) - y).square() * mask).sum() / (mask.sum() + 1.0)


@faulty(Expected("flat-loss", name="loss"), "zero")
def loss_mask_is_empty() -> Built:
    inputs = (torch.randn(8, 6), torch.randn(8, 6), torch.zeros(8, 6))
    return Built(EmptyMask(), inputs, None, "model", suffers=("body.weight",))
