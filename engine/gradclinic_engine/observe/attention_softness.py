"""How far from one-hot the weights inside a fused attention are, told from its query and key on a sample of rows."""

from __future__ import annotations

import math

import torch

# Pairs of a sample and a head, and queries of each: enough to tell a site, cheap beside the attention itself.
SLICES = 8
QUERIES_PER_SLICE = 16
# A float mask takes a key away when it lowers the score at least this much.
MASKED_BELOW = -1e3


@torch.no_grad()
def softness(
    query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, *, is_causal: bool, scale: float | None
) -> torch.Tensor | None:
    """Sum over sampled queries of 1 - sum of squared weights, and their number: shape ``[2]``, on their device.

    Queries that may look at one key only are left out: their weights are one-hot by right.

    Args:
        query: ``[..., queries, features]``.
        key: ``[..., keys, features]``, with as many leading dimensions; fewer heads are repeated.
        mask: Broadcasts to ``[..., queries, keys]``: True may be looked at, or is added to the scores.
        is_causal: Each query sees only the keys up to its own position.
        scale: Of the scores; None is 1 / sqrt(features).
    """
    lead = query.shape[:-2]
    if query.dim() != key.dim() or not query.numel() or not key.numel() or query.is_nested:
        return None
    queries, keys = query.shape[-2], key.shape[-2]
    rows = torch.arange(0, queries, max(1, queries // QUERIES_PER_SLICE), device=query.device)[:QUERIES_PER_SLICE]
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    count = math.prod(lead)
    at = _unravel(torch.arange(0, count, max(1, -(-count // SLICES)), device=query.device), lead)
    shared = tuple(index * other // own for index, own, other in zip(at, lead, key.shape[:-2], strict=True))
    # [slices, rows, features] times [slices, features, keys]
    scores = (query[_rows(at, rows)].float() @ key[shared].float().mT) * factor
    allowed = torch.ones_like(scores, dtype=torch.bool)
    if is_causal:
        allowed = allowed & (torch.arange(keys, device=rows.device)[None, :] <= rows[:, None])
    if mask is not None:
        part = mask.expand(*lead, queries, keys)[_rows(at, rows)]
        allowed = allowed & (part if part.dtype == torch.bool else part > MASKED_BELOW)
        scores = scores if part.dtype == torch.bool else scores + part
    weights = scores.masked_fill(~allowed, -math.inf).softmax(-1)
    counts = allowed.sum(-1) > 1
    spread = 1 - torch.where(counts[..., None], weights, 0.0).square().sum(-1)
    return torch.stack([torch.where(counts, spread, 0.0).sum(), counts.sum()]).double()


def _unravel(flat: torch.Tensor, shape: torch.Size) -> tuple[torch.Tensor, ...]:
    """Indices ``[slices]`` along each dimension of a shape."""
    index: list[torch.Tensor] = []
    for length in reversed(shape):
        index.append(flat % length)
        flat = flat // length
    return tuple(reversed(index))


def _rows(at: tuple[torch.Tensor, ...], rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Picks some rows of each slice: ``[slices, rows, features]``."""
    return (*(index[:, None] for index in at), rows)
