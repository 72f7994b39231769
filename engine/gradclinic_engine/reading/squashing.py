"""Recognises softmax and sigmoid, also where they are written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Formula, Kind, Squash
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.reading.loss_reading import origin

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

_DIVISIONS = frozenset({Formula.DIVIDE, Formula.RECIPROCAL})
_ONE_MORE = frozenset({Formula.ADD, Formula.SUBTRACT_FROM})
MAX_CLAMPS = 4


def behind_clamps(paths: Paths, site: Site) -> Site:
    """The operation whose value a site only clamps or multiplies by one."""
    seen = 0
    while seen < MAX_CLAMPS and (
        _clamps(site) or (op_of(site).formula is Formula.MULTIPLY and site.constants.get("other") == 1)
    ):
        before = argument(paths, site, 0)
        if before is None:
            break
        site, seen = before, seen + 1
    return site


def squashes(paths: Paths, site: Site) -> str:
    """`softmax` or `sigmoid` when a site's value is (the clamped value of) one; "" when it is not."""
    site = behind_clamps(paths, site)
    op = op_of(site)
    if op.squash in {Squash.SIGMOID, Squash.SOFTMAX}:
        return str(op.squash.value)
    if (
        op.formula in _DIVISIONS
        and site.activation is not None
        and site.activation.min >= 0
        and site.activation.max <= 1
    ):
        return _by_hand(paths, site)
    return ""


def _by_hand(paths: Paths, site: Site) -> str:
    """exp(x) / exp(x).sum(d) is a softmax, 1 / (1 + exp(-x)) and exp(x) / (1 + exp(x)) are sigmoids."""
    is_reciprocal = op_of(site).formula is Formula.RECIPROCAL
    above = None if is_reciprocal else argument(paths, site, 0)
    below = argument(paths, site, 0 if is_reciprocal else 1)
    if below is None:
        return ""
    if op_of(below).formula is Formula.SUM and above is not None:
        return "softmax" if _is_exponential(above) and argument(paths, below, 0) is above else ""
    if op_of(below).formula in _ONE_MORE and 1 in (below.constants.get("other"), _constant_before(below)):
        inner = argument(paths, below, 0) or argument(paths, below, 1)
        if inner is not None and _is_exponential(inner):
            return "sigmoid"
    return ""


def _clamps(site: Site) -> bool:
    return op_of(site).kind is Kind.LIMIT and any(op_of(site).bounds)


def _is_exponential(site: Site) -> bool:
    return op_of(site).formula is Formula.EXPONENTIAL


def _constant_before(site: Site) -> object:
    return site.constants.get("self", site.constants.get("other"))


def argument(paths: Paths, site: Site, position: int) -> Site | None:
    """The operation that computed an argument; None where it is none, or not clear."""
    if position >= len(site.arguments):
        operands = paths.operands(site)
        return origin(paths, operands[0]) if len(operands) == 1 and not site.arguments else None
    atoms = [each for each in site.arguments[position] if isinstance(each, int) and each in paths.sites]
    return origin(paths, paths.sites[atoms[0]]) if len(atoms) == 1 else None
