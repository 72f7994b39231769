"""Why gradients that are exactly zero are so: for each starved parameter the operation, weight or input to blame."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Formula
from gradclinic_engine.graph.op import Kind as OpKind
from gradclinic_engine.graph.site_ops import has_zero_derivative, limits, op_of, rectifies
from gradclinic_engine.reading.never_used import dropping_op, is_write
from gradclinic_engine.reading.one_element import normalises_one_element
from gradclinic_engine.reading.op_factors import factors_of, number_that_takes_all, positions_of
from gradclinic_engine.reading.part_factors import part_taking_factor
from gradclinic_engine.reading.zero_origins import (
    Kind,
    Origin,
    all_zero,
    factor_that_takes_all,
    is_zero,
    origin_of_part,
    zero_origin,
)
from gradclinic_engine.reading.zero_stops import PARAMETER, Stop, zero_stops

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths


class Why(enum.Enum):
    """What takes the gradient away."""

    STEP = "an operation without slope"
    KINK = "an operation without curvature, of which a derivative was taken"
    LIMIT = "a clamp"
    ONE_ELEMENT = "a normalisation of one element"
    NEVER_USED = "a value that is overwritten or not selected"
    WEIGHT = "a weight that is zero"
    FACTOR = "a factor that is zero"
    INPUT = "an input that is zero"


@dataclass(slots=True)
class Cause:
    """One reason, for all parameters that it starves.

    Attributes:
        site: The operation to blame; for a weight or an input the one that multiplies with it.
        origin: Where the zeros come from, for a weight, a factor or an input.
        number: The constant that multiplies by zero, as `name=value`.
        zero_share: How much of the factor is zero; below 1 where it takes only a part of a joined value away.
        parameters: Those whose gradient is exactly zero because of it.
    """

    why: Why
    site: Site
    origin: Origin | None = None
    number: str = ""
    zero_share: float = 1.0
    parameters: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[Why, int | str]:
        """Equal for what is the same cause."""
        if self.origin is None or self.why not in (Why.WEIGHT, Why.INPUT):
            return self.why, self.site.index
        return self.why, self.origin.site.index if self.origin.site is not None else self.origin.name


def zero_causes(paths: Paths, *kinds: Why) -> list[Cause]:
    """The causes of these kinds, each once, in the order of the stops that show them."""
    return [cause for cause in paths.once(_all_causes) if cause.why in kinds]


def _all_causes(paths: Paths) -> list[Cause]:
    found: dict[tuple[Why, int | str], Cause] = {}
    for stop in zero_stops(paths):
        cause = _explain(paths, stop)
        if cause is not None:
            known = found.setdefault(cause.key, cause)
            known.parameters += [name for name in stop.parameters if name not in known.parameters]
    return list(found.values())


def _explain(paths: Paths, stop: Stop) -> Cause | None:
    if stop.site.acts_as:  # a rectifier by a mask: its mask is no factor, its zeros are no other value
        return _by_zeros_before(paths, stop)
    looks = (_unused, _by_operation, _by_factor, _by_part, _by_state, _by_zeros_before)
    explanations = (look(paths, stop) for look in looks)
    return next((cause for cause in explanations if cause is not None), None)


def _unused(paths: Paths, stop: Stop) -> Cause | None:
    """Nothing of it is left: an in-place write, a selection, or a condition that never chooses it."""
    op = op_of(stop.site)
    is_over = is_write(stop.site) and 0 in positions_of(stop.site, stop.operand)
    chooses = op.kind is OpKind.JOINING or (op.kind is OpKind.REPLACING and not op.overwrites)
    if not chooses and not is_over:
        return None
    if op.formula in {Formula.CHOICE, Formula.FILL} and _limits_itself(paths, stop):
        return Cause(Why.LIMIT, stop.site)
    dropping = dropping_op(paths, stop.site)
    return Cause(Why.NEVER_USED, dropping) if dropping is not None else None


def _by_operation(paths: Paths, stop: Stop) -> Cause | None:
    """The operation itself has no slope, whatever stands beside it."""
    site = stop.site
    if has_zero_derivative(site):
        return Cause(Why.STEP, site)
    if op_of(site).kind is OpKind.DERIVATIVE:
        kink = _kink(paths, stop)
        return Cause(Why.KINK, kink) if kink is not None else None
    if normalises_one_element(paths, site):
        return Cause(Why.ONE_ELEMENT, site)
    if number := number_that_takes_all(site, stop.operand):
        return Cause(Why.FACTOR, site, number=number)
    if limits(site) and not (rectifies(site) and all_zero(site.activation)):
        return Cause(Why.LIMIT, site)
    return None


def _kink(paths: Paths, stop: Stop) -> Site | None:
    """The piecewise linear operation whose second derivative a derivative asked for."""
    before = paths.sites.values() if all_zero(stop.site.activation) else ()
    if isinstance(stop.operand, int) and stop.operand in paths.sites:
        before = (*paths.readers(paths.sites[stop.operand]), *before)
    asked = (each for each in before if each.first_call_order < stop.site.first_call_order)
    return next((each for each in asked if op_of(each).is_piecewise_linear), None)


def _by_factor(paths: Paths, stop: Stop) -> Cause | None:
    """It is multiplied with something that is all zero."""
    zeros = (held for held in factors_of(stop.site, stop.operand) if is_zero(paths, held))
    found = next((cause for held in zeros if (cause := _by_zero(paths, stop, held)) is not None), None)
    part = factor_that_takes_all(paths, stop.site, stop.operand) if found is None else None
    if part is None:
        return found
    origin = origin_of_part(paths, part)
    return Cause(Why.WEIGHT if origin.kind is Kind.PARAMETER else Why.FACTOR, stop.site, origin)


def _by_part(paths: Paths, stop: Stop) -> Cause | None:
    """It is joined with others, and then multiplied with something that is zero for this part."""
    found = part_taking_factor(paths, stop.site)
    if found is None:
        return None
    site, factor, share = found
    return Cause(Why.FACTOR, site, origin_of_part(paths, factor), zero_share=share)


def _by_state(paths: Paths, stop: Stop) -> Cause | None:
    """A weight of a fused LSTM or GRU: `weight_ih` multiplies the input, `weight_hh` the state."""
    held = _multiplied(paths, stop)
    return Cause(Why.INPUT, stop.site, zero_origin(paths, held)) if held and is_zero(paths, held) else None


def _multiplied(paths: Paths, stop: Stop) -> tuple[int | str, ...]:
    """What the operand, a weight of a recurrent operator, multiplies there: its first or second argument."""
    op, arguments = op_of(stop.site), stop.site.arguments
    if op.is_cell:  # input, state, weight of the input, weight of the state
        place = next(iter(positions_of(stop.site, stop.operand)), 0) - 2
        return arguments[place] if place in (0, 1) else ()
    name = str(paths.base(stop.operand)).rpartition(".")[2]
    if op.kind is not OpKind.RECURRENCE or not name.startswith(("weight_ih_l0", "weight_hh")) or len(arguments) < 2:  # noqa: PLR2004 - input and state
        return ()
    return arguments[0] if name.startswith("weight_ih_l0") else arguments[1]


def _by_zeros_before(paths: Paths, stop: Stop) -> Cause | None:
    """A rectifier whose input is exactly zero lets nothing pass: to blame is what made the zeros."""
    if not rectifies(stop.site) or not is_zero(paths, (stop.operand,)):
        return None
    return _by_zero(paths, stop, (stop.operand,))


def _limits_itself(paths: Paths, stop: Stop) -> bool:
    """Whether a `where` or `masked_fill` chooses a constant by comparing the very value that it replaces."""
    conditions = stop.site.arguments[0 if op_of(stop.site).formula is Formula.CHOICE else 1]
    compared = [
        paths.base(atom)
        for index in conditions
        if isinstance(index, int) and index in paths.sites
        for held in paths.sites[index].arguments
        for atom in held
    ]
    return paths.base(stop.operand) in compared


def _by_zero(paths: Paths, stop: Stop, held: tuple[int | str, ...]) -> Cause | None:
    """Something is all zero: whose fault that is depends on where the zeros come from."""
    origin = zero_origin(paths, held)
    if origin.kind is Kind.PARAMETER:
        return Cause(Why.WEIGHT, stop.site, origin)
    if origin.site is not None and origin.kind in (Kind.STEP, Kind.ONE_ELEMENT):
        return Cause(Why.STEP if origin.kind is Kind.STEP else Why.ONE_ELEMENT, origin.site)
    if origin.site is not None and origin.site.requires_grad and origin.kind is not Kind.OTHER:
        is_product = origin.kind is Kind.PRODUCT
        return Cause(Why.FACTOR if is_product else Why.NEVER_USED, origin.site, origin, origin.name)
    is_weight = str(paths.base(stop.operand)).startswith(PARAMETER)
    was_computed = any(
        isinstance(atom, int) and paths.sites[atom].requires_grad for atom in held if atom in paths.sites
    )
    # What was learnt and came out as zero is told by the rule for how: an activation that is off, an overflow.
    if origin.kind is Kind.OTHER and (is_weight or was_computed):
        return None
    maps = op_of(stop.site).is_layer and not op_of(stop.site).multiplies_list
    return Cause(Why.INPUT if (is_weight and maps) or was_computed else Why.FACTOR, stop.site, origin)
