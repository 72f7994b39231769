"""From where a value comes that is zero in every element: an input, a weight, a mask, an operation that makes zeros."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Formula
from gradclinic_engine.graph.op import Kind as OpKind
from gradclinic_engine.graph.site_ops import argument_at, has_zero_derivative, op_of
from gradclinic_engine.reading.one_element import normalises_one_element
from gradclinic_engine.reading.op_factors import all_factor_groups, number_that_takes_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradclinic_engine.graph.op import Op
    from gradclinic_engine.measurements import Site, Statistics
    from gradclinic_engine.reading.paths import Paths

# They scale by a weight, or hand on entries of a table.
_WITH_WEIGHTS = frozenset({OpKind.NORMALIZATION, OpKind.EMBEDDING, OpKind.LOOKUP})


class Kind(enum.Enum):
    """What makes a value zero."""

    PARAMETER = "a parameter that is all zero"
    BUFFER = "a buffer that is all zero"
    INPUT = "an input that is all zero"
    MADE = "an operation that makes zeros"
    PRODUCT = "a product with zero"
    STEP = "an operation that rounds to zero"
    ONE_ELEMENT = "a normalisation of one element"
    REPLACED = "values replaced by zeros"
    OTHER = "another operation"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where zeros come from.

    Attributes:
        kind: By what.
        site: The operation, where it is one.
        name: The parameter, buffer or input, or what a product multiplies with.
    """

    kind: Kind
    site: Site | None = None
    name: str = ""


def factor_that_takes_all(paths: Paths, product: Site, operand: int | str) -> int | str | None:
    """The other operand of an elementwise product that is zero in every element although this one is not.

    Seen from the result, for a factor that was not measured itself, such as one entry of a buffer of weights.
    """
    if op_of(product).formula is not Formula.MULTIPLY or not all_zero(product.activation) or is_zero(paths, (operand,)):
        return None
    others = [atom for held in product.arguments for atom in held if atom != operand]
    given = [atom for atom in others if not isinstance(atom, int) or is_given(paths, atom) or _is_part(paths, atom)]
    return given[0] if given else None


def is_zero(paths: Paths, held: Iterable[int | str]) -> bool:
    """Whether an argument that may hold these values is zero in every element, for all we know."""
    ran = [atom for atom in held if not isinstance(atom, int) or atom in paths.sites]
    return bool(ran) and all(_is_zero(paths, atom, frozenset()) for atom in ran)


def zero_origin(paths: Paths, held: Iterable[int | str]) -> Origin:
    """Where the zeros of an argument come from, for which `is_zero` holds."""
    seen: set[int] = set()
    waiting = [atom for atom in held if not isinstance(atom, int) or atom in paths.sites]
    atom = waiting[0]
    while isinstance(atom, int):
        site = paths.sites[atom]
        seen.add(atom)
        step = _before(paths, site)
        if isinstance(step, Origin):
            return step
        if step in seen:
            return Origin(Kind.OTHER, site)
        atom = step
    return _lasting(atom)


def origin_of_part(paths: Paths, atom: int | str) -> Origin:
    """What a value is, or is a part of: a parameter, buffer or input, else the operation that made it."""
    base = paths.base(atom)
    return _lasting(base) if isinstance(base, str) else Origin(Kind.OTHER, paths.sites[base])


def _lasting(atom: str) -> Origin:
    kind, _, name = atom.partition(":")
    return Origin({"parameter": Kind.PARAMETER, "buffer": Kind.BUFFER}.get(kind, Kind.INPUT), None, name)


def all_zero(statistics: Statistics | None) -> bool:
    """Whether there are elements, and all of them are exactly zero."""
    return (
        statistics is not None
        and statistics.element_count > 0
        and not statistics.nonfinite_count
        and statistics.min == 0 == statistics.max
    )


def _is_zero(paths: Paths, atom: int | str, seen: frozenset[int]) -> bool:
    if isinstance(atom, str):
        return all_zero(paths.lasting.get(atom))
    site = paths.sites[atom]
    if not site.is_view:
        return all_zero(site.activation)
    base = [held for held in site.arguments[0] if held not in seen] if site.arguments else list(site.operands)
    return bool(base) and all(
        _is_zero(paths, held, seen | {atom}) for held in base if isinstance(held, str) or held in paths.sites
    )


def _before(paths: Paths, site: Site) -> Origin | int | str:
    """The origin, if it is this site, or else which of the values that it reads is zero before it."""
    op = op_of(site)
    if site.acts_as:
        return _through_rectifier(paths, site)
    if op.kind is OpKind.CREATION:
        return Origin(Kind.MADE, site)
    if number := _number(site):
        return Origin(Kind.PRODUCT, site, number)
    factor = _zero_factor(paths, site)
    if factor is not None:
        if op.formula is Formula.MULTIPLY and is_given(paths, factor):
            return Origin(Kind.PRODUCT, site, factor if isinstance(factor, str) else "")
        return factor
    return _handed_on(paths, site, op)


def _through_rectifier(paths: Paths, site: Site) -> Origin | int | str:
    """Of a rectifier that is written with a mask neither the mask nor its zeros are to blame."""
    learnt = [atom for held in site.arguments for atom in held if not is_given(paths, atom)]
    return learnt[0] if learnt and is_zero(paths, learnt[:1]) else Origin(Kind.OTHER, site)


def is_given(paths: Paths, factor: int | str) -> bool:
    """Whether a factor is a mask or coefficient, not something that is learnt."""
    return not factor.startswith("parameter:") if isinstance(factor, str) else not paths.sites[factor].requires_grad


def _is_part(paths: Paths, atom: int | str) -> bool:
    """Whether a value is a view of a parameter."""
    return str(paths.base(atom)).startswith("parameter:")


def _zero_factor(paths: Paths, site: Site) -> int | str | None:
    """What makes a product, or the scale and shift of a normalisation, zero."""
    zeros = [held[0] for held in all_factor_groups(site) if held and is_zero(paths, held)]
    if zeros:
        # A weight, buffer or input right here says more than a value that was computed.
        return min(zeros, key=lambda atom: isinstance(atom, int))
    op = op_of(site)
    held = argument_at(site, op.weight_at) if op.kind in _WITH_WEIGHTS else ()
    return held[0] if held and is_zero(paths, held) else None


def _handed_on(paths: Paths, site: Site, op: Op) -> Origin | int | str:
    """Zeros in, zeros out; or else a normalisation, a rounding or a replacement made them."""
    if normalises_one_element(paths, site):
        return Origin(Kind.ONE_ELEMENT, site)
    data = _measured(paths, site)
    if op.formula is Formula.ASSIGN and data and is_zero(paths, data[-1]):
        return data[-1][0]
    if data and all(is_zero(paths, held) for held in data):
        return data[0][0]
    factors = (factor_that_takes_all(paths, site, atom) for held in data for atom in held)
    factor = next((each for each in factors if each is not None), None)
    if factor is not None:
        return Origin(Kind.PRODUCT, site, str(paths.base(factor)))
    if has_zero_derivative(site):
        return Origin(Kind.STEP, site)
    return Origin(Kind.REPLACED if op.kind is OpKind.REPLACING else Kind.OTHER, site)


def _number(site: Site) -> str:
    """A number that makes all of a product zero, as `name=value`."""
    op = op_of(site)
    if (op.kind is OpKind.DROPOUT or op.formula is Formula.MULTIPLY) and site.arguments:
        return next((found for atom in site.arguments[0] if (found := number_that_takes_all(site, atom))), "")
    return ""


def _measured(paths: Paths, site: Site) -> list[tuple[int | str, ...]]:
    """The arguments whose values were measured; indices and conditions were not."""
    return [held for held in site.arguments if any(_has_values(paths, atom) for atom in held)]


def _has_values(paths: Paths, atom: int | str) -> bool:
    if isinstance(atom, str):
        return atom in paths.lasting
    site = paths.sites.get(atom)
    return site is not None and (site.activation is not None or site.is_view)
