"""What callers were promised and shown in one scene, and every promise that was broken."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from gradclinic.v1 import diagnosis_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

FINAL_STATES = frozenset(
    {
        diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED,
        diagnosis_pb2.DIAGNOSIS_STATE_FAILED,
        diagnosis_pb2.DIAGNOSIS_STATE_CANCELLED,
        diagnosis_pb2.DIAGNOSIS_STATE_EXPIRED,
    }
)


class Broken(StrEnum):
    """The promises."""

    LOST = "lost"  # an accepted diagnosis is not found, does not end, or ends by no fault of its model
    TWICE = "shown twice"  # one request made two diagnoses, or a final answer changed
    ESCAPED = "escapes"  # a process, a key or bytes were left behind, or a model got out
    UNBALANCED = "unbalanced"  # submitted is not completed + in flight
    UNCLEAR = "unclear"  # a caller was told something that it cannot act on
    LATE = "late"  # what was lost came back, but not within its time


@dataclass(frozen=True, slots=True)
class Breach:
    """One promise that was broken."""

    promise: Broken
    scene: str
    what: str


_LOCK = threading.Lock()


@dataclass(slots=True)
class Ledger:
    """Kept by one scene; callers of several threads may write it."""

    scene: str
    accepted: dict[str, str] = field(default_factory=dict)  # diagnosis id -> request id
    shown: dict[str, bytes] = field(default_factory=dict)  # diagnosis id -> its final answer, as first read
    statuses: Counter[str] = field(default_factory=Counter)  # what calls ended with, but for OK
    faults: Counter[str] = field(default_factory=Counter)  # what was done, by name
    refused: int = 0  # requests turned away for good, with a reason
    breaches: list[Breach] = field(default_factory=list)
    details: dict[str, float] = field(default_factory=dict)  # what was measured on the way
    doing: str = ""  # the fault that is being injected

    def broke(self, promise: Broken, what: str) -> None:
        """Note a breach."""
        with _LOCK:
            self.breaches.append(Breach(promise, self.scene, f"{self.doing}: {what}"))

    def note(self, status: str) -> None:
        """Note what a call ended with."""
        with _LOCK:
            self.statuses[status] += 1

    def accept(self, diagnosis_id: str, request_id: str) -> None:
        """Note that a request was accepted."""
        with _LOCK:
            known = self.accepted.setdefault(diagnosis_id, request_id)
        if known != request_id:
            self.broke(Broken.TWICE, f"{diagnosis_id} answers two requests")

    def show(self, diagnosis: diagnosis_pb2.Diagnosis) -> None:
        """Note a final answer; a later one must be the same."""
        answer = diagnosis.SerializeToString(deterministic=True)
        with _LOCK:
            first = self.shown.setdefault(diagnosis.id, answer)
        if first != answer:
            self.broke(Broken.TWICE, f"the final answer of {diagnosis.id} changed")

    def open(self) -> list[str]:
        """Return the ids of which no final answer was shown yet."""
        with _LOCK:
            return [diagnosis_id for diagnosis_id in self.accepted if diagnosis_id not in self.shown]

    def broken(self, promises: Iterable[Broken]) -> int:
        """Return how often one of some promises was broken."""
        wanted = set(promises)
        return sum(1 for breach in self.breaches if breach.promise in wanted)
