"""One attempt at a diagnosis: what the worker that holds its fencing token may do."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store.counters import severity_label, stage_label
from gradclinic_store.record import MS_PER_SECOND, bounded, brief_of, milliseconds, split_result

if TYPE_CHECKING:
    from gradclinic_store.connection import Connection
    from gradclinic_store.queue import JobQueue

CODE_PATTERN = re.compile(r"[a-z][a-z0-9-]{0,63}")
OTHER_CODE = "other"  # a code that is no code must not become a metric's label


class Standing(enum.Enum):
    """Whether an attempt still counts."""

    ALIVE = "alive"  # go on
    CANCELLED = "cancelled"  # a caller cancelled the diagnosis: stop
    FENCED = "fenced"  # another attempt took over, or the diagnosis is over: stop, nothing you write will count


@dataclass(frozen=True, slots=True)
class Attempt:
    """The right to write one diagnosis, until another attempt gets it.

    Each write is a compare-and-set on ``token``: what a fenced-off attempt writes changes nothing.
    """

    diagnosis: diagnosis_pb2.Diagnosis
    token: int
    _connection: Connection
    _queue: JobQueue

    @property
    def number(self) -> int:
        """Which attempt this is, from 1."""
        return self.diagnosis.attempt

    def progress(self, stage: diagnosis_pb2.DiagnosisStage.ValueType, progress: float) -> bool:
        """Note the stage and how far the run is, 0..1; extends the lease. False: stop, see `renew`."""
        share = min(1.0, max(0.0, progress))
        lease_ms = milliseconds(self._connection.settings.lease_seconds)
        return bool(self._run("progress", int(stage), repr(share), lease_ms))

    def renew(self) -> Standing:
        """Extend the lease; call it at least three times per `lease_seconds`, and to learn of a cancellation."""
        lease_ms = milliseconds(self._connection.settings.lease_seconds)
        return Standing(self._run("renew", lease_ms).decode())

    def succeed(self, result: diagnosis_pb2.DiagnosisResult) -> bool:
        """Store the result and end the diagnosis; False when this attempt does not count any more."""
        summary, flow = split_result(result)
        findings: list[str] = []
        for finding in result.findings:
            code = finding.code if CODE_PATTERN.fullmatch(finding.code) else OTHER_CODE
            findings += [code, severity_label(finding.severity)]
        timings: list[str | float] = []
        for timing in result.environment.timings:
            timings += [stage_label(timing.stage), timing.duration.ToTimedelta().total_seconds() * MS_PER_SECOND]
        retention_ms = milliseconds(self._connection.settings.diagnosis_retention_seconds)
        parts = (summary, flow, brief_of(result))
        return bool(
            self._run("succeed", retention_ms, *parts, result.verdict, len(result.findings), *findings, *timings)
        )

    def fail(self, failure: diagnosis_pb2.Failure) -> bool:
        """End the diagnosis without a result; False when this attempt does not count any more."""
        settings = self._connection.settings
        crashed = failure.reason == diagnosis_pb2.FAILURE_REASON_EXECUTOR_CRASHED
        quarantine_ms = round(settings.quarantine_seconds * MS_PER_SECOND) if crashed else 0
        retention_ms = milliseconds(settings.diagnosis_retention_seconds)
        return bool(self._run("fail", retention_ms, bounded(failure).SerializeToString(), quarantine_ms))

    def give_back(self) -> bool:
        """Queue the diagnosis again for another worker (this one drains); False when it is not ours any more."""
        queue = self._run("give_back")
        if queue is None:
            return False
        self._queue.call(queue.decode())
        return True

    def _run(self, script: str, *arguments: str | bytes | float) -> Any:
        return self._connection.run(script, self.diagnosis.id, self.token, *arguments)
