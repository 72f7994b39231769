"""Parameters that forward does not read while it reads a copy of them: a buffer, a frozen parameter, a constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradclinic_engine.graph.site_ops import is_constant
from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.reading.severed_paths import missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Parameter, Site, Statistics
    from gradclinic_engine.reading.paths import Paths

# Sums over millions of elements differ in the last digits when the order of the elements does.
SAME_SHARE_OF_RMS = 1e-4


@dataclass(frozen=True, slots=True)
class Shadowed:
    """A parameter, and what is read instead.

    Attributes:
        copy: Name of the buffer or frozen parameter; empty for a constant.
        site: The first operation that reads the copy, or the constant.
    """

    parameter: Parameter
    copy: str
    site: Site


def shadowed(paths: Paths) -> list[Shadowed]:
    """Trainable parameters without a gradient whose equal is read on the way to the loss."""
    lost = missing(paths.measurements)
    copies = list(_copies(paths)) if lost else []
    found = []
    for parameter in lost:
        if any(paths.reaches_loss(site) for site in paths.first_readers(parameter)):
            continue
        for name, statistics, shape, site in copies:
            if sorted(shape) == sorted(parameter.shape) and _same(parameter.weight, statistics):
                found.append(Shadowed(parameter, name, site))
                break
    return found


def _copies(paths: Paths) -> Iterator[tuple[str, Statistics, tuple[int, ...], Site]]:
    """Everything fixed that the loss depends on: name, statistics, shape and first reader."""
    used = [site for site in paths.in_order if paths.reaches_loss(site)]
    readers: dict[str, Site] = {}
    for site in reversed(used):
        readers.update(dict.fromkeys((*site.buffers, *site.parameters), site))
    for buffer in paths.measurements.buffers:
        if buffer.name in readers:
            yield buffer.name, buffer.statistics, buffer.shape, readers[buffer.name]
    for parameter in paths.measurements.parameters:
        if parameter.status is GradientStatus.FROZEN and parameter.name in readers:
            yield parameter.name, parameter.weight, parameter.shape, readers[parameter.name]
    for site in used:
        if is_constant(site) and site.activation:
            yield "", site.activation, site.shape, site


def _same(one: Statistics, other: Statistics) -> bool:
    """Whether two tensors that are not constant have the same statistics."""
    if one.min == one.max or one.element_count != other.element_count:
        return False
    pairs = ((one.mean, other.mean), (one.rms, other.rms), (one.min, other.min), (one.max, other.max))
    return all(abs(left - right) <= SAME_SHARE_OF_RMS * one.rms for left, right in pairs)
