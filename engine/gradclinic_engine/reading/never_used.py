"""Which operation drops a value that was computed: it writes over it, or selects everything but it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Formula, Kind
from gradclinic_engine.graph.site_ops import op_of

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

# They take a part of what they read.
_TAKING = frozenset({Kind.PART, Kind.LOOKUP})
_WRITING = frozenset({Kind.REPLACING, Kind.SAMPLING})
_FOLLOWED_AT_MOST = 64


def is_write(site: Site) -> bool:
    """Whether a site puts something else in the place of (some of) what its first argument held."""
    op = op_of(site)
    return op.is_in_place and (op.kind in _WRITING or op.overwrites)


def dropping_op(paths: Paths, joined: Site) -> Site | None:
    """What drops a part of a joined value: the first write into it, else the first selection from it.

    Args:
        paths: Of the run.
        joined: Where the part came in and a gradient for other parts arrives, such as a `cat`.
    """
    if is_write(joined) or op_of(joined).formula in {Formula.CHOICE, Formula.FILL}:
        return joined
    seen = {joined.index}
    waiting = [joined]
    taking: Site | None = None
    while waiting and len(seen) < _FOLLOWED_AT_MOST:
        site = waiting.pop(0)
        write = _first_write_into(paths, site)
        if write is not None:
            return write
        if op_of(site).kind in _TAKING and site is not joined and not _takes_all(paths, site):
            taking = taking or site
            continue
        for reader in sorted(paths.readers(site), key=lambda each: each.first_call_order):
            keeps = reader.is_view or op_of(reader).keeps_apart or op_of(reader).kind in _TAKING
            if keeps and reader.index not in seen and paths.reaches_loss(reader):
                seen.add(reader.index)
                waiting.append(reader)
    return taking


def _takes_all(paths: Paths, site: Site) -> bool:
    """Whether a slice leaves nothing out, as `y[:]` does."""
    return any(operand.shape == site.shape for operand in paths.operands(site)[:1])


def _first_write_into(paths: Paths, value: Site) -> Site | None:
    writes = [
        site
        for site in paths.sites.values()
        if is_write(site) and site.arguments and any(paths.base(atom) == value.index for atom in site.arguments[0])
    ]
    return min(writes, key=lambda site: site.first_call_order, default=None)
