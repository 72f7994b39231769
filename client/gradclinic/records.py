"""What the service answers, as plain records. What does not apply is None."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Record:
    """Base of all records."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON has it: times in ISO 8601, NaN and infinities as strings as in protobuf's JSON."""
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}  # type: ignore[arg-type]  # every subclass is a dataclass


def _plain(value: object) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class SourceLine(Record):
    """A line of the user's source code."""

    file: str  # as recorded in the archive
    line: int  # from 1
    text: str  # without indentation

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Location(Record):
    """Where something has to be changed."""

    module: str | None = None  # path as in named_modules(); "" is the root
    parameter: str | None = None  # name as in named_parameters()
    name: str | None = None  # `input:NAME`, `target`, `loss` or `optimizer`
    op: str | None = None  # for example `aten::relu`
    source: SourceLine | None = None


@dataclass(frozen=True, slots=True)
class Evidence(Record):
    """One measurement that supports a finding."""

    name: str  # in snake_case, for example `off_share`
    value: float  # in `unit`; may be NaN or infinite
    unit: str  # `1` for a ratio or share, `elements`, `samples`, `bytes`…
    threshold: float | None = None  # what the value was compared with, in `unit`
    text: str | None = None  # the measurement in words
    sample: int | None = None  # index in the batch of the sample that did it
    element: tuple[int, ...] | None = None  # index of the element within its tensor


@dataclass(frozen=True, slots=True)
class Proof(Record):
    """An intervention made on a copy of the program, and what it changed."""

    intervention: str  # what was changed, in words
    measure: str  # what was measured, for example `gradient_rms`
    before: float
    after: float
    confirmed: bool  # whether the change brought the gradient back


@dataclass(frozen=True, slots=True)
class Finding(Record):
    """One cause of trouble, with where it starts and why we think so."""

    code: str  # stable, for example `dead-relu`
    symptom: str  # section of the catalogue, for example `ZERO_GRADIENT`
    severity: str  # "INFO", "WARNING" or "CRITICAL"
    location: Location
    explanation: str
    evidence: tuple[Evidence, ...] = ()
    remedies: tuple[str, ...] = ()  # best first
    affected: tuple[str, ...] = ()  # parameters (or modules) that suffer from this cause
    proof: Proof | None = None  # None where no intervention was run
    sites: tuple[int, ...] = ()  # `Site.index` of the operations it stands at; empty where it stands at none


@dataclass(frozen=True, slots=True)
class MagnitudeHistogram(Record):
    """Counts of magnitudes: bucket i holds |x| in [2^(e+i), 2^(e+i+1)), e = lowest_exponent."""

    lowest_exponent: int
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Statistics(Record):
    """Statistics of one tensor; moments and extremes are of its finite elements."""

    element_count: int
    nonfinite_count: int
    zero_count: int
    mean: float
    rms: float
    min: float
    max: float
    histogram: MagnitudeHistogram | None = None


@dataclass(frozen=True, slots=True)
class Site(Record):
    """One observed operation of the program."""

    index: int  # forward order, from 0
    location: Location
    calls: int  # more than one inside a loop; 0: not reached
    shape: tuple[int, ...]  # of its output at the last call
    dtype: str  # for example `float32`
    requires_grad: bool
    activation: Statistics | None = None  # None: it did not run
    gradient: Statistics | None = None  # None: no gradient arrived
    flat_share: float | None = None  # elements in the flat region of the op, 0..1
    dead_unit_share: float | None = None  # units that are off for every sample, 0..1
    gradient_gain: float | None = None  # RMS of the incoming over RMS of the outgoing gradient
    gradient_rms_by_call: tuple[float, ...] = ()  # oldest first


@dataclass(frozen=True, slots=True)
class ParameterGradient(Record):
    """One parameter and its gradient."""

    name: str  # as in named_parameters()
    module: str  # path of the module that owns it
    shape: tuple[int, ...]
    dtype: str
    requires_grad: bool
    status: str  # "MISSING", "ZERO", "NON_FINITE", "FLOWING" or "FROZEN"
    weight: Statistics | None = None
    gradient: Statistics | None = None  # None: missing
    relative_gradient: float | None = None  # RMS of the gradient over RMS of the weight


@dataclass(frozen=True, slots=True)
class Unobserved(Record):
    """Something that was not seen, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Environment(Record):
    """Where and how a diagnosis was made."""

    device: str  # `cpu` or `cuda:N`, with the device's name where it has one
    torch_version: str
    gradclinic_version: str
    sandbox_level: str  # how strongly the executor was confined
    peak_memory_bytes: int
    peak_device_memory_bytes: int  # 0 on a CPU
    threads: int
    seconds_by_stage: Mapping[str, float] = field(default_factory=dict)  # wall time


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


@dataclass(frozen=True, slots=True)
class Diagnosis(Record):
    """A diagnosis: the request, how it goes, and its result."""

    id: str
    state: str  # "QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED" or "EXPIRED"
    verdict: str | None  # worst severity: "HEALTHY", "WARNING" or "CRITICAL"; None: no result (yet)
    findings: tuple[Finding, ...]  # worst first
    sites: tuple[Site, ...]  # gradient flow per operation, forward order
    parameters: tuple[ParameterGradient, ...]  # forward order of first use, unused ones last
    unobserved: tuple[Unobserved, ...]
    notes: tuple[str, ...]
    loss: float | None  # value; None where a random projection stood in
    environment: Environment | None
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
    tenant_max_stored_bytes: int
    tenant_max_queued: int
    tenant_max_running: int  # 0: as many as there are workers
    submissions_per_second: float  # in the long run; 0: any number, as in the next one
    tenant_submissions_per_second: float
    submission_burst_seconds: float  # how many seconds' worth may come at once after a pause


@dataclass(frozen=True, slots=True)
class Caller(Record):
    """Who you are to a server."""

    tenant: str  # whose diagnoses and artifacts you see; `default` where nobody is asked
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
