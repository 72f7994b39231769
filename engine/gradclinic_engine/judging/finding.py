"""One finding: a cause of trouble, where it starts, why we think so and what to do."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradclinic_engine.measurements import Culprit, Site, SourceLine


class Symptom(enum.Enum):
    """The section of the catalogue that a code stands in."""

    NO_GRADIENT = "no gradient"  # there is no path from the loss
    ZERO_GRADIENT = "zero gradient"  # a path exists, what flows is exactly zero
    VANISHING = "vanishing gradient"  # the gradient decays with depth
    EXPLODING = "exploding gradient"  # it grows with depth
    NON_FINITE = "non-finite values"  # NaN or infinity
    LOSS = "loss and target"
    DATA = "inputs"
    TRAINING = "training"  # seen only over steps
    MODE = "mode and structure"


class Severity(enum.IntEnum):
    """How bad a finding is."""

    INFO = 1  # unusual, intended or harmless
    WARNING = 2  # training works but is measurably impaired
    CRITICAL = 3  # some trainable parameter cannot learn, or training breaks


@dataclass(frozen=True, slots=True)
class Location:
    """Where something has to be changed. What does not apply is None."""

    module: str | None = None  # path as in named_modules(); "" is the root
    parameter: str | None = None
    name: str | None = None  # `input:NAME`, `target` or `loss`
    op: str | None = None  # for example `aten::relu`
    source: SourceLine | None = None

    @classmethod
    def of(cls, site: Site) -> Location:
        """The place of one operation."""
        if site.in_loss:
            return cls(name="loss", op=site.op, source=site.source)
        return cls(module=site.module, op=site.op, source=site.source)

    def __str__(self) -> str:
        """The place in words: `encoder.act (aten::relu)`."""
        place = self.name or self.parameter or (f"`{self.module}`" if self.module else "the root module")
        return f"{place} ({self.op})" if self.op else place


@dataclass(frozen=True, slots=True)
class Evidence:
    """One measurement that supports a finding."""

    name: str  # snake_case, for example "off_share"
    value: float  # in `unit`
    unit: str = "1"
    threshold: float | None = None  # what the value was compared with, in `unit`
    text: str = ""  # in words, for what a number cannot say
    sample: int | None = None  # index in the batch of the sample that did it
    element: tuple[int, ...] = ()  # index of the element within its tensor

    @classmethod
    def of(cls, culprit: Culprit, name: str, text: str = "") -> Evidence:
        """The element that did it; the first index is the sample where the tensor has a batch dimension."""
        sample = culprit.index[0] if culprit.index else None
        return cls(name, culprit.value, text=text, sample=sample, element=culprit.index)


@dataclass(frozen=True, slots=True)
class Proof:
    """An intervention made on a copy of the program, and what it changed."""

    intervention: str
    measure: str  # for example "gradient_rms"
    before: float
    after: float
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause of trouble."""

    code: str
    symptom: Symptom
    severity: Severity
    location: Location
    explanation: str  # one paragraph that a tired person can act on
    remedies: tuple[str, ...]  # best first
    evidence: tuple[Evidence, ...] = ()
    affected: tuple[str, ...] = ()  # parameters (or modules) that suffer from this cause
    proof: Proof | None = None
    # For the judgement, not reported:
    sites: tuple[int, ...] = ()  # indices of the sites it stands at
    decay_bits: Mapping[int, float] = field(default_factory=dict)  # log2 of the attenuation it describes, by site
