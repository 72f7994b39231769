"""Faulty models whose values are rounded, clamped, one-hot, or constant by their normalisation."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class Sampled(nn.Module):
    """A variational autoencoder that samples without the reparametrisation."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(12, 8)
        self.decode = nn.Linear(4, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, log_std = self.encode(x).chunk(2, dim=1)
        z = torch.normal(mean, log_std.exp())
        return self.decode(z)


@faulty(Expected("zero-derivative-op", op="aten::normal", line="torch.normal"), "zero")
def latent_sampled_without_reparametrisation() -> Built:
    x = torch.randn(16, 12)
    return Built(Sampled(), (x,), x.clone(), "mse_loss", suffers=("encode.weight", "encode.bias"))


class BinaryCodes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Conv1d(2, 6, 3, padding=1), nn.Sigmoid())
        self.decode = nn.Conv1d(6, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decode(torch.bernoulli(self.encode(x)))


@faulty(Expected("zero-derivative-op", op="aten::bernoulli", line="torch.bernoulli"), "zero")
def binary_codes_are_sampled() -> Built:
    x = torch.randn(8, 2, 10)
    return Built(BinaryCodes(), (x,), x.clone(), "mse_loss", suffers=("encode.0.weight",))


class QuantisedInPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 10)
        self.head = nn.Linear(10, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.body(x) * 8.0
        h.floor_()
        return self.head(h / 8.0)


@faulty(Expected("zero-derivative-op", op="aten::floor_", line="floor_()"), "zero")
def quantised_in_place() -> Built:
    return Built(QuantisedInPlace(), (torch.randn(16, 6),), torch.randn(16, 2), "mse_loss", suffers=("body.weight",))


class WrongScaleClamp(nn.Module):
    """Probabilities were meant; logits around 20 are clamped to 0..1."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5))
        with torch.no_grad():
            self.body[2].bias.fill_(20.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x).clip(0.0, 1.0)


@faulty(Expected("clamp-saturation", op=("aten::clip", "aten::clamp"), line=".clip("), "zero")
def logits_clipped_to_probabilities() -> Built:
    y = F.one_hot(classes(5, 10), 5).float()
    return Built(WrongScaleClamp(), (torch.randn(10, 1, 8, 8),), y, "mse_loss", suffers=("body.2.weight",))


class LimitedByHand(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Linear(7, 4)
        self.mean = nn.Linear(7, 4)
        with torch.no_grad():
            self.log_scale.bias.fill_(-40.0)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        s = self.log_scale(x)
        s = torch.where(s < -10.0, torch.full_like(s, -10.0), s)
        return (((y - self.mean(x)) ** 2) * torch.exp(-s) + s).mean() * 1e-4


@faulty(Expected("clamp-saturation", op="aten::where", line="torch.where"), "zero")
def log_scale_limited_with_where() -> Built:
    inputs = (torch.randn(12, 7), torch.randn(12, 4))
    return Built(LimitedByHand(), inputs, None, "model", suffers=("log_scale.weight", "log_scale.bias"))


class Floored(nn.Module):
    """An output with a floor far above all that the model says."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 6)
        self.out = nn.Linear(6, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.clamp_min(self.out(self.embed(ids)).squeeze(1), 50.0)


@faulty(Expected("clamp-saturation", op="aten::clamp_min", line="clamp_min"), "zero")
def output_floored_too_high() -> Built:
    suffers = ("embed.weight", "out.weight")
    return Built(Floored(), (torch.randint(0, 20, (16,)),), torch.rand(16) * 100, "l1_loss", suffers=suffers)


class SharpHeads(nn.Module):
    """Fused attention with a scale of 30 instead of 1 / sqrt(d)."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(32, 96)
        self.out = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, d = x.shape
        q, k, v = (part.view(b, t, 4, 8).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=200.0)
        return self.out(y.transpose(1, 2).reshape(b, t, d).mean(1))


@faulty(Expected("saturated-softmax", op="aten::scaled_dot_product_attention"), "told", "trace")
def fused_attention_without_its_scale() -> Built:
    return Built(SharpHeads(), (torch.randn(6, 9, 32),), classes(4, 6), "cross_entropy")


class SharpMultihead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 3)
        with torch.no_grad():
            self.attend.in_proj_weight[:32].mul_(30.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.attend(x, x, x, need_weights=False)
        return self.head(y.mean(1))


@faulty(Expected("saturated-softmax", module="attend"), "told")
def multihead_attention_with_huge_projections() -> Built:
    return Built(SharpMultihead(), (torch.randn(8, 7, 16),), classes(3, 8), "cross_entropy")


class ColdRouter(nn.Module):
    """Soft codebook lookup at a temperature of 0.0005."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(10, 6)
        self.codebook = nn.Parameter(torch.randn(12, 6))
        self.decode = nn.Linear(6, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.encode(x)
        distance = (z.unsqueeze(1) - self.codebook).pow(2).sum(-1)
        return self.decode(F.softmax(-distance / 0.0005, dim=1) @ self.codebook)


@faulty(Expected("saturated-softmax", op="aten::softmax", line="F.softmax"), "told")
def codebook_temperature_too_low() -> Built:
    x = torch.randn(16, 10)
    return Built(ColdRouter(), (x,), x.clone(), "mse_loss")


class PooledInstanceNorm(nn.Module):
    """Group normalisation with a group for each channel, after pooling to one position."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.GroupNorm(8, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.adaptive_avg_pool2d(self.conv(x), 1)
        return self.head(torch.relu(self.norm(h)).flatten(1))


@faulty(Expected("degenerate-normalization", module="norm", op="aten::group_norm"), "told")
def group_norm_of_single_elements() -> Built:
    return Built(PooledInstanceNorm(), (torch.randn(8, 3, 8, 8),), classes(4, 8), "cross_entropy")


class StandardisedByHand(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(9, 12), nn.SiLU(), nn.Linear(12, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x)
        return (y - y.mean(dim=1, keepdim=True)) / (y.std(dim=1, keepdim=True, unbiased=False) + 1e-3)


@faulty(Expected("degenerate-normalization", op="aten::sub", line="y.mean(dim=1"), "zero")
def standardised_over_one_feature() -> Built:
    x = torch.randn(16, 9)
    return Built(StandardisedByHand(), (x,), torch.randn(16, 1), "mse_loss", suffers=("body.0.weight",))


class UnitNorm(nn.Module):
    """Divides one number by its own length."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 1)
        self.head = nn.Linear(1, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.normalize(self.body(x), dim=1))


@faulty(Expected("degenerate-normalization", op="aten::div"), "told")
def one_number_divided_by_its_length() -> Built:
    return Built(UnitNorm(), (torch.randn(16, 6),), classes(3, 16), "cross_entropy")


class OneToken(nn.Module):
    """Attention over a single token: its weight is 1 whatever query and key are."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(8, 8)
        self.key = nn.Linear(8, 8)
        self.value = nn.Linear(8, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = F.softmax(torch.bmm(self.query(x), self.key(x).transpose(1, 2)) / 2.8, dim=-1)
        return self.head(torch.bmm(weights, self.value(x)).squeeze(1))


@faulty(Expected("degenerate-normalization", op="aten::softmax", line="F.softmax"), "zero")
def attention_over_one_token() -> Built:
    x = torch.randn(16, 1, 8)
    return Built(OneToken(), (x,), classes(2, 16), "cross_entropy", suffers=("query.weight", "key.weight"))
