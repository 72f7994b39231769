"""How the model reads its inputs: which layer meets an input first, and whether it is a feature at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Formula, Kind, Norm, Pole
from gradclinic_engine.graph.site_ops import op_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from gradclinic_engine.graph.op import Op
    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

_SCALING = frozenset(
    {Formula.MULTIPLY, Formula.DIVIDE, Formula.ADD, Formula.SUBTRACT, Formula.SUBTRACT_FROM, Formula.NEGATE}
)


def _arranges(op: Op) -> bool:
    return op.hands_on or op.kind is Kind.JOINING


def _scales(op: Op) -> bool:
    return op.formula in _SCALING or op.pole is Pole.SLOW


def raw_readers(paths: Paths, name: str) -> list[Site]:
    """The layers with parameters that meet an input as it was sent, at most in another shape or beside others."""
    return [site for site in _readers(paths, name, _arranges) if op_of(site).is_layer]


def is_feature(paths: Paths, name: str) -> bool:
    """Whether layers read an input, also scaled: not a mask, a weight or a position that only meets other values."""
    found = _readers(paths, name, lambda op: _arranges(op) or _scales(op))
    return any(site.parameters and (op_of(site).is_layer or op_of(site).norm is not Norm.NONE) for site in found)


def _readers(paths: Paths, name: str, through: Callable[[Op], bool]) -> list[Site]:
    """The first operations that do more with an input than hand it on."""
    waiting = [site for site in paths.sites.values() if name in site.inputs]
    found: dict[int, Site] = {}
    seen: set[int] = set()
    while waiting:
        site = waiting.pop()
        if site.index in seen:
            continue
        seen.add(site.index)
        if through(op_of(site)) and not site.parameters and not _meets_learnt(site):
            waiting.extend(paths.readers(site))
        else:
            found[site.index] = site
    return [found[index] for index in sorted(found)]


def _meets_learnt(site: Site) -> bool:
    """Whether a product or sum also takes in what the model has computed: then the input is a mask or a residual."""
    return _scales(op_of(site)) and bool(site.reached_by)


def next_steps(paths: Paths, site: Site, through: Collection[Formula] = ()) -> list[Site]:
    """What is done next with a value, looking through operations that hand it on."""
    found: list[Site] = []
    waiting = list(paths.readers(site))
    seen: set[int] = set()
    while waiting:
        reader = waiting.pop()
        if reader.index not in seen:
            seen.add(reader.index)
            if op_of(reader).hands_on or op_of(reader).formula in through:
                waiting.extend(paths.readers(reader))
            else:
                found.append(reader)
    return found
