"""Which operation drops a value that was computed: it writes over it, or selects everything but it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op_kinds import plain

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

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
# They keep the elements apart, so that a part of what they read is a part of what they give.
KEEPING_APART = frozenset(
    f"aten::{name}"
    for name in (
        *("add", "sub", "mul", "div", "relu", "gelu", "silu", "tanh", "sigmoid", "leaky_relu", "elu", "dropout", "neg"),
        *("contiguous", "clone", "to", "reshape", "exp", "softplus", "abs", "clamp", "cat", "stack", "permute"),
    )
)
_FOLLOWED_AT_MOST = 64


def is_write(site: Site) -> bool:
    """Whether a site puts something else in the place of (some of) what its first argument held."""
    return site.op in _WRITING


def dropping_op(paths: Paths, joined: Site) -> Site | None:
    """What drops a part of a joined value: the first write into it, else the first selection from it.

    Args:
        paths: Of the run.
        joined: Where the part came in and a gradient for other parts arrives, such as a `cat`.
    """
    if is_write(joined) or plain(joined.op) in ("aten::where", "aten::masked_fill"):
        return joined
    seen = {joined.index}
    waiting = [joined]
    taking: Site | None = None
    while waiting and len(seen) < _FOLLOWED_AT_MOST:
        site = waiting.pop(0)
        write = _first_write_into(paths, site)
        if write is not None:
            return write
        if plain(site.op) in _TAKING and site is not joined and not _takes_all(paths, site):
            taking = taking or site
            continue
        for reader in sorted(paths.readers(site), key=lambda each: each.first_call_order):
            keeps = reader.is_view or plain(reader.op) in KEEPING_APART | _TAKING
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
