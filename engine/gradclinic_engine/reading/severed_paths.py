"""Which op severs which parameters from the loss, and which parameters have no way to it at all."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Kind
from gradclinic_engine.graph.site_ops import is_constant, op_of
from gradclinic_engine.measurements import GradientStatus, Statistics

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Measurements, Parameter, Site
    from gradclinic_engine.reading.paths import Paths


class Means(enum.Enum):
    """By what means a path is severed; easiest to undo first."""

    DETACH = "detach"
    DERIVATIVE = "derivative"  # taken without a graph of its own
    NO_GRAD = "no_grad"
    REWRAPPED = "rewrapped"  # the value was copied into a new tensor
    NON_DIFFERENTIABLE = "non-differentiable"


@dataclass(frozen=True, slots=True)
class Severed:
    """One place where the path to the loss ends, for these parameters.

    Attributes:
        site: The first op, in execution order, that cuts.
        means: How.
        parameters: Names of the parameters for which all ways to the loss are cut, and this is where to begin.
        others: Further ops that cut other ways of the same parameters.
    """

    site: Site
    means: Means
    parameters: tuple[str, ...]
    others: tuple[Site, ...] = ()


def severed_paths(paths: Paths) -> list[Severed]:
    """All places that cut a trainable parameter off from the loss, in execution order."""
    return paths.once(_severed_paths)


def _severed_paths(paths: Paths) -> list[Severed]:
    lost = missing(paths.measurements)
    copies = _copied_constants(paths) if lost else []
    cut_parameters: dict[int, list[str]] = {}
    others: dict[int, dict[int, Site]] = {}
    sites: dict[int, tuple[Site, Means]] = {}
    for parameter in lost:
        cuts = paths.cuts(parameter) or [constant for constant, origin in copies if parameter.name in origin.reached_by]
        if not cuts:
            continue
        ranked = sorted(cuts, key=lambda cut: (list(Means).index(means_of(cut)), cut.first_call_order))
        first = _start_of_region(paths, ranked[0]) if means_of(ranked[0]) is Means.NO_GRAD else ranked[0]
        sites[first.index] = (first, means_of(ranked[0]))
        cut_parameters.setdefault(first.index, []).append(parameter.name)
        others.setdefault(first.index, {}).update({cut.index: cut for cut in ranked[1:]})
    return [
        Severed(site, means, tuple(cut_parameters[index]), _apart(others[index], site))
        for index, (site, means) in sorted(sites.items(), key=lambda item: item[1][0].first_call_order)
    ]


def missing(measurements: Measurements) -> list[Parameter]:
    """Trainable parameters whose gradient is None; none of them where the loss could not even be computed."""
    if measurements.loss.error:
        return []
    return [parameter for parameter in measurements.parameters if parameter.status is GradientStatus.MISSING]


def without_way(paths: Paths) -> list[Parameter]:
    """Trainable parameters that no op severs: the loss does not depend on their value in this run."""
    measurements = paths.measurements
    cut = {name for severed in severed_paths(paths) for name in severed.parameters}
    cut.update(dropped_by_derivatives(paths))
    loose = [parameter for parameter in missing(measurements) if parameter.name not in cut]
    if measurements.loss.backward_error:  # then a gradient may be missing because the backward pass did not get there
        return [p for p in loose if not any(paths.reaches_loss(site) for site in paths.first_readers(p))]
    return loose


def dropped_by_derivatives(paths: Paths) -> tuple[str, ...]:
    """Trainable parameters without a gradient that a derivative which the loss reads depends on, and no op severs.

    Autograd drops what its formula for a derivative of a derivative multiplies by zero.
    """
    cut = {name for severed in severed_paths(paths) for name in severed.parameters}
    return tuple(
        parameter.name
        for parameter in missing(paths.measurements)
        if parameter.name not in cut
        and any(
            op_of(site).kind is Kind.DERIVATIVE and site.requires_grad and paths.reaches_loss(site)
            for site in paths.first_readers(parameter)
        )
    )


def is_disconnected(paths: Paths) -> bool:
    """Whether the loss has no gradient at all and no op of the model is to blame for it."""
    measurements = paths.measurements
    trainable = [parameter for parameter in measurements.parameters if parameter.requires_grad]
    if measurements.loss.error or measurements.loss.requires_grad or severed_paths(paths):
        return False
    ran = {site.index for site in measurements.sites if site.calls}
    if trainable and measurements.loss.kind == "model":  # of a loss within forward, a trace drops what it does not need
        return True
    return not measurements.parameters or any(ran.intersection(parameter.read_by) for parameter in trainable)


def means_of(site: Site) -> Means:
    """How an op that gives no gradient cuts."""
    op = op_of(site)
    if op.detaches:
        return Means.DETACH
    if op.kind is Kind.DERIVATIVE and site.grad_enabled:
        return Means.DERIVATIVE
    if not site.grad_enabled:
        return Means.NO_GRAD
    if op.rewraps or is_constant(site):
        return Means.REWRAPPED
    return Means.NON_DIFFERENTIABLE


def _start_of_region(paths: Paths, site: Site) -> Site:
    """The first op that depends on a trainable parameter in the `no_grad` region that ``site`` ran in."""
    trainable = {parameter.name for parameter in missing(paths.measurements)}
    start = site
    for earlier in sorted(paths.sites.values(), key=lambda other: other.first_call_order, reverse=True):
        if earlier.first_call_order >= site.first_call_order:
            continue
        if earlier.grad_enabled:
            break
        if trainable & earlier.reached_by and paths.reaches_loss(earlier):
            start = earlier
    return start


def _copied_constants(paths: Paths) -> list[tuple[Site, Site]]:
    """Constants that equal what parameters compute at a site the loss does not depend on (a trace of `.tolist()`)."""
    constants = [
        site for site in paths.sites.values() if is_constant(site) and site.activation and paths.reaches_loss(site)
    ]
    if not constants:
        return []
    dead_ends = [
        site for site in paths.sites.values() if site.activation and site.reached_by and not paths.reaches_loss(site)
    ]
    return [
        (constant, origin)
        for constant in constants
        for origin in dead_ends
        if constant.shape == origin.shape and _same(constant.activation, origin.activation)
    ]


def _same(one: Statistics | None, other: Statistics | None) -> bool:
    """Whether two tensors that are not constant have the same statistics to the last digit that a print keeps."""
    if one is None or other is None or one.min == one.max:
        return False
    pairs = ((one.mean, other.mean), (one.rms, other.rms), (one.min, other.min), (one.max, other.max))
    return all(abs(left - right) <= 1e-4 * one.rms for left, right in pairs)


def _apart(cuts: dict[int, Site], first: Site) -> tuple[Site, ...]:
    """Other cuts worth naming: not those in the same `no_grad` region as the first."""
    return tuple(cut for cut in cuts.values() if cut.index != first.index and (cut.grad_enabled or first.grad_enabled))
