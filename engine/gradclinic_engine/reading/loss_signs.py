"""With which sign each growing part stands in a model's own loss: what a step downhill makes larger or smaller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradclinic_engine.graph.loss_ops import LOSS_OPS
from gradclinic_engine.graph.op_kinds import plain
from gradclinic_engine.reading.input_reading import LAYERS
from gradclinic_engine.reading.loss_reading import HANDING_ON
from gradclinic_engine.reading.squashing import argument, squashes

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

# At least zero and without an upper bound, so a loss must add them, not take them away.
_GROWING = frozenset(
    f"aten::{name}"
    for name in (
        *("square", "abs", "absolute", "norm", "linalg_vector_norm", "cdist", "pairwise_distance", "softplus", "dist"),
    )
)
# At most zero and without a lower bound, so a loss must take them away.
_SINKING = frozenset({"aten::log_softmax", "aten::log_sigmoid"})
_PASSING = (
    frozenset(
        f"aten::{name}"
        for name in (
            *("mean", "sum", "nanmean", "nansum", "masked_select", "index", "gather", "stack", "cat", "clone", "trace"),
            *("masked_fill", "diag", "diagonal", "dropout", "cumsum", "sqrt"),
        )
    )
    | HANDING_ON
)
_LINEAR = _PASSING | {"aten::add", "aten::sub", "aten::rsub", "aten::mul", "aten::neg", "aten::relu", "aten::unbind"}
_DIVISIONS = frozenset({"aten::div", "aten::true_divide", "aten::divide"})
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
    if plain(site.op) in LAYERS and site.parameters:
        return Part(site, 0, is_linear=True, met_data=met_data)
    own = _own_sign(paths, site)
    return None if own is None else Part(site, own * sign)


def _own_sign(paths: Paths, site: Site) -> int | None:
    """+1 for what grows without bound, -1 for what sinks without bound, 0 for either; None for what only hands on."""
    op = plain(site.op)
    loss = LOSS_OPS.get(site.op)
    if loss is not None:
        got = argument(paths, site, 0)
        # These may be negative themselves, unless they get logarithms of probabilities.
        is_sound = loss.name != "hinge_embedding_loss" and (
            loss.name != "nll_loss" or (got is not None and plain(got.op) in _SINKING)
        )
        return int(is_sound)
    is_square = op == "aten::mul" and len(site.arguments) > 1 and site.arguments[0] == site.arguments[1]
    if op in _GROWING or is_square or (op == "aten::pow" and _is_even(site.constants.get("exponent"))):
        return int(_has_no_bound(paths, site))
    inner = argument(paths, site, 0) if op == "aten::log" else None
    if op in _SINKING or (inner is not None and squashes(paths, inner)):
        return -1
    return 0 if op == "aten::log" else None


def _has_no_bound(paths: Paths, site: Site) -> bool:
    """Whether what goes into it comes from a layer through nothing that bounds it, such as a sigmoid."""
    waiting = [each for each in paths.operands(site) if each.requires_grad]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if each.index in seen:
            continue
        seen.add(each.index)
        if plain(each.op) in LAYERS and each.parameters:
            return True
        if plain(each.op) in _LINEAR:
            waiting.extend(operand for operand in paths.operands(each) if operand.requires_grad)
    return False


def _is_even(exponent: object) -> bool:
    return isinstance(exponent, (int, float)) and exponent > 0 and exponent % 2 == 0


def _onward(paths: Paths, site: Site, sign: int, *, met_data: bool) -> list[tuple[Site, int, bool]]:
    """What a site is made of, each with its sign; an unknown operation ends the way with sign 0."""
    op = plain(site.op)
    operands = [[paths.sites[i] for i in each if isinstance(i, int) and i in paths.sites] for each in site.arguments]
    learnt = [[each for each in group if each.requires_grad] for group in operands]
    if op in _PASSING or op in ("aten::where", "aten::neg"):
        turned = -sign if op == "aten::neg" else sign
        return [(each, turned, met_data) for group in learnt for each in group]
    if op in ("aten::add", "aten::sub", "aten::rsub"):
        scale = site.constants.get("alpha", 1)
        second = (-1 if op != "aten::add" else 1) * (1 if isinstance(scale, (int, float)) and scale > 0 else -1)
        signs = (second, 1) if op == "aten::rsub" else (1, second)
        met = met_data or _meets_data(site, learnt)
        return [(each, sign * s, met) for s, group in zip(signs, learnt[:2], strict=False) for each in group]
    if op == "aten::mul" or op in _DIVISIONS:
        factor = _sign_of_factor(paths, site, learnt)
        if op in _DIVISIONS and len(learnt) > 1 and learnt[1]:
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
            is_flag = site.dtype == "bool" or plain(site.op) in ("aten::one_hot", "aten::size", "aten::numel")
            return (
                (0.0, 1.0) if is_flag else _range(paths, inner[0]) if len(inner) == 1 and inner[0] != source else None
            )
        return site.activation.min, site.activation.max
    kind, _, name = source.partition(":")
    measured = paths.measurements
    group = {"input": measured.inputs, "buffer": measured.buffers, "target": measured.target}.get(kind, ())
    return next(((each.statistics.min, each.statistics.max) for each in group if each.name == name), None)
