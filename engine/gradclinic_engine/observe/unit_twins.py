"""Units of a layer that are copies of each other: equal weights and equal gradients, so that they never part.

Looked for in a sample of units. Layers whose weights differ, which is all of a healthy model, cost one small product.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

SAMPLED_UNITS = 64
SAMPLED_WEIGHTS_PER_UNIT = 64
# The same sums in another order differ by this share of the whole.
ROUNDING_SHARE = 1e-4
_SEED = 0x7717


@torch.no_grad()
def with_equal_weights(parameters: Mapping[str, torch.Tensor]) -> frozenset[str]:
    """Names of the parameters some of whose units (rows or columns) have equal weights; waits for the device once."""
    keys: list[torch.Tensor] = []
    owners: list[str] = []
    for name, parameter in parameters.items():
        if parameter.dim() < 2 or not parameter.is_floating_point() or not parameter.numel():  # noqa: PLR2004 - rows and columns
            continue
        for units in _sampled_both_ways(parameter.detach()):
            if len(units) > 1:
                part = units[:, :: max(1, units.shape[1] // SAMPLED_WEIGHTS_PER_UNIT)]
                # Not a matrix product: that may add up the last rows in another order than the first.
                keys.append((part.double() * _directions(part.shape[1], 1, part.device)[:, 0]).sum(1))
                owners.append(name)
    if not keys:
        return frozenset()
    numbers = torch.cat(keys).tolist()
    found, start = set(), 0
    for key, owner in zip(keys, owners, strict=True):
        own = numbers[start : start + len(key)]
        start += len(key)
        if len(set(own)) < len(own):
            found.add(owner)
    return frozenset(found)


@torch.no_grad()
def twin_shares(parameter: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Which share of a parameter's units have a twin with equal weights and an equal gradient that is not zero.

    Returns:
        Shape ``[2]``, left on the device: of the units along the first dimension (`nn.Linear`, `nn.Conv2d`), and of
        those along the second one (a matrix that is multiplied from the right).
    """
    if gradient.layout is not torch.strided:
        return torch.zeros(2, dtype=torch.float64)
    both = zip(_sampled_both_ways(parameter.detach()), _sampled_both_ways(gradient.detach()), strict=True)
    return torch.stack([_share(weights, gradients) for weights, gradients in both])


def _sampled_both_ways(tensor: torch.Tensor) -> list[torch.Tensor]:
    """Units along the first and along the second dimension, each ``[units, weights]``."""
    return [_sampled(tensor), _sampled(tensor.transpose(0, 1))]


def _sampled(tensor: torch.Tensor) -> torch.Tensor:
    step = -(-tensor.shape[0] // SAMPLED_UNITS)
    return tensor[:: max(1, step)].flatten(1)


def _share(weights: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    count, width = weights.shape
    if count < 2 or not width:  # noqa: PLR2004 - twins are two
        return torch.zeros((), dtype=torch.float64, device=weights.device)
    directions = _directions(width, 4, weights.device)
    equal = _near(weights.double() @ directions, weights) & _near(gradients.double() @ directions, gradients)
    moving = gradients.abs().amax(1) > 0
    twins = equal & moving[:, None] & moving[None, :] & ~torch.eye(count, dtype=torch.bool, device=weights.device)
    return twins.any(1).double().mean()


def _near(projected: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
    """Which units are equal, up to rounding, by what they are along a few directions ``[units, directions]``."""
    size = torch.linalg.vector_norm(units.double(), dim=1)
    apart = (projected[:, None] - projected[None, :]).abs().amax(2)
    return apart <= ROUNDING_SHARE * torch.maximum(size[:, None], size[None, :])


@lru_cache(maxsize=64)
def _directions(width: int, count: int, device: torch.device) -> torch.Tensor:
    generator = torch.Generator().manual_seed(_SEED)
    return torch.randn(width, count, generator=generator, dtype=torch.float64).to(device)
