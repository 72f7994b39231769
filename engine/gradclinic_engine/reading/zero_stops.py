"""Where on its way back from the loss the gradient turns from something into exactly zero, and for which parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.measurements import GradientStatus

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

PARAMETER = "parameter:"


@dataclass(frozen=True, slots=True)
class Stop:
    """One operand to which an operation hands back nothing of the gradient that it got.

    Attributes:
        site: The operation; a non-zero gradient arrives at its result.
        operand: What it reads there: a site, or `parameter:NAME`.
        parameters: Those with an exactly zero gradient that are before (or are) the operand, in the program's order.
    """

    site: Site
    operand: int | str
    parameters: tuple[str, ...]


def zero_stops(paths: Paths) -> list[Stop]:
    """All of them that starve a parameter, in execution order."""
    return paths.once(_zero_stops)


def _zero_stops(paths: Paths) -> list[Stop]:
    starved = {p.name for p in paths.measurements.parameters if p.status is GradientStatus.ZERO}
    if not starved:
        return []
    found = []
    for site in paths.in_order:
        if site.is_view or not gets_gradient(site):
            continue
        for operand in operands_of(site):
            if isinstance(operand, int) and operand in paths.sites and 0 in paths.sites[operand].shape:
                continue  # an expert that got no sample
            names = _starved_before(paths, operand, starved)
            if names:
                found.append(Stop(site, operand, names))
    return found


def operands_of(site: Site) -> list[int | str]:
    """Sites and `parameter:NAME`s that an operation reads or writes over."""
    if op_of(site).is_shape_only:
        return []
    # What is written over is no operand, but autograd sends it (zero) gradient all the same.
    atoms = [atom for held in site.arguments for atom in held]
    read = [*atoms, *site.operands, *(f"{PARAMETER}{name}" for name in site.parameters)]
    return [
        atom
        for atom in dict.fromkeys(read)
        if (atom != site.index if isinstance(atom, int) else atom.startswith(PARAMETER))
    ]


def gets_gradient(site: Site) -> bool:
    """Whether a gradient with some element that is not zero arrives at a site's result."""
    gradient = site.gradient
    return (
        gradient is not None
        and gradient.element_count > gradient.nonfinite_count
        and bool(gradient.min or gradient.max)
    )


def _starved_before(paths: Paths, operand: int | str, starved: set[str]) -> tuple[str, ...]:
    """The starved parameters from which only values without a gradient lead to an operand."""
    found: set[str] = set()
    seen: set[int | str] = set()
    waiting = [operand]
    while waiting:
        atom = waiting.pop()
        if atom in seen:
            continue
        seen.add(atom)
        if isinstance(atom, str):
            found.add(atom.removeprefix(PARAMETER))
            continue
        site = paths.sites.get(atom)
        if site is not None and site.requires_grad and (site.is_view or _gets_only_zero(site)):
            waiting += operands_of(site)
    names = found & starved
    return tuple(p.name for p in paths.with_status(GradientStatus.ZERO) if p.name in names) if names else ()


def _gets_only_zero(site: Site) -> bool:
    return not gets_gradient(site) and not (site.gradient is not None and site.gradient.nonfinite_count)
