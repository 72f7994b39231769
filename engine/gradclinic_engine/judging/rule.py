"""What a rule is: a code of the catalogue, its page, and the function that finds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradclinic_engine.records import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gradclinic_engine.reading.paths import Paths
    from gradclinic_engine.records import Location, Severity, Symptom


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; it sees plain measurements only and keeps no state."""

    code: str  # stable: clients, alerts and dashboards match on it
    symptom: Symptom
    page: str  # the user's documentation; the first line is a summary
    check: Callable[[Paths], Iterable[Finding]]

    @property
    def summary(self) -> str:
        """The first sentence of the page."""
        return self.page.strip().splitlines()[0]

    def finding(
        self, severity: Severity, location: Location, explanation: str, remedies: tuple[str, ...], **more: Any
    ) -> Finding:
        """A finding of this rule; ``more`` are further fields of `Finding`."""
        return Finding(self.code, self.symptom, severity, location, explanation, remedies, **more)
