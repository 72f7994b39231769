"""Layers whose units are copies of one another, and stay so: which share of them, told from weights and gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Kind, Weight
from gradclinic_engine.graph.site_ops import argument_at, op_of
from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.reading.depth_profile import relative_gradient

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Parameter, Site
    from gradclinic_engine.reading.paths import Paths

_TABLES = frozenset({Kind.EMBEDDING, Kind.LOOKUP})
_NEARLY_ALL = 0.99
# A gradient that far below the largest of the model, relative to its weight, is what is left of one that cancels out.
_CANCELLED = 1e-5


def copies(paths: Paths, parameter: Parameter) -> tuple[Site, float] | None:
    """The first reader of a hidden layer's weight, and the share of its units that are copies; None where none are.

    A layer is hidden where another weight stands between it and the loss, which itself tells output units apart.
    """
    readers = [site for site in paths.first_readers(parameter) if paths.reaches_loss(site)]
    if not readers or any(op_of(site).kind in _TABLES for site in readers):
        return None
    share = min(_share_of_rows(parameter, site) for site in readers)
    if not share and _gradient_cancels(paths, parameter) and all(_is_read_alike(paths, site) for site in readers):
        share = 1.0
    # Last, as it looks at all that is behind the layer; hardly any has copies.
    return (readers[0], share) if share and _is_hidden(paths, parameter, readers) else None


def _is_hidden(paths: Paths, parameter: Parameter, readers: list[Site]) -> bool:
    weights = {p.name for p in paths.measurements.parameters if len(p.shape) > 1} - {parameter.name}
    later = paths.downstream(*readers) - {site.index for site in readers}
    return any(weights.intersection(paths.sites[index].parameters) for index in later)


def _share_of_rows(parameter: Parameter, site: Site) -> float:
    """Share of copies among the units that one of its readers makes of it."""
    op = op_of(site)
    if op.weight is Weight.OUT_FIRST or (site.is_view and op.kind is Kind.PERMUTATION):
        return parameter.twin_rows
    if op.weight is Weight.IN_FIRST:
        return parameter.twin_columns
    if op.weight in {Weight.FACTOR, Weight.FACTORS}:
        is_right = f"parameter:{parameter.name}" in argument_at(site, op.weight_at)
        return parameter.twin_columns if is_right else parameter.twin_rows
    return min(parameter.twin_rows, parameter.twin_columns)


def _gradient_cancels(paths: Paths, parameter: Parameter) -> bool:
    """Whether all weights are one number, and the equal rows of the layers behind it leave (almost) no gradient."""
    weight = parameter.weight
    if weight.min != weight.max or not weight.min:
        return False
    if parameter.status is GradientStatus.ZERO:
        return True
    largest = max(map(relative_gradient, paths.measurements.parameters), default=0.0)
    return parameter.status is GradientStatus.FLOWING and relative_gradient(parameter) <= _CANCELLED * largest


def _is_read_alike(paths: Paths, site: Site) -> bool:
    """Whether the next weights behind a layer treat all of its units alike, so that they get the same gradient."""
    parameters = {parameter.name: parameter for parameter in paths.measurements.parameters}
    waiting, seen, met = list(paths.readers(site)), {site.index}, 0
    while waiting:
        current = waiting.pop()
        if current.index in seen or not paths.reaches_loss(current):
            continue
        seen.add(current.index)
        weights = [parameters[name] for name in current.parameters if len(parameters[name].shape) > 1]
        if not weights:
            waiting += paths.readers(current)
            continue
        met += 1
        if not all(each.twin_columns >= _NEARLY_ALL or each.weight.min == each.weight.max for each in weights):
            return False
    return met > 0
