"""Recognises softmax and sigmoid, also where they are written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op_kinds import plain
from gradclinic_engine.reading.loss_reading import origin

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

_SIGMOIDS = frozenset({"aten::sigmoid", "aten::hardsigmoid", "aten::special_expit"})
_SOFTMAXES = frozenset({"aten::softmax", "aten::_softmax", "aten::special_softmax"})
_DIVISIONS = frozenset({"aten::div", "aten::true_divide", "aten::divide", "aten::reciprocal"})
_CLAMPS = frozenset({"aten::clamp", "aten::clip", "aten::clamp_min", "aten::clamp_max"})
MAX_CLAMPS = 4
_SUMS = frozenset({"aten::sum"})


def behind_clamps(paths: Paths, site: Site) -> Site:
    """The operation whose value a site only clamps or multiplies by one."""
    seen = 0
    while seen < MAX_CLAMPS and (
        plain(site.op) in _CLAMPS or (plain(site.op) == "aten::mul" and site.constants.get("other") == 1)
    ):
        before = argument(paths, site, 0)
        if before is None:
            break
        site, seen = before, seen + 1
    return site


def squashes(paths: Paths, site: Site) -> str:
    """`softmax` or `sigmoid` when a site's value is (the clamped value of) one; "" when it is not."""
    site = behind_clamps(paths, site)
    op = plain(site.op)
    if op in _SIGMOIDS:
        return "sigmoid"
    if op in _SOFTMAXES:
        return "softmax"
    if op in _DIVISIONS and site.activation is not None and site.activation.min >= 0 and site.activation.max <= 1:
        return _by_hand(paths, site)
    return ""


def _by_hand(paths: Paths, site: Site) -> str:
    """exp(x) / exp(x).sum(d) is a softmax, 1 / (1 + exp(-x)) and exp(x) / (1 + exp(x)) are sigmoids."""
    is_reciprocal = plain(site.op) == "aten::reciprocal"
    above = None if is_reciprocal else argument(paths, site, 0)
    below = argument(paths, site, 0 if is_reciprocal else 1)
    if below is None:
        return ""
    if plain(below.op) in _SUMS and above is not None:
        return "softmax" if plain(above.op) == "aten::exp" and argument(paths, below, 0) is above else ""
    if plain(below.op) in ("aten::add", "aten::rsub") and 1 in (below.constants.get("other"), _constant_before(below)):
        inner = argument(paths, below, 0) or argument(paths, below, 1)
        if inner is not None and plain(inner.op) == "aten::exp":
            return "sigmoid"
    return ""


def _constant_before(site: Site) -> object:
    return site.constants.get("self", site.constants.get("other"))


def argument(paths: Paths, site: Site, position: int) -> Site | None:
    """The operation that computed an argument; None where it is none, or not clear."""
    if position >= len(site.arguments):
        operands = paths.operands(site)
        return origin(paths, operands[0]) if len(operands) == 1 and not site.arguments else None
    atoms = [each for each in site.arguments[position] if isinstance(each, int) and each in paths.sites]
    return origin(paths, paths.sites[atoms[0]]) if len(atoms) == 1 else None
