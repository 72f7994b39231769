"""The gradient flow as a picture reads it: what there is to draw of each operation, and where findings stand in it."""

from __future__ import annotations

import enum
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gradclinic.records import Diagnosis, Finding, Location, Site, Statistics


class Mark(enum.Enum):
    """How the magnitude of a tensor is drawn on a logarithmic scale."""

    VALUE = "value"  # a point: its RMS is above zero
    ZERO = "zero"  # every element is exactly zero
    NON_FINITE = "non-finite"  # some element is NaN or infinite; the RMS of the others may be there too
    MISSING = "missing"  # it takes part in the gradient's path, yet no gradient arrived
    ABSENT = "absent"  # there is nothing to expect: not reached, a view, integers, off the gradient's path


@dataclass(frozen=True, slots=True)
class Spot:
    """Where one finding stands in the flow, as positions in ``diagnosis.sites``."""

    at: tuple[int, ...]  # what has to be changed; empty where it is no operation
    affected: tuple[int, ...]  # what suffers from it, with the operations between that have no parameters
    edge: str | None = None  # "start" for an input, "end" for loss, target and optimizer


def activation_mark(site: Site) -> Mark:
    """How the forward value of an operation is drawn."""
    return Mark.ABSENT if site.activation is None else _mark(site.activation)


def gradient_mark(site: Site) -> Mark:
    """How the gradient that arrives at an operation is drawn."""
    if site.gradient is not None:
        return _mark(site.gradient)
    expected = site.requires_grad and site.activation is not None and site.calls > 0
    return Mark.MISSING if expected else Mark.ABSENT


def _mark(statistics: Statistics) -> Mark:
    if statistics.nonfinite_count:
        return Mark.NON_FINITE
    if not math.isfinite(statistics.rms):
        return Mark.ABSENT  # a tensor without elements
    return Mark.VALUE if statistics.rms > 0 else Mark.ZERO


def has_point(statistics: Statistics | None) -> bool:
    """Whether the RMS of the finite elements can stand on a logarithmic scale."""
    return statistics is not None and math.isfinite(statistics.rms) and statistics.rms > 0


def is_measured(site: Site) -> bool:
    """Whether there is anything to draw; views, integers and what was not reached have no numbers."""
    return site.activation is not None or site.gradient is not None


def spots(diagnosis: Diagnosis) -> tuple[Spot, ...]:
    """Where each finding stands, in the order of the findings."""
    by_module: dict[str, list[int]] = {}
    for position, site in enumerate(diagnosis.sites):
        by_module.setdefault(site.location.module or "", []).append(position)
    positions = {site.index: position for position, site in enumerate(diagnosis.sites)}
    owners = {parameter.name: parameter.module for parameter in diagnosis.parameters}
    return tuple(
        Spot(
            _at(finding, positions, by_module, owners),
            _affected(finding.affected, diagnosis.sites, by_module, owners),
            _edge(finding.location),
        )
        for finding in diagnosis.findings
    )


def _edge(location: Location) -> str | None:
    if location.name is None:
        return None
    return "start" if location.name.startswith("input") else "end"


def _at(
    finding: Finding, positions: Mapping[int, int], by_module: Mapping[str, list[int]], owners: Mapping[str, str]
) -> tuple[int, ...]:
    """The operations it names; else all of the module that has to be changed."""
    location = finding.location
    if location.name is not None:
        return ()
    if finding.sites:
        return tuple(sorted(positions[index] for index in finding.sites if index in positions))
    module = location.module
    if location.parameter is not None:
        module = owners.get(location.parameter, location.parameter.rpartition(".")[0])
    if module is None:
        return ()
    return tuple(by_module.get(module, ())) or _below(module, by_module)


def _below(module: str, by_module: Mapping[str, list[int]]) -> tuple[int, ...]:
    """What the submodules of a module run."""
    inside = f"{module}."
    return tuple(sorted(p for path, positions in by_module.items() if path.startswith(inside) for p in positions))


def _affected(
    names: Iterable[str], sites: Sequence[Site], by_module: Mapping[str, list[int]], owners: Mapping[str, str]
) -> tuple[int, ...]:
    modules = {owners.get(name, name) for name in names}
    direct = sorted(position for module in modules for position in by_module.get(module, ()))
    trainable = set(owners.values())
    found = set(direct)
    for before, after in itertools.pairwise(direct):
        between = range(before + 1, after)
        if not any(sites[position].location.module in trainable for position in between):
            found.update(between)
    return tuple(sorted(found))
