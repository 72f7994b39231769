"""Which dimension of each value counts the samples of the batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Dimensions
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.measurements import batch_size_of
from gradclinic_engine.reading.loss_reading import shape_of

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Measurements, Site
    from gradclinic_engine.reading.paths import Paths


def batch_size(measurements: Measurements) -> int:
    """How many samples the batch has; 0 where that is not clear."""
    return batch_size_of([each.shape for each in measurements.inputs], [each.shape for each in measurements.target])


def batch_dimensions(paths: Paths) -> dict[int, int]:
    """The batch dimension of each site that has one, by its index."""
    return paths.once(_batch_dimensions)


def _batch_dimensions(paths: Paths) -> dict[int, int]:
    size = batch_size(paths.measurements)
    known: dict[int | str, int] = {}
    for each in paths.measurements.inputs:
        if size in each.shape:
            known[f"input:{each.name}"] = each.shape.index(size)
    found: dict[int, int] = {}
    for site in paths.in_order:
        dimension = _of(paths, site, known, size)
        if dimension is not None:
            known[site.index] = found[site.index] = dimension
    return found


def _of(paths: Paths, site: Site, known: dict[int | str, int], size: int) -> int | None:
    sources = [atom for argument in site.arguments for atom in argument]
    source = next((atom for atom in sources if atom in known), None)
    before = shape_of(paths, source) if source is not None else None
    if source is None or before is None:
        return None
    dimension = _moved(site, known[source], before)
    fits = dimension is not None and 0 <= dimension < len(site.shape) and site.shape[dimension] == size
    return dimension if fits else None


def _moved(site: Site, at: int, before: tuple[int, ...]) -> int | None:
    """Where a dimension is after an operation."""
    does, rank, after = op_of(site).dimensions, len(before), site.shape
    if does in {Dimensions.SWAPPED, Dimensions.TURNED, Dimensions.PERMUTED}:
        order = _order(site, rank)
        return order.index(at) if at in order else None
    if does in {Dimensions.RESHAPED, Dimensions.JOINED}:
        kept = math.prod(before[:at])
        return next((i for i in range(len(after)) if math.prod(after[:i]) == kept and after[i] == before[at]), None)
    if does is Dimensions.ADDED:
        new = _dimension(site, "dim", rank + 1)
        return None if new is None else at + (new <= at)
    if does is Dimensions.REMOVED and len(after) < rank:
        gone = _dimensions(site, rank)
        return None if at in gone else at - sum(each < at for each in gone)
    return at


def _order(site: Site, rank: int) -> list[int]:
    """Which dimension stands at each place after a transposition or permutation; empty where that is not known."""
    order = list(range(rank))
    dims = site.constants.get("dims")
    if isinstance(dims, (tuple, list)):
        return [each % rank for each in dims]
    pair = [_dimension(site, name, rank) for name in ("dim0", "dim1", "axis0", "axis1") if name in site.constants]
    if op_of(site).dimensions is Dimensions.TURNED:
        pair = [rank - 2, rank - 1]
    one, other = pair if len(pair) == 2 else (None, None)  # noqa: PLR2004 - two swap
    if one is None or other is None or rank < 2:  # noqa: PLR2004 - two swap
        return order if rank == 1 else []
    order[one], order[other] = order[other], order[one]
    return order


def _dimension(site: Site, name: str, rank: int) -> int | None:
    value = site.constants.get(name)
    return value % rank if isinstance(value, int) and rank else None


def _dimensions(site: Site, rank: int) -> list[int]:
    """The dimensions that a reduction takes away: all where none is named."""
    value = site.constants.get("dim")
    if isinstance(value, int):
        return [value % rank]
    return [each % rank for each in value] if isinstance(value, (tuple, list)) else list(range(rank))
