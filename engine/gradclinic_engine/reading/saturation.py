"""How much of a bounded activation lies in its flat region, and from where on that is too much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradclinic_engine.graph.site_ops import acting_op, off_margin, op_of
from gradclinic_engine.reading.chance import may_be_chance

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

_MOST_OF_SMOOTH, _MOST_WITH_CORNERS = 0.5, 0.75
# Half of a rectifier's values are flat at the best of times.
_MOST_OF_RECTIFIERS = 0.9
# What remembers over many steps is held open (or shut) on purpose for some of the units.
_MOST_OF_GATES = {"input gate": 0.9, "forget gate": 0.9, "reset gate": 0.9, "update gate": 0.9}


@dataclass(frozen=True, slots=True)
class Saturation:
    """An activation, or a gate that an operator hides, whose flat share is above its limit.

    Attributes:
        flat: Share of its values that lie in the flat region, 0..1.
        limit: From where on that is reported.
        gate: Name of the gate; "" for an activation that is an operation of its own.
    """

    flat: float
    limit: float
    gate: str = ""


def saturation(paths: Paths, site: Site) -> Saturation | None:
    """The saturation of a site; None where it has none worth telling."""
    gates = [
        Saturation(gate.flat_share, _MOST_OF_GATES.get(gate.name, _MOST_OF_SMOOTH), gate.name) for gate in site.gates
    ]
    if gates:
        found = max(gates, key=lambda each: each.flat - each.limit)
        return found if found.flat >= found.limit else None
    if acting_op(site).steepest_slope is None or site.flat_share is None or site.flat_share < _limit(site):
        return None
    if site.dead_unit_share and may_be_chance(paths, site, site.dead_unit_share):
        return None
    return Saturation(site.flat_share, _limit(site))


def _limit(site: Site) -> float:
    if not op_of(site).has_corners:
        return _MOST_OF_SMOOTH
    return _MOST_OF_RECTIFIERS if off_margin(site) == 0 else _MOST_WITH_CORNERS
