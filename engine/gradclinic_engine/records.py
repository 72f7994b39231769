"""What a diagnosis says, as plain records without torch: used by the engine, the worker and the client alike."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gradclinic_engine.measurements import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradclinic_engine import measurements
    from gradclinic_engine.measurements import Culprit, GradientStatus, SourceLine, Statistics


class Symptom(enum.StrEnum):
    """The section of the catalogue that a code stands in."""

    NO_GRADIENT = "NO_GRADIENT"  # there is no path from the loss
    ZERO_GRADIENT = "ZERO_GRADIENT"  # a path exists, what flows is exactly zero
    VANISHING = "VANISHING"  # the gradient decays with depth
    EXPLODING = "EXPLODING"  # it grows with depth
    NON_FINITE = "NON_FINITE"  # NaN or infinity
    LOSS = "LOSS"  # loss and target
    DATA = "DATA"  # inputs
    TRAINING = "TRAINING"  # seen only over steps
    MODE = "MODE"  # mode and structure

    @property
    def heading(self) -> str:
        """The section's heading, for people."""
        return _HEADINGS[self]


_HEADINGS = {
    Symptom.NO_GRADIENT: "No gradient",
    Symptom.ZERO_GRADIENT: "Zero gradient",
    Symptom.VANISHING: "Vanishing gradient",
    Symptom.EXPLODING: "Exploding gradient",
    Symptom.NON_FINITE: "Non-finite values",
    Symptom.LOSS: "Loss and target",
    Symptom.DATA: "Inputs",
    Symptom.TRAINING: "Training",
    Symptom.MODE: "Mode and structure",
}


class Severity(enum.StrEnum):
    """How bad a finding is; INFO < WARNING < CRITICAL."""

    INFO = "INFO"  # unusual, intended or harmless
    WARNING = "WARNING"  # training works but is measurably impaired
    CRITICAL = "CRITICAL"  # some trainable parameter cannot learn, or training breaks

    @property
    def rank(self) -> int:
        """0 for INFO, 2 for CRITICAL."""
        return list(Severity).index(self)

    def __lt__(self, other: str) -> bool:
        return self.rank < Severity(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Severity(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Severity(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Severity(other).rank


class Verdict(enum.StrEnum):
    """The worst severity of a diagnosis."""

    HEALTHY = "HEALTHY"  # nothing above INFO
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"

    @classmethod
    def of(cls, findings: tuple[Finding, ...]) -> Verdict:
        """The verdict that these findings give."""
        worst = max((finding.severity for finding in findings), default=Severity.INFO)
        return cls.HEALTHY if worst is Severity.INFO else cls(worst.value)


@dataclass(frozen=True, slots=True)
class Location(Record):
    """Where something has to be changed. What does not apply is None."""

    module: str | None = None  # path as in named_modules(); "" is the root
    parameter: str | None = None  # name as in named_parameters()
    name: str | None = None  # `input:NAME`, `target` or `loss`
    op: str | None = None  # for example `aten::relu`
    source: SourceLine | None = None

    @classmethod
    def of(cls, site: measurements.Site) -> Location:
        """The place of one operation."""
        if site.in_loss:
            return cls(name="loss", op=site.op, source=site.source)
        return cls(module=site.module, op=site.op, source=site.source)

    def __str__(self) -> str:
        """The place in words: `encoder.act (aten::relu)`."""
        place = self.name or self.parameter or (f"`{self.module}`" if self.module else "the root module")
        return f"{place} ({self.op})" if self.op else place


@dataclass(frozen=True, slots=True)
class Evidence(Record):
    """One measurement that supports a finding."""

    name: str  # in snake_case, for example `off_share`
    value: float  # in `unit`; may be NaN or infinite
    unit: str = "1"  # `1` for a ratio or share, `elements`, `samples`, `bytes`…
    threshold: float | None = None  # what the value was compared with, in `unit`
    text: str | None = None  # in words, for what a number cannot say
    sample: int | None = None  # index in the batch of the sample that did it
    element: tuple[int, ...] | None = None  # index of the element within its tensor

    @classmethod
    def of(cls, culprit: Culprit, name: str, text: str | None = None) -> Evidence:
        """The element that did it; the first index is the sample where the tensor has a batch dimension."""
        sample = culprit.index[0] if culprit.index else None
        return cls(name, culprit.value, text=text, sample=sample, element=culprit.index or None)


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
    symptom: Symptom
    severity: Severity
    location: Location
    explanation: str  # one paragraph that a tired person can act on
    remedies: tuple[str, ...] = ()  # best first
    evidence: tuple[Evidence, ...] = ()
    affected: tuple[str, ...] = ()  # parameters (or modules) that suffer from this cause
    proof: Proof | None = None  # None where no intervention was run
    sites: tuple[int, ...] = ()  # `Site.index` of the operations it stands at; empty where it stands at none


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
    gradient_gain: float | None = None  # RMS of the gradient handed on to the operand over RMS of the one that arrives
    gradient_rms_by_call: tuple[float, ...] = ()  # oldest first


@dataclass(frozen=True, slots=True)
class ParameterGradient(Record):
    """One parameter and its gradient."""

    name: str  # as in named_parameters()
    module: str  # path of the module that owns it
    shape: tuple[int, ...]
    dtype: str
    requires_grad: bool
    status: GradientStatus
    weight: Statistics | None = None
    gradient: Statistics | None = None  # None: missing
    relative_gradient: float | None = None  # RMS of the gradient over RMS of the weight


@dataclass(frozen=True, slots=True)
class Unobserved(Record):
    """Something that was not seen, and why."""

    what: str  # a module path, an op kind, or a part of the diagnosis
    reason: str


@dataclass(frozen=True, slots=True)
class Environment(Record):
    """Where and how a diagnosis was made."""

    device: str  # `cpu` or `cuda:N`, with the device's name where it has one
    torch_version: str
    gradclinic_version: str
    sandbox_level: str = ""  # how strongly the executor was confined
    peak_memory_bytes: int = 0
    peak_device_memory_bytes: int = 0  # 0 on a CPU
    threads: int = 0
    seconds_by_stage: Mapping[str, float] = field(default_factory=dict)  # wall time


@dataclass(frozen=True, slots=True)
class DiagnosisResult(Record):
    """What a diagnosis found."""

    verdict: Verdict | None = None  # worst severity; None: no result (yet)
    findings: tuple[Finding, ...] = ()  # worst first
    sites: tuple[Site, ...] = ()  # gradient flow per operation, forward order
    parameters: tuple[ParameterGradient, ...] = ()  # forward order of first use, unused ones last
    unobserved: tuple[Unobserved, ...] = ()
    notes: tuple[str, ...] = ()
    loss: float | None = None  # value; None where a random projection was used instead
    environment: Environment | None = None
