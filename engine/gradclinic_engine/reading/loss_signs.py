"""With which sign each growing part stands in a model's own loss: what a step downhill makes larger or smaller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Formula, Growth, Kind, Reduction
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.reading.squashing import argument, squashes

if TYPE_CHECKING:
    from gradclinic_engine.graph.op import Op
    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

# They hand on the sign of what they read.
_PASSING = frozenset({Kind.LOOKUP, Kind.JOINING, Kind.DROPOUT})
_MONOTONE = frozenset({Formula.FILL, Formula.SQUARE_ROOT})
_SUMS = frozenset({Formula.ADD, Formula.SUBTRACT, Formula.SUBTRACT_FROM})
_LINEAR = _SUMS | {Formula.MULTIPLY, Formula.NEGATE, Formula.RECTIFIER}
MAX_PARTS = 256


@dataclass(frozen=True, slots=True)
class Part:
    """One growing (or sinking, or linear) part of a loss.

    Attributes:
        site: The operation that gives it.
        sign: +1 when the loss falls with it towards a bound, -1 when the loss falls without bound, 0 unknown.
        is_linear: It is a layer's output itself: it has no bound on either side.
        met_data: On the way to the loss a target was added or subtracted.
    """

    site: Site
    sign: int
    is_linear: bool = False
    met_data: bool = False


def parts(paths: Paths) -> list[Part]:
    """The parts of a model's own loss, found backwards from its value."""
    found: list[Part] = []
    waiting = [(paths.sites[index], 1, False) for index in paths.outputs]
    seen: set[tuple[int, int, bool]] = set()
    while waiting and len(seen) < MAX_PARTS:
        site, sign, met = waiting.pop()
        if (site.index, sign, met) in seen or not site.requires_grad:
            continue
        seen.add((site.index, sign, met))
        part = _part(paths, site, sign, met_data=met)
        if part is not None:
            found.append(part)
        else:
            waiting.extend(_onward(paths, site, sign, met_data=met))
    return found


def _part(paths: Paths, site: Site, sign: int, *, met_data: bool) -> Part | None:
    if op_of(site).is_layer and site.parameters:
        return Part(site, 0, is_linear=True, met_data=met_data)
    own = _own_sign(paths, site)
    return None if own is None else Part(site, own * sign)


def _own_sign(paths: Paths, site: Site) -> int | None:
    """+1 for what grows without bound, -1 for what sinks without bound, 0 for either; None for what only hands on."""
    op = op_of(site)
    if op.loss:
        got = argument(paths, site, 0)
        # These may be negative themselves, unless they get logarithms of probabilities.
        is_sound = op.loss != "hinge_embedding_loss" and (
            op.loss != "nll_loss" or (got is not None and op_of(got).growth is Growth.SINKING)
        )
        return int(is_sound)
    if op.growth in {Growth.DISTANCE, Growth.HINGE} or _is_square(site):
        return int(_has_no_bound(paths, site))
    is_logarithm = op.formula is Formula.LOGARITHM
    inner = argument(paths, site, 0) if is_logarithm else None
    if op.growth is Growth.SINKING or (inner is not None and squashes(paths, inner)):
        return -1
    return 0 if is_logarithm else None


def _is_square(site: Site) -> bool:
    """Whether it multiplies a value by itself, or takes an even power."""
    match op_of(site).formula:
        case Formula.MULTIPLY:
            return len(site.arguments) > 1 and site.arguments[0] == site.arguments[1]
        case Formula.POWER:
            return _is_even(site.constants.get("exponent"))
        case _:
            return False


def _passes(op: Op) -> bool:
    """Whether a value is what it reads, or a part, a sum or a root of it, with the same sign."""
    return op.hands_on or op.kind in _PASSING or op.reduction is Reduction.TOTAL or op.formula in _MONOTONE


def _has_no_bound(paths: Paths, site: Site) -> bool:
    """Whether what goes into it comes from a layer through nothing that bounds it, such as a sigmoid."""
    waiting = [each for each in paths.operands(site) if each.requires_grad]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if each.index in seen:
            continue
        seen.add(each.index)
        if op_of(each).is_layer and each.parameters:
            return True
        if _passes(op_of(each)) or op_of(each).formula in _LINEAR:
            waiting.extend(operand for operand in paths.operands(each) if operand.requires_grad)
    return False


def _is_even(exponent: object) -> bool:
    return isinstance(exponent, (int, float)) and exponent > 0 and exponent % 2 == 0


def _onward(paths: Paths, site: Site, sign: int, *, met_data: bool) -> list[tuple[Site, int, bool]]:
    """What a site is made of, each with its sign; an unknown operation ends the way with sign 0."""
    op = op_of(site)
    operands = [[paths.sites[i] for i in each if isinstance(i, int) and i in paths.sites] for each in site.arguments]
    learnt = [[each for each in group if each.requires_grad] for group in operands]
    if _passes(op) or op.formula in {Formula.CHOICE, Formula.NEGATE}:
        turned = -sign if op.formula is Formula.NEGATE else sign
        return [(each, turned, met_data) for group in learnt for each in group]
    if op.formula in _SUMS:
        scale = site.constants.get("alpha", 1)
        second = (1 if op.formula is Formula.ADD else -1) * (1 if isinstance(scale, (int, float)) and scale > 0 else -1)
        signs = (second, 1) if op.formula is Formula.SUBTRACT_FROM else (1, second)
        met = met_data or _meets_data(site, learnt)
        return [(each, sign * s, met) for s, group in zip(signs, learnt[:2], strict=False) for each in group]
    if op.formula in {Formula.MULTIPLY, Formula.DIVIDE}:
        factor = _sign_of_factor(paths, site, learnt)
        if op.formula is Formula.DIVIDE and len(learnt) > 1 and learnt[1]:
            factor = 0
        return [(each, sign * factor, met_data) for group in learnt[:2] for each in group] if factor else []
    return []


def _meets_data(site: Site, learnt: list[list[Site]]) -> bool:
    """Whether one side is learnt and the other a tensor that was sent."""
    bare = [argument for argument, group in zip(site.arguments[:2], learnt, strict=False) if argument and not group]
    return bool(bare) and len(site.shape) > 0


def _sign_of_factor(paths: Paths, site: Site, learnt: list[list[Site]]) -> int:
    """The sign of what a value is multiplied with; 0 where it varies, is learnt or is not known."""
    if len(learnt) > 1 and learnt[0] and learnt[1]:
        return 0
    other = site.constants.get("other", site.constants.get("self"))
    if isinstance(other, (int, float)) and not isinstance(other, bool):
        return (other > 0) - (other < 0)
    bare = next((each for each, group in zip(site.arguments[:2], learnt, strict=False) if each and not group), ())
    ranges = [_range(paths, each) for each in bare]
    if not ranges or None in ranges:
        return 0
    lows, highs = zip(*(each for each in ranges if each is not None), strict=True)
    return 1 if min(lows) >= 0 else -1 if max(highs) <= 0 else 0


def _range(paths: Paths, source: int | str) -> tuple[float, float] | None:
    if isinstance(source, int):
        site = paths.sites.get(source)
        if site is None:
            return None
        if site.activation is None or site.is_view:
            inner = [each for argument in site.arguments[:1] for each in argument]
            is_flag = site.dtype == "bool" or op_of(site).formula is Formula.ONE_HOT
            return (
                (0.0, 1.0) if is_flag else _range(paths, inner[0]) if len(inner) == 1 and inner[0] != source else None
            )
        return site.activation.min, site.activation.max
    kind, _, name = source.partition(":")
    measured = paths.measurements
    group = {"input": measured.inputs, "buffer": measured.buffers, "target": measured.target}.get(kind, ())
    return next(((each.statistics.min, each.statistics.max) for each in group if each.name == name), None)
