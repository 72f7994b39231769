"""What a watched diagnosis comes to: a result with the caller's notes, or the error that says why there is none."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from gradclinic.errors import DiagnosisCancelled, DiagnosisExpired, DiagnosisFailed

if TYPE_CHECKING:
    from gradclinic.records import Diagnosis, Event

_ERRORS = {"FAILED": DiagnosisFailed, "CANCELLED": DiagnosisCancelled, "EXPIRED": DiagnosisExpired}


def after(diagnosis: Diagnosis, event: Event) -> Diagnosis:
    """The diagnosis as it stands after an event."""
    if event.diagnosis is not None:
        return event.diagnosis
    return dataclasses.replace(
        diagnosis,
        state=event.state,
        stage=event.stage,
        progress=event.progress,
        attempt=event.attempt,
        revision=event.revision,
    )


def settled(diagnosis: Diagnosis, notes: tuple[str, ...]) -> Diagnosis:
    """The result of a finished diagnosis, with the caller's notes before the service's.

    Raises:
        NoResult: there is none; the subclass says why.
    """
    if diagnosis.state in _ERRORS:
        raise _ERRORS[diagnosis.state](diagnosis)
    return dataclasses.replace(diagnosis, notes=(*notes, *diagnosis.notes)) if notes else diagnosis
