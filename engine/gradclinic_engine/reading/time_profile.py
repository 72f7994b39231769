"""How the gradient's size changes from the last time step of a recurrent loop back to the first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Squash
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.reading.depth_profile import relative_gradient

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Parameter, Site
    from gradclinic_engine.reading.paths import Paths

# Fewer time steps than this show no trend.
FEWEST_CALLS = 8
LARGEST_STEP_SHARE = 0.5
# As for layers: below this share of the better weights' relative gradient an update is rounded away.
STARVED_BITS = 17.0
HOPELESS_BITS = 24.0
LEARNING = (GradientStatus.FLOWING, GradientStatus.ZERO)


@dataclass(frozen=True, slots=True)
class Recurrence:
    """An op that ran once per time step, and the gradient of its steps.

    Attributes:
        site: The op; of an unrolled loop its first copy.
        decay: Factors of two lost from the last time step back to the first; negative: gained.
        steps: Number of time steps.
        gated: Whether gates (sigmoids) run in the same loop, so that the cell can learn to keep its gradient.
        starved: Weights before the loop that learn only through its first step, and get next to nothing.
        starved_bits: By how many factors of two their relative gradient is below that of the loop's own weight.
    """

    site: Site
    decay: float
    steps: int
    gated: bool
    starved: tuple[Parameter, ...] = ()
    starved_bits: float = 0.0


def recurrences(paths: Paths) -> list[Recurrence]:
    """The first weighted op of each recurrent loop along which the gradient changes steadily."""
    return paths.once(_recurrences)


def _recurrences(paths: Paths) -> list[Recurrence]:
    seen: set[tuple[str, ...]] = set()
    found = []
    for site, norms in [*_loops(paths), *_unrolled(paths)]:
        if site.parameters in seen or len(norms) < FEWEST_CALLS:
            continue
        decay = _steady_decay(norms)
        if decay:
            seen.add(site.parameters)
            starved = _starved(paths, site)
            bits = min((lost for _, lost in starved), default=0.0)
            parameters = tuple(parameter for parameter, _ in starved)
            found.append(Recurrence(site, decay, len(norms), _gated(paths, site), parameters, bits))
    return found


def _loops(paths: Paths) -> list[tuple[Site, tuple[float, ...]]]:
    """Weighted sites that were called many times, with the gradient of each call, oldest first."""
    return [
        (site, site.gradient_rms_by_call)
        for site in paths.sites.values()
        if site.calls >= FEWEST_CALLS and site.parameters and len(site.gradient_rms_by_call) == site.calls
    ]


def _unrolled(paths: Paths) -> list[tuple[Site, tuple[float, ...]]]:
    """Sites of one op that read the same parameters, each of which feeds the next, as tracing leaves a loop."""
    copies: dict[tuple[str, tuple[str, ...]], list[Site]] = {}
    for site in paths.in_order:
        if site.parameters and site.gradient and not site.is_view:
            copies.setdefault((op_of(site).name, site.parameters), []).append(site)
    return [
        (sites[0], tuple(site.gradient.rms for site in sites if site.gradient))
        for sites in copies.values()
        if len(sites) >= FEWEST_CALLS and sites[-1].index in paths.downstream(sites[0])
    ]


def _steady_decay(norms: tuple[float, ...]) -> float:
    """Factors of two from the last step back to the first; 0 where the change is not spread over the steps."""
    first = next((step for step, norm in enumerate(norms) if norm > 0), len(norms))
    alive = [math.log2(norm) for norm in norms[first:] if norm > 0 and math.isfinite(norm)]
    if len(alive) < FEWEST_CALLS or len(alive) < len(norms) - first:
        return 0.0
    decay = alive[-1] - alive[0]
    steps = [(later - earlier) * (1 if decay > 0 else -1) for earlier, later in pairwise(alive)]
    spread = max(steps) <= LARGEST_STEP_SHARE * abs(decay) and median(steps) >= abs(decay) / (4 * len(steps))
    return decay if spread else 0.0


def _starved(paths: Paths, site: Site) -> list[tuple[Parameter, float]]:
    """Weights that feed the loop once, not at each step, with what their relative gradient is below the loop's own."""
    parameters = paths.parameters
    weights = [parameters[name] for name in site.parameters if len(parameters[name].shape) > 1]
    own = max((relative_gradient(weight) for weight in weights), default=0.0)
    arriving = site.gradient.rms if site.gradient else 0.0
    # What the weight would get if the loop's values had not shrunk as well.
    potential = max((arriving / weight.weight.rms for weight in weights if weight.weight.rms), default=0.0)
    before = paths.upstream(site)
    found = []
    for parameter in parameters.values():
        readers = paths.first_readers(parameter)
        single = readers and all(reader.index in before and reader.calls == 1 for reader in readers)
        if (
            parameter.status in LEARNING
            and len(parameter.shape) > 1
            and single
            and parameter.name not in site.parameters
        ):
            relative = relative_gradient(parameter)
            lost, worst = _bits(own, relative), _bits(potential, relative)
            if lost >= STARVED_BITS or worst >= HOPELESS_BITS:
                found.append((parameter, max(lost, worst)))
    return found


def _bits(more: float, less: float) -> float:
    """How many factors of two lie between them."""
    if not more:
        return 0.0
    return math.log2(more / less) if less else math.inf


def _gated(paths: Paths, site: Site) -> bool:
    return any(
        (op_of(other).squash is Squash.SIGMOID and other.module == site.module)
        or (op_of(other).is_cell and len(op_of(other).gates) > 1)
        for other in paths.sites.values()
    )
