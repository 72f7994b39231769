"""Whether a healthy layer with few units could be off for a whole small batch by bad luck."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.measurements import GradientStatus

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

# Each unit of a freshly initialised layer may be off for all of a few similar samples, as a coin may fall.
UNLIKELY = 1e-3
# No initialisation puts all inputs of a layer that far to one side.
FAR_DEVIATIONS = 10.0


def may_be_chance(paths: Paths, site: Site, off: float) -> bool:
    """Whether luck may have switched off the share ``off`` of a rectifier's units, without harm to the rest.

    Not where the share is too large for that many units, where the inputs lie too far below zero, or where most
    of the parameters before it get exactly zero because of it: then it is a fault, whatever its cause.
    """
    units = site.unit_count or (site.shape[-1] if site.shape else 1)
    least = math.ceil(off * units - 1e-9)
    if sum(math.comb(units, count) for count in range(least, units + 1)) / 2**units < UNLIKELY:
        return False
    before = next((operand.activation for operand in paths.operands(site) if operand.activation), None)
    if before and units > 1:
        deviation = math.sqrt(max(before.rms**2 - before.mean**2, 0.0))
        if before.max < -FAR_DEVIATIONS * deviation:
            return False
    still = len(paths.parameters_before(site, GradientStatus.ZERO))
    return still <= len(paths.parameters_before(site, GradientStatus.FLOWING))
