"""What a benchmark hands back: one record per number, with the aim it is held against."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Measured:
    """One number of one benchmark."""

    bench: str  # the benchmark's name, as `--only` takes it
    what: str  # what was measured, with the unit of ``value`` where it has one
    value: float
    at_least: float = -math.inf  # the aim, in the unit of ``value``
    at_most: float = math.inf
    details: dict[str, float] = field(default_factory=dict)  # the numbers behind it, unit in the name

    @property
    def aim(self) -> str:
        """The aim in words; empty where there is none."""
        low = f">= {self.at_least:g}" if math.isfinite(self.at_least) else ""
        high = f"<= {self.at_most:g}" if math.isfinite(self.at_most) else ""
        return " and ".join(part for part in (low, high) if part)

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None where there is none."""
        return self.at_least <= self.value <= self.at_most if self.aim else None


def median(values: Sequence[float]) -> float:
    """The median of at least one value."""
    return statistics.median(values)
