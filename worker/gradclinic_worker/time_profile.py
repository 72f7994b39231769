"""How the gradient's size changes from the last time step of a recurrent loop back to the first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from gradclinic_worker.op_kinds import plain
from gradclinic_worker.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_worker.measurements import Measurements, Site

# Fewer time steps than this show no trend.
FEWEST_CALLS = 8
LARGEST_STEP_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Recurrence:
    """An op that ran once per time step, and the gradient of its steps.

    Attributes:
        site: The op; of an unrolled loop its first copy.
        decay: Factors of two lost from the last time step back to the first; negative: gained.
        steps: Number of time steps.
        gated: Whether gates (sigmoids) run in the same loop, so that the cell can learn to keep its gradient.
    """

    site: Site
    decay: float
    steps: int
    gated: bool


def recurrences(measurements: Measurements) -> Iterator[Recurrence]:
    """The first weighted op of each recurrent loop along which the gradient changes steadily."""
    paths = Paths(measurements)
    seen: set[tuple[str, ...]] = set()
    for site, norms in [*_loops(paths), *_unrolled(paths)]:
        if site.parameters in seen or len(norms) < FEWEST_CALLS:
            continue
        decay = _steady_decay(norms)
        if decay:
            seen.add(site.parameters)
            yield Recurrence(site, decay, len(norms), _gated(paths, site))


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
    for site in sorted(paths.sites.values(), key=lambda site: site.first_call_order):
        if site.parameters and site.gradient and not site.is_view:
            copies.setdefault((plain(site.op), site.parameters), []).append(site)
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


def _gated(paths: Paths, site: Site) -> bool:
    return any(
        plain(other.op) == "aten::sigmoid" and other.module == site.module or plain(other.op).endswith(("lstm_cell", "gru_cell"))
        for other in paths.sites.values()
    )
