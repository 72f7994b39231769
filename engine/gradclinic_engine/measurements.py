"""What one observed run measured: plain records without tensors, the only thing that rules see."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet


class Record:
    """Base of the records that are handed to users."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON has it: times in ISO 8601, NaN and infinities as strings as in protobuf's JSON."""
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}  # type: ignore[arg-type]  # every subclass is a dataclass


def _plain(value: object) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, (datetime, enum.StrEnum)):
        return value.isoformat() if isinstance(value, datetime) else str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


class GradientStatus(enum.StrEnum):
    """What became of a parameter's gradient."""

    MISSING = "MISSING"  # the gradient is None: no path from the loss
    ZERO = "ZERO"  # every element is exactly zero
    NON_FINITE = "NON_FINITE"  # some element is NaN or infinite
    FLOWING = "FLOWING"  # finite, some element is not zero
    FROZEN = "FROZEN"  # requires_grad is False


@dataclass(frozen=True, slots=True)
class SourceLine(Record):
    """A line of the user's source, as the archive holds it."""

    file: str
    line: int  # from 1
    text: str  # without indentation

    def __str__(self) -> str:
        """The place: `model.py:12`."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class MagnitudeHistogram(Record):
    """Counts of magnitudes: bucket i holds |x| in [2^(e+i), 2^(e+i+1)), e = lowest_exponent."""

    lowest_exponent: int
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Statistics(Record):
    """Statistics of all elements that passed one place.

    Moments and extremes are of the finite elements; NaN where there are none. `zero_count` is exact for tensors of at
    most 16,384 elements and on an accelerator. For a larger tensor on a CPU it is an estimate: zeros are counted where
    an evenly strided sample of about 1,024 elements holds one, otherwise 0 is reported.
    """

    element_count: int
    nonfinite_count: int
    zero_count: int
    mean: float
    rms: float
    min: float
    max: float
    histogram: MagnitudeHistogram | None = None  # of an evenly strided sample; None: it was not made

    @property
    def zero_share(self) -> float:
        """Share of elements that are exactly zero, 0..1; 0 for an empty tensor."""
        return self.zero_count / self.element_count if self.element_count else 0.0


@dataclass(frozen=True, slots=True)
class Culprit:
    """The element that did something, for example the first NaN and what it was computed from."""

    index: tuple[int, ...]  # in the tensor; the first number is the sample where the tensor has a batch dimension
    value: float  # the value there, NaN or infinite
    operand_values: tuple[float, ...] = ()  # the operands' values at that index, where they have that shape


@dataclass(frozen=True, slots=True)
class NormFit:
    """What a BatchNorm in eval mode gives, against what it gives where its statistics fit: medians over channels."""

    spread: float  # deviation of a channel's output over its weight; 1 where they fit
    offset: float  # distance of a channel's mean from its bias over its weight; 0 where they fit


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate inside an operator that hides it (LSTM, GRU, GLU), computed anew on a sample."""

    name: str  # in words, for example "forget gate"
    flat_share: float  # share of its values in the flat region, 0..1: of the layer and direction where it is largest


@dataclass(frozen=True, slots=True)
class Site:
    """One tensor-producing operation of the program, and what was seen there.

    The static half is known from the graph; the measured half is at its
    default where the site did not run.
    """

    index: int  # forward (program) order, from 0
    op: str  # for example `aten::relu`; a `prim::Constant` tensor is a site too
    module: str  # path as in named_modules(); "" is the root
    source: SourceLine | None
    operands: tuple[int, ...]  # sites whose values this op reads, also through containers, views and in-place writes
    parameters: tuple[str, ...]  # parameters that this op reads directly
    buffers: tuple[str, ...]  # buffers that it reads directly
    inputs: tuple[str, ...]  # model inputs that it reads directly
    reached_by: AbstractSet[str]  # parameters whose value this value depends on, directly or not
    constants: dict[str, object] = field(
        default_factory=dict
    )  # constant arguments by schema name (int, float, bool, str, None, or a tuple of them)
    output: int = 0  # which output of its operation this is, for an op with several (LSTM, max with indices)
    in_loss: bool = False  # an operation of the loss module that was sent, not of the model
    # What each argument of the op holds, by position: sites and `input:NAME`, `parameter:NAME`, `buffer:NAME`.
    arguments: tuple[tuple[int | str, ...], ...] = ()
    acts_as: str = (
        ""  # the operator that it amounts to with those before it, for example `aten::softsign` of a division
    )

    # measured, forward
    calls: int = 0
    first_call_order: int = -1  # execution order of the first call among all calls of all sites
    shape: tuple[int, ...] = ()
    dtype: str = ""  # for example "float32"
    is_view: bool = False  # a view or alias of an operand: no statistics of its own
    requires_grad: bool = False  # at any call
    grad_enabled: bool = True  # False: it ran inside a no_grad region
    reaches_loss: bool = False  # static: the loss depends on this value (ignoring differentiability)
    activation: Statistics | None = None
    flat_share: float | None = None  # share of elements in the flat region of a saturating op, 0..1
    dead_unit_share: float | None = None  # share of units (channels, features) off for every sample, 0..1
    unit_count: int | None = None
    softness: float | None = None  # fused attention: mean of 1 - sum of squared weights over sampled queries, 0..1
    gates: tuple[Gate, ...] = ()
    nonfinite_order: int = -1  # execution order of the first non-finite output, -1: none
    culprit: Culprit | None = None  # that first non-finite element
    operands_finite: bool = True  # whether all that this op read was finite when it first gave a non-finite value

    # measured, backward
    gradient: Statistics | None = (
        None  # of the gradient that arrives at this value, summed over uses; None: nothing arrived
    )
    gradient_order: int = -1  # order of arrival in the backward pass, from 0
    gradient_rms_by_call: tuple[float, ...] = ()  # oldest call first
    gradient_culprit: Culprit | None = None  # first non-finite gradient element
    norm_fit: NormFit | None = None  # of a BatchNorm in eval mode
    # Where an op multiplied it enormously: its largest element, and this site's own value there as operand_values.
    gradient_peak: Culprit | None = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter and its gradient."""

    name: str  # as in named_parameters()
    module: str
    shape: tuple[int, ...]
    dtype: str
    requires_grad: bool
    status: GradientStatus
    weight: Statistics
    gradient: Statistics | None  # None: missing
    read_by: tuple[int, ...]  # sites that read it directly; empty: forward does not touch it
    # Share of (sampled) units that have a twin with equal weights and an equal gradient that is not zero, 0..1:
    twin_rows: float = 0.0  # units along the first dimension
    twin_columns: float = 0.0  # along the second
    aliases: tuple[str, ...] = ()  # further names of the same (tied) parameter


@dataclass(frozen=True, slots=True)
class Variation:
    """How an input differs between samples (its first dimension); of a large one an evenly strided part was seen.

    A feature is one place of a sample, such as one pixel of one channel.
    """

    samples: int  # looked at
    features: int  # looked at
    distinct_samples: int
    constant_share: float  # share of features that are the same for all samples, 0..1
    constant_nonzero_share: float  # share of features that are the same and not zero, 0..1
    varying_zero_share: float  # share of zeros among the features that vary, 0..1
    distinct_values: int  # 65 stands for more than 64
    offset: float  # median of |mean| / standard deviation over the features that vary


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input, target or buffer."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    statistics: Statistics
    culprit: Culprit | None = None  # first non-finite element
    variation: Variation | None = None  # of inputs with several samples


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a loss function got as the prediction; of a large one an evenly strided part was looked at."""

    given_by: tuple[int | str, ...]  # sites that gave it, or `input:NAME`, `parameter:NAME`...
    shape: tuple[int, ...]
    dtype: str
    min: float  # of the finite elements, NaN where there are none
    max: float
    nonfinite: int
    # Dimensions along which its elements are at least 0 and sum to 1, and along which their exponentials do.
    probability_dims: tuple[int, ...] = ()
    log_probability_dims: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """What a loss function got as (one of) its target(s)."""

    name: str  # of the loss function's argument
    given_by: tuple[int | str, ...]  # sites that gave it, `target:NAME` or `input:NAME`
    shape: tuple[int, ...]
    dtype: str
    min: float  # of the finite elements that are not ignored, NaN where there are none
    max: float
    nonfinite: int = 0
    ignored: int = 0  # elements equal to `ignore_index`
    counts: tuple[tuple[int, int], ...] = ()  # whole numbers only: the commonest values and how often, not ignored
    deciles: tuple[float, ...] = ()  # 11 of them, of an evenly strided sample
    samples_alike: bool = False  # there are several samples (first dimension), and all are exactly the same
    lowest: Culprit | None = None  # the first smallest element
    highest: Culprit | None = None  # the first largest element


@dataclass(frozen=True, slots=True)
class LossTerm:
    """One call of a loss function that torch knows: the request's own, or an operator within the model."""

    name: str  # in torch.nn.functional
    site: int  # the operator's site; -1: the request's loss
    options: dict[str, object]
    prediction: Prediction
    targets: tuple[Target, ...]
    residual_rms: float | None = None  # of prediction - target, for losses that compare elements of equal shape
    weight_is_zero: bool = False  # it got a `weight` that is all zero
    error: str = ""  # what it raised, if it did


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of the run."""

    kind: str  # "functional", "module", "model" or "random_projection"
    name: str  # torch.nn.functional's name, "" unless functional
    options: dict[str, object]
    value: float  # NaN where it could not be computed
    requires_grad: bool
    outputs: tuple[int, ...]  # sites whose values the loss (or the projection) reads
    error: str = ""  # what the loss raised, if it did
    backward_error: str = ""  # what the backward pass raised, if it did


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the model."""

    path: str
    kind: str  # original class name, for example "Linear"
    training: bool
    parameters: tuple[str, ...]  # names of the parameters it owns itself


@dataclass(frozen=True, slots=True)
class SampleLeak:
    """One sample of the batch was changed, with all randomness and normalisation fixed, and others' outputs changed."""

    site: int  # the first in execution order in whose value the samples have no place of their own
    changed: int  # index of the sample that was changed
    affected: tuple[int, ...]  # samples whose outputs changed with it
    share: float  # the largest of their changes, as a share of the largest change
    input_dimensions: int  # of the inputs that have an entry for each sample
    is_sure: bool  # target and output say that the first dimension counts the samples
    reshape: int | None = None  # the site right before it that took the samples off the first dimension


@dataclass(frozen=True, slots=True)
class ExecutorDifference:
    """A parameter whose gradient is another with TorchScript's optimising executor."""

    parameter: str
    plain: GradientStatus
    optimised: GradientStatus


@dataclass(frozen=True, slots=True)
class Measurements:
    """All that one run measured."""

    sites: tuple[Site, ...]
    parameters: tuple[Parameter, ...]
    buffers: tuple[Tensor, ...]
    inputs: tuple[Tensor, ...]
    target: tuple[Tensor, ...]
    loss: Loss
    modules: tuple[Module, ...]
    terms: tuple[LossTerm, ...] = ()  # the loss functions that were called, in order
    leak: SampleLeak | None = None  # of a further run
    executor_differences: tuple[ExecutorDifference, ...] = ()  # of a further run
    # The same with the operations of the loss module behind those of the model; None where the loss is no module.
    with_loss: Measurements | None = None
    seen_samples: int = 0  # samples that were compared with each other, in all inputs that have one entry for each
    distinct_samples: int = 0  # different ones among them
    unobserved: tuple[tuple[str, str], ...] = ()  # what, why
    notes: tuple[str, ...] = ()


def batch_size_of(inputs: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> int:
    """How many samples the batch has, from the shapes of inputs and targets; 0 where that is not clear."""
    sizes = Counter(shape[0] for shape in inputs if shape)
    target = next((shape[0] for shape in targets if shape), 0)
    if target and any(target in shape for shape in inputs):
        return target
    return sizes.most_common(1)[0][0] if sizes else 0
