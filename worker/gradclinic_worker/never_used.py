"""Which operation drops a value that was computed: it writes over it, or selects everything but it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_worker.op_kinds import plain

if TYPE_CHECKING:
    from gradclinic_worker.measurements import Site
    from gradclinic_worker.paths import Paths

# They take a part of what they read.
_TAKING = frozenset(
    f"aten::{name}"
    for name in (
        *("slice", "select", "narrow", "index", "index_select", "gather", "take", "take_along_dim", "masked_select"),
        *("split", "split_with_sizes", "chunk", "unbind", "tensor_split", "diagonal", "diag", "constant_pad_nd"),
        *("slice_scatter", "select_scatter", "unsafe_chunk", "unsafe_split", "narrow_copy", "slice_copy"),
    )
)
_WRITING = frozenset(
    f"aten::{name}_"
    for name in (
        *("copy", "fill", "zero", "masked_fill", "index_put", "index_fill", "index_copy", "scatter", "masked_scatter"),
        *("_index_put_impl", "normal", "uniform", "random", "exponential", "fill_diagonal", "put", "set", "bernoulli"),
    )
)
_FOLLOWED_AT_MOST = 64


def is_write(site: Site) -> bool:
    """Whether a site puts something else in the place of (some of) what its first argument held."""
    return site.op in _WRITING


def dropping_op(paths: Paths, joined: Site) -> Site:
    """What drops a part of a joined value: the first write into it, else the first selection from it.

    Args:
        paths: Of the run.
        joined: Where the part came in and a gradient for other parts arrives, such as a `cat`.
    """
    if is_write(joined) or plain(joined.op) in ("aten::where", "aten::masked_fill"):
        return joined
    writes = [
        site
        for site in paths.sites.values()
        if is_write(site) and any(paths.base(atom) == joined.index for atom in site.arguments[0])
    ]
    if writes:
        return min(writes, key=lambda site: site.first_call_order)
    seen = {joined.index}
    waiting = [joined]
    while waiting and len(seen) < _FOLLOWED_AT_MOST:
        site = waiting.pop(0)
        if plain(site.op) in _TAKING and site is not joined:
            return site
        for reader in sorted(paths.readers(site), key=lambda each: each.first_call_order):
            if reader.index not in seen and paths.reaches_loss(reader):
                seen.add(reader.index)
                waiting.append(reader)
    return joined
