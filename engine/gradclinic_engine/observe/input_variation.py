"""How the samples of a batch differ: which inputs, and which of their features, vary at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gradclinic_engine.measurements import Variation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Of each sample at most about this many elements are looked at.
FEATURES = 256
SAMPLES = 512
# More different values than this need not be told apart.
COUNTED_VALUES = 64
PROJECTION_SEED = 0x6475706C


def variations(tensors: Mapping[str, torch.Tensor]) -> dict[str, Variation]:
    """How each input varies along its first dimension; inputs without one, or with one sample, are left out."""
    found = {}
    for name, tensor in tensors.items():
        rows = _rows(tensor)
        if rows is not None:
            found[name] = _variation(rows, distinct_samples([tensor])[1])
    return found


def distinct_samples(tensors: Iterable[torch.Tensor]) -> tuple[int, int]:
    """How many samples were compared in all of these inputs together, and how many of them are different.

    Args:
        tensors: All with the same number of samples along their first dimension.
    """
    compared = list(tensors)
    seen, distinct = _compare([_rows(tensor) for tensor in compared])
    # Of large samples a part is looked at first, which mostly shows that they differ.
    return (seen, distinct) if distinct == seen else _compare([_rows(tensor, features=None) for tensor in compared])


def _compare(parts: Iterable[torch.Tensor | None]) -> tuple[int, int]:
    marks = [_marks(rows) for rows in parts if rows is not None]
    return (len(marks[0]), torch.unique(torch.stack(marks, dim=1), dim=0).shape[0]) if marks else (0, 0)


def _rows(tensor: torch.Tensor, *, features: int | None = FEATURES) -> torch.Tensor | None:
    """The first samples and an evenly strided part of their features, ``[samples, features]`` in float64 on the CPU."""
    if tensor.dim() == 0 or tensor.shape[0] < 2 or not tensor.numel() or tensor.layout is not torch.strided:  # noqa: PLR2004  # one sample differs from none
        return None
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    flat = real.detach()[:SAMPLES].flatten(1) if real.dim() > 1 else real.detach()[:SAMPLES].unsqueeze(1)
    step = -(-flat.shape[1] // features) if features else 1
    # An odd step meets all channels.
    return flat[:, :: step | 1 if step > 1 else 1].to("cpu", torch.float64).nan_to_num()


def _marks(rows: torch.Tensor) -> torch.Tensor:
    """A number for each sample that is the same for equal samples only."""
    generator = torch.Generator().manual_seed(PROJECTION_SEED)
    direction = torch.randn(rows.shape[1], generator=generator, dtype=torch.float64)
    return (rows * direction).sum(1)


def _variation(rows: torch.Tensor, distinct: int) -> Variation:
    constant = (rows == rows[:1]).all(0)
    varying = rows[:, ~constant]
    features = rows.shape[1]
    values = torch.unique(rows.reshape(-1)[:: (rows.numel() // SAMPLES) | 1])
    mean = varying.mean(0)
    offsets = mean.abs() / (varying - mean).square().mean(0).sqrt()
    return Variation(
        samples=rows.shape[0],
        features=features,
        distinct_samples=distinct,
        constant_share=float(constant.double().mean()),
        constant_nonzero_share=int((constant & (rows[0] != 0)).sum()) / features,
        varying_zero_share=float((varying == 0).double().mean()) if varying.numel() else 0.0,
        distinct_values=min(values.numel(), COUNTED_VALUES + 1),
        offset=float(offsets.median()) if offsets.numel() else 0.0,
    )
