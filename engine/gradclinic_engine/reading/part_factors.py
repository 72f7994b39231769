"""Which product takes one part of a joined value away: a vector of task weights in which one is zero, a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Kind
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.reading.op_factors import factors_of
from gradclinic_engine.reading.zero_origins import is_given

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

_FOLLOWED_AT_MOST = 64


def part_taking_factor(paths: Paths, joined: Site) -> tuple[Site, int | str, float] | None:
    """The product behind a joined value, its factor, and how much of that is zero: some, but not all.

    Args:
        paths: Of the run.
        joined: Where one part got a gradient and another exactly none. Only what keeps elements apart is followed, so
            that the parts are still told from each other where the factor meets them.
    """
    if op_of(joined).kind is not Kind.JOINING:
        return None
    seen = {joined.index}
    waiting = [joined]
    while waiting and len(seen) < _FOLLOWED_AT_MOST:
        value = waiting.pop(0)
        for reader in sorted(paths.readers(value), key=lambda each: each.first_call_order):
            factors = (atom for held in factors_of(reader, value.index) for atom in held)
            for factor in factors:
                if is_given(paths, factor) and (share := _zero_share(paths, factor)):
                    return reader, factor, share
            keeps = reader.is_view or op_of(reader).keeps_apart
            if keeps and reader.index not in seen and paths.reaches_loss(reader):
                seen.add(reader.index)
                waiting.append(reader)
    return None


def _zero_share(paths: Paths, atom: int | str) -> float:
    base = paths.base(atom)
    statistics = paths.lasting.get(base) if isinstance(base, str) else paths.sites[base].activation
    return statistics.zero_share if statistics is not None else 0.0
