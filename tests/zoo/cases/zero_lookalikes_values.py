"""Healthy models whose values are rounded, clamped, masked, centred or overwritten, as it should be."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy


class StraightThrough(nn.Module):
    """Codes are rounded, and the gradient goes around."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(10, 6)
        self.decode = nn.Linear(6, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = torch.tanh(self.encode(x)) * 3.0
        return self.decode(z + (torch.round(z) - z).detach())


@healthy()
def rounding_with_a_way_around() -> Built:
    x = torch.randn(16, 10)
    return Built(StraightThrough(), (x,), x.clone(), "mse_loss")


class Binarised(nn.Module):
    """Signs beside the magnitudes that carry the gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 12)
        self.head = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.body(x)
        return self.head(h.sign() * h.abs().mean(dim=1, keepdim=True) + h * 0.1)


@healthy()
def signs_beside_magnitudes() -> Built:
    return Built(Binarised(), (torch.randn(16, 8),), classes(3, 16), "cross_entropy")


class ClampedLogVariance(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 16)
        self.mean = nn.Linear(16, 2)
        self.log_variance = nn.Linear(16, 2)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = F.silu(self.body(x))
        s = self.log_variance(h).clamp(-8.0, 8.0)
        return (0.5 * s + 0.5 * (y - self.mean(h)).square() * torch.exp(-s)).mean()


@healthy()
def log_variance_clamped_to_a_wide_range() -> Built:
    return Built(ClampedLogVariance(), (torch.randn(32, 6), torch.randn(32, 2)), None, "model")


class ClippedPolicy(nn.Module):
    """PPO: a ratio clipped to 0.8..1.2, and the smaller of two products."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 4))

    def forward(
        self, x: torch.Tensor, action: torch.Tensor, advantage: torch.Tensor, old: torch.Tensor
    ) -> torch.Tensor:
        logp = torch.log_softmax(self.policy(x), dim=1).gather(1, action.unsqueeze(1)).squeeze(1)
        ratio = torch.exp(logp - old)
        clipped = torch.clamp(ratio, 0.8, 1.2)
        return -torch.min(ratio * advantage, clipped * advantage).mean()


@healthy()
def clipped_policy_ratio() -> Built:
    inputs = (torch.randn(64, 8), classes(4, 64), torch.randn(64), torch.full((64,), -math.log(4)))
    return Built(ClippedPolicy(), inputs, None, "model")


class CausalBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 20)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = q @ k.transpose(1, 2) / 4.0
        length = tokens.size(1)
        mask = torch.triu(torch.ones(length, length), diagonal=1) > 0
        weights = scores.masked_fill(mask, float("-inf")).softmax(dim=-1)
        return self.out(x + weights @ v).transpose(1, 2)


@healthy()
def causal_attention_of_two_tokens() -> Built:
    tokens = torch.randint(0, 20, (24, 2))
    return Built(CausalBlock(), (tokens,), tokens.roll(-1, 1), "cross_entropy")


class OnlyItself(nn.Module):
    """Fused attention in which each query may look at itself and, from the third on, at one more."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.out = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).mean(1))


@healthy()
def attention_to_hardly_anything_else() -> Built:
    mask = torch.zeros(6, 6).fill_diagonal_(1.0)
    mask[2:, 0] = 1.0
    return Built(OnlyItself(), (torch.randn(12, 6, 8), (1 - mask) * -1e9), classes(3, 12), "cross_entropy")


class SmallGroups(nn.Module):
    """Normalisations over two and more elements, softmax over two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 8, 3, padding=1)
        self.norm = nn.GroupNorm(4, 8)
        self.gate = nn.Linear(8, 2)
        self.values = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.silu(self.norm(self.conv(x).mean(dim=2, keepdim=True))).squeeze(2)
        return (torch.softmax(self.gate(h), dim=1) * self.values(h)).sum(dim=1)


@healthy()
def groups_of_two() -> Built:
    return Built(SmallGroups(), (torch.randn(24, 4, 9),), torch.randn(24), "mse_loss")


class Dueling(nn.Module):
    """Advantages minus their mean over three actions, and single numbers left as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 20)
        self.value = nn.Linear(20, 1)
        self.advantage = nn.Linear(20, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.body(x))
        a = self.advantage(h)
        return self.value(h) + a - a.mean(dim=1, keepdim=True)


@healthy()
def dueling_values() -> Built:
    return Built(Dueling(), (torch.randn(20, 6),), torch.randn(20, 3), "mse_loss")


class CacheWritten(nn.Module):
    """Results are collected in a tensor that was allocated before."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Linear(4, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = torch.zeros(x.size(0), x.size(1), 5)
        for t in range(x.size(1)):
            found[:, t] = torch.tanh(self.cell(x[:, t]))
        return self.head(found.mean(1))


@healthy()
def results_written_into_a_buffer() -> Built:
    return Built(CacheWritten(), (torch.randn(12, 5, 4),), classes(2, 12), "cross_entropy")


class PaddingMasked(nn.Module):
    """Padding is filled with zeros before pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 8, padding_idx=0)
        self.mix = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        padding = (tokens == 0).unsqueeze(-1)
        h = F.gelu(self.mix(self.embed(tokens))).masked_fill(padding, 0.0)
        return self.head(h.sum(1) / (~padding).sum(1).clamp(min=1))


@healthy()
def padding_filled_with_zeros() -> Built:
    tokens = torch.randint(1, 30, (12, 9))
    tokens[:, 6:] = 0
    return Built(PaddingMasked(), (tokens,), classes(3, 12), "cross_entropy")
