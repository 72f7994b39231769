"""What the service answers, as plain records. What does not apply is None."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradclinic_engine.measurements import GradientStatus, MagnitudeHistogram, Record, SourceLine, Statistics
from gradclinic_engine.records import (
    DiagnosisResult,
    Environment,
    Evidence,
    Finding,
    Location,
    ParameterGradient,
    Proof,
    Severity,
    Site,
    Symptom,
    Unobserved,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from matplotlib.figure import Figure

__all__ = [
    "Caller",
    "Diagnosis",
    "DiagnosisResult",
    "Environment",
    "Event",
    "Evidence",
    "Failure",
    "Finding",
    "GradientStatus",
    "Limits",
    "Location",
    "MagnitudeHistogram",
    "Page",
    "ParameterGradient",
    "Proof",
    "Record",
    "ServerInfo",
    "Severity",
    "Site",
    "SourceLine",
    "Spec",
    "Statistics",
    "Symptom",
    "Unobserved",
    "Usage",
    "Verdict",
    "Worker",
]


@dataclass(frozen=True, slots=True)
class Failure(Record):
    """Why there is no result."""

    reason: str  # for example `FORWARD_ERROR`
    message: str  # what was wrong, and what to do
    field: str = ""  # the field of the request that was wrong; may be empty
    trace: str = ""  # the TorchScript trace, where the model raised


@dataclass(frozen=True, slots=True)
class Spec(Record):
    """What was asked for."""

    model_sha256: str
    inputs_sha256: str
    target_sha256: str | None
    loss: str  # torch's functional name, `model`, `module` or `random_projection`
    loss_options: Mapping[str, Any]  # plain ones
    loss_sha256: str | None  # of a loss module
    optimizer: str | None
    optimizer_options: Mapping[str, Any]
    depth: str  # "QUICK", "STANDARD" or "THOROUGH"
    device: str  # `cpu`, `cuda`, or "": whatever worker is free
    labels: Mapping[str, str]
    run: str | None
    step: int | None
    output: str | None
    seed: int
    timeout_seconds: float | None
    priority: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis(DiagnosisResult):
    """A diagnosis: its result, the request, and how it goes."""

    id: str
    state: str  # "QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED" or "EXPIRED"
    failure: Failure | None
    spec: Spec
    stage: str | None  # while running, for example `BACKWARD`
    progress: float  # 0..1
    attempt: int  # how often it was started
    revision: int  # grows with every change
    reused: bool  # whether an identical earlier request was answered
    create_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    expire_time: datetime | None

    @property
    def finished(self) -> bool:
        """Whether the state is final."""
        return self.state not in ("QUEUED", "RUNNING")

    def plot(self) -> Figure:
        """The gradient flow as a matplotlib figure: magnitudes along depth, gains, dead and saturated shares.

        Raises:
            ExtraMissing: matplotlib is not installed (`pip install 'gradclinic[plot]'`).
        """
        from gradclinic.plot import plot  # noqa: PLC0415 - an optional extra

        return plot(self)

    def to_html(self) -> str:
        """The diagnosis as one HTML page that needs no network: findings, interactive gradient flow, tables."""
        from gradclinic.page.document import render  # noqa: PLC0415 - only needed here

        return render(self)


@dataclass(frozen=True, slots=True)
class Event(Record):
    """One change of a diagnosis."""

    revision: int
    state: str
    stage: str | None
    progress: float  # 0..1
    attempt: int
    time: datetime | None
    diagnosis: Diagnosis | None = None  # the whole diagnosis, in the last event only


@dataclass(frozen=True, slots=True)
class Page(Record):
    """A page of diagnoses, newest first, without sites and parameters."""

    diagnoses: tuple[Diagnosis, ...]
    next_page_token: str  # empty on the last page


@dataclass(frozen=True, slots=True)
class Limits(Record):
    """Limits of a server."""

    max_artifact_bytes: int
    max_chunk_bytes: int
    max_stored_bytes: int
    max_queued: int
    max_run_seconds: float
    max_queue_seconds: float
    diagnosis_retention_seconds: float
    artifact_retention_seconds: float
    max_concurrent_uploads: int  # in one API process, as the next one
    tenant_max_concurrent_uploads: int
    max_concurrent_rpcs: int  # in one API process, watches apart, as in the next three
    tenant_max_concurrent_rpcs: int
    max_concurrent_watches: int
    tenant_max_concurrent_watches: int
    tenant_max_stored_bytes: int
    tenant_max_queued: int
    tenant_max_running: int  # 0: as many as there are workers
    submissions_per_second: float  # in the long run; 0: any number, as in the next one
    tenant_submissions_per_second: float
    submission_burst_seconds: float  # how many seconds' worth may come at once after a pause


@dataclass(frozen=True, slots=True)
class Caller(Record):
    """Who you are to a server."""

    tenant: str  # whose diagnoses and artifacts you see; `default` without tokens
    role: str  # `read`, `submit` or `admin`


@dataclass(frozen=True, slots=True)
class Usage(Record):
    """What your tenant takes of its limits now."""

    queued: int
    running: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Worker(Record):
    """A live worker."""

    device: str  # `cpu` or `cuda:N`
    state: str  # `idle`, `busy` or `draining`
    version: str
    torch_version: str
    sandbox_level: str
    spare_executors: int


@dataclass(frozen=True, slots=True)
class ServerInfo(Record):
    """What a server is and can do."""

    version: str
    limits: Limits
    workers: tuple[Worker, ...]
    model_formats: tuple[str, ...]
    losses: tuple[str, ...]
    depths: tuple[str, ...]
    sandbox_level: str  # the weakest of the live workers; empty when there is none
    caller: Caller
    usage: Usage
