"""Totals of the whole deployment: the transitions' scripts add them up in Redis, a scrape reads them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gradclinic.v1 import diagnosis_pb2, finding_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradclinic_store.connection import Connection

COUNTERS_KEY = "gradclinic:counters"
STORED_KEY = "gradclinic:stored_bytes"
IN_FLIGHT_KEYS = (  # what waits in each queue, what runs
    "gradclinic:waiting:gradclinic:cpu",
    "gradclinic:waiting:gradclinic:cuda",
    "gradclinic:leases",
)

# Upper edges of all histograms, in seconds; prelude.lua has the same in milliseconds.
EDGES_SECONDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    *(30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0),
)
OUTCOMES = ("succeeded", "failed", "cancelled", "expired")


@dataclass(slots=True)
class Histogram:
    """Durations, counted by upper edge."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(EDGES_SECONDS) + 1))
    """Not cumulative; one per edge of `EDGES_SECONDS`, and the last for what lies above."""
    sum_seconds: float = 0.0

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return sum(self.buckets)


@dataclass(slots=True)
class Totals:
    """Everything counted since the store was empty, read in one consistent step."""

    submitted: int = 0
    deduplicated: int = 0  # creates that were answered with a diagnosis that was there already
    completed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    in_flight: int = 0  # queued or running now
    attempts: int = 0
    lost: int = 0  # attempts whose worker did not renew
    findings: dict[tuple[str, str], int] = field(default_factory=dict)  # by code and severity
    queue_wait: Histogram = field(default_factory=Histogram)
    run: Histogram = field(default_factory=Histogram)
    stages: dict[str, Histogram] = field(default_factory=dict)
    stored_bytes: int = 0  # now, uploads in progress at their declared size
    upload_bytes: int = 0
    evictions: int = 0  # artifacts dropped before their time to make room


class Counters:
    """Reads the totals."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self) -> Totals:
        """Return the totals as of now; changes nothing."""
        with self._connection.translated(), self._connection.client.pipeline(transaction=True) as pipeline:
            pipeline.hgetall(COUNTERS_KEY)
            pipeline.get(STORED_KEY)
            for key in IN_FLIGHT_KEYS:
                pipeline.zcard(key)
            fields, stored, *in_flight = pipeline.execute()
        totals = _totals({name.decode(): value.decode() for name, value in fields.items()})
        totals.stored_bytes = int(stored or 0)
        totals.in_flight = sum(in_flight)
        return totals


def severity_label(severity: finding_pb2.Severity.ValueType) -> str:
    """Return the severity as a metric's label, for example `warning`."""
    if severity not in finding_pb2.Severity.values():
        return "unspecified"
    return finding_pb2.Severity.Name(severity).removeprefix("SEVERITY_").lower()


def stage_label(stage: diagnosis_pb2.DiagnosisStage.ValueType) -> str:
    """Return the stage as a metric's label, for example `forward`."""
    if stage not in diagnosis_pb2.DiagnosisStage.values():
        return "unspecified"
    return diagnosis_pb2.DiagnosisStage.Name(stage).removeprefix("DIAGNOSIS_STAGE_").lower()


def _totals(fields: Mapping[str, str]) -> Totals:
    totals = Totals()
    stages: defaultdict[str, Histogram] = defaultdict(Histogram)
    for name, value in fields.items():
        match name.split(":"):
            case [("submitted" | "deduplicated" | "attempts" | "lost" | "upload_bytes" | "evictions") as total]:
                setattr(totals, total, int(value))
            case ["completed", outcome]:
                totals.completed[outcome] = int(value)
            case ["findings", severity, code]:
                totals.findings[code, severity] = int(value)
            case ["wait", part]:
                _add(totals.queue_wait, part, value)
            case ["run", part]:
                _add(totals.run, part, value)
            case ["stage", stage, part]:
                _add(stages[stage], part, value)
    totals.stages = dict(stages)
    return totals


def _add(histogram: Histogram, part: str, value: str) -> None:
    if part == "sum_ms":
        histogram.sum_seconds = float(value) / 1000
    elif part == "inf":
        histogram.buckets[-1] = int(value)
    else:
        histogram.buckets[EDGES_SECONDS.index(int(part) / 1000)] = int(value)
