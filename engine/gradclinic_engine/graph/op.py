"""What is said of an operator: the fields of one row of the operator table."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping  # noqa: TC003 - a field of a dataclass
from dataclasses import dataclass


class Kind(enum.Enum):
    """What an operator does with its operands; each has exactly one."""

    UNKNOWN = "has no row in the table"
    # numbers
    QUERY = "asks for shape, dtype, device, identity or membership, or prints: gives no value that is followed"
    NUMBER = "makes a Python number (or a list of them) of a tensor, or the other way round"
    # new values
    CREATION = "makes a new value of numbers"
    SAMPLING = "draws random numbers"
    # the same numbers in another arrangement
    RESHAPING = "the same elements in another shape"
    PERMUTATION = "the same elements with other dimensions first"
    UNIT_DIMENSION = "the same elements with a dimension of one more or less"
    EXPANSION = "repeats elements along dimensions"
    CAST = "the same elements in another dtype or on another device"
    COPY = "the same elements"
    PART = "elements at places that do not depend on values"
    LOOKUP = "elements at places that indices, a mask or their size choose"
    JOINING = "several values one beside the other"
    REPLACING = "puts something else in the place of some elements"
    # element by element
    ARITHMETIC = "sums, products, powers"
    FUNCTION = "a function of each element"
    ACTIVATION = "a function of each element, made for networks"
    LIMIT = "cuts off what lies beyond a bound"
    ROUNDING = "gives one of few values"
    COMPARISON = "gives a flag for each element"
    # across elements
    REDUCTION = "one value of several elements"
    SCAN = "for each element one value of those up to it"
    ORDER = "sorts, ranks, counts or codes"
    DISTANCE = "distances or similarities of vectors"
    PRODUCT = "sums of products"
    CONVOLUTION = "sums of products in a window"
    POOLING = "one value of each window"
    RESAMPLING = "pads, repeats or interpolates places of an image"
    NORMALIZATION = "subtracts a mean and divides by a deviation"
    SOFTMAX = "shares that sum to one, or their logarithms"
    EMBEDDING = "rows of a table of weights"
    GATING = "a product with a gate that it computes itself"
    RECURRENCE = "steps of a recurrent layer"
    ATTENTION = "attention: query, key, value, mask, dropout, causal, scale"
    BLOCK = "several layers at once"
    DROPOUT = "drops elements at random"
    MATRIX = "decomposes, inverts or solves matrices"
    TRANSFORM = "Fourier transforms and complex numbers"
    DERIVATIVE = "derivatives of values that were computed before, by autograd"
    LOSS = "a loss function"


# The result has the elements of the first operand, each once.
KEEPING_ALL = frozenset(
    {Kind.RESHAPING, Kind.PERMUTATION, Kind.UNIT_DIMENSION, Kind.CAST, Kind.COPY},
)
# An element of the result depends on the elements at its place alone.
ELEMENTWISE = frozenset(
    {Kind.ARITHMETIC, Kind.FUNCTION, Kind.ACTIVATION, Kind.LIMIT, Kind.ROUNDING, Kind.COMPARISON},
)


# The result is linear in each operand that has a gradient.
_LINEAR = KEEPING_ALL | {
    *(Kind.EXPANSION, Kind.PART, Kind.LOOKUP, Kind.JOINING, Kind.REPLACING, Kind.RESAMPLING, Kind.DROPOUT),
    *(Kind.PRODUCT, Kind.CONVOLUTION),
}


class Formula(enum.Enum):
    """What exactly it computes, where readings recognise combinations of operators, or a rule knows a remedy."""

    NONE = ""
    ADD = "a + b"
    SUBTRACT = "a - b"
    SUBTRACT_FROM = "b - a"
    MULTIPLY = "a b"
    DIVIDE = "a / b"
    FLOOR_DIVIDE = "a // b"
    POWER = "a ** b"
    NEGATE = "-a"
    RECIPROCAL = "1 / a"
    SQUARE = "a ** 2"
    SQUARE_ROOT = "sqrt(a)"
    ABSOLUTE = "|a|"
    EXPONENTIAL = "exp(a)"
    SOFTMAX = "exp(a) / sum of exp(a)"
    REPAIR = "a, or a number where a is not finite"
    LOGARITHM = "log(a)"
    ARCCOSINE = "arccos(a)"
    ARCSINE = "arcsin(a)"
    RECTIFIER = "max(a, 0)"
    LARGER = "max(a, b)"
    SOFTSIGN = "a / (1 + |a|)"
    SUM = "sum of a"
    MEAN = "mean of a"
    CHOICE = "a where a condition holds, else b"
    FILL = "a number where a mask says so"
    ASSIGN = "b in the place of a"
    SCATTER = "b at indices of a"
    ABOVE = "a > b or a >= b"
    BELOW = "a < b or a <= b"
    LARGEST_PLACE = "argmax"
    ITEM = "the number in a tensor of one element"
    ONE_HOT = "one-hot codes of labels"
    BROADCAST = "several tensors in one shape"


_LINEAR_FORMULAS = frozenset(
    {Formula.ADD, Formula.SUBTRACT, Formula.SUBTRACT_FROM, Formula.MULTIPLY, Formula.NEGATE},
)


class Reduction(enum.Enum):
    """What a reduction makes of its elements."""

    NONE = ""
    TOTAL = "sum or mean"
    EXTREME = "one of the elements, by size"
    SIZE = "a norm"
    LOG_SUM = "logarithm of a sum of exponentials"
    SPREAD = "variance or deviation"
    PRODUCT = "product"
    PLACE = "index of an element"
    FLAG = "whether any or all are true"


class Squash(enum.Enum):
    """Probabilities, or their logarithms."""

    NONE = ""
    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"
    LOG_SIGMOID = "logarithm of a sigmoid"
    LOG_SOFTMAX = "logarithm of a softmax"


class Norm(enum.Enum):
    """Over what a normalisation takes mean and deviation."""

    NONE = ""
    BATCH = "samples and positions, for each channel"
    INSTANCE = "positions, for each sample and channel"
    GROUP = "positions and channels of a group, for each sample"
    LAYER = "the last dimensions"
    RMS = "the last dimensions, without a mean"


class Dimensions(enum.Enum):
    """Where the dimensions of the first operand are in the result."""

    KEPT = "where they were"
    SWAPPED = "two named ones exchanged"
    TURNED = "the last two exchanged"
    PERMUTED = "in the order named"
    RESHAPED = "in a shape that is named: neighbours joined, split or repeated"
    JOINED = "neighbours joined into one"
    ADDED = "one more"
    REMOVED = "the named ones gone"


class Weight(enum.Enum):
    """How the weight of a layer is stored."""

    NONE = ""
    OUT_FIRST = "[out, in, ...]"
    IN_FIRST = "[in, out, ...]"
    FACTOR = "a factor of a matrix product: [in, out] on the right, [out, in] on the left"
    FACTORS = "as FACTOR, one for each entry of a batch"


class Units(enum.Enum):
    """Along which dimension of the result the units of a layer lie."""

    UNKNOWN = ""
    CHANNELS = "1"
    LAST = "-1"


class Growth(enum.Enum):
    """Where a value that a loss is made of has no bound."""

    NONE = ""
    DISTANCE = "at least zero, large for large operands of either sign"
    HINGE = "at least zero, large for large positive operands"
    SINKING = "at most zero, far below it for large operands"


class Pole(enum.Enum):
    """How a value becomes infinite near a finite operand."""

    NONE = ""
    STEEP = "as one over the distance, so that it leaves a narrow format before it gets there"
    SLOW = "as a logarithm, which every format can hold until it gets there"


@dataclass(frozen=True, slots=True)
class Span:
    """Outputs strictly between the two bounds are outside an op's flat region."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """All that is known of an operator above the front ends; positions are those of its arguments, from 0."""

    name: str  # `aten::relu`: without the underscore of an in-place spelling
    kind: Kind = Kind.UNKNOWN
    formula: Formula = Formula.NONE
    is_in_place: bool = False  # written with an underscore: it puts its result in the place of its first argument

    # what it reads and gives
    shape_arguments: tuple[int, ...] = ()  # they lend only their shape, dtype or device
    overwrites: bool = False  # in place it does not read what it writes over
    may_return_argument: bool = False  # hands back its argument itself in some modes, which its schema does not say
    is_uninitialized: bool = False  # gives whatever was in memory
    fill: float | str | None = None  # the number that all elements of its result are, or the constant that holds it
    dimensions: Dimensions = Dimensions.KEPT
    reduction: Reduction = Reduction.NONE
    broadcasts: bool = False  # its tensor operands meet element by element in a common shape
    units: Units = Units.UNKNOWN

    # its derivative
    detaches: bool = False  # hands on a value without its gradient
    rewraps: bool = False  # makes a new tensor of numbers that were read from another one
    has_zero_derivative: bool = False  # zero almost everywhere, and autograd says so instead of raising
    is_piecewise_linear: bool = False  # its second derivative is zero almost everywhere
    is_singular: bool = False  # has a point where it is infinite or 0/0 while the value is finite
    is_steep: bool = False  # has no bound
    has_ties: bool = False  # where operands are equal, it is a matter of convention

    # its values
    pole: Pole = Pole.NONE
    is_exponential: bool = False  # overflows for operands of moderate size
    is_periodic: bool = False
    gives_logarithm: bool = False
    range: tuple[float, float] = (-math.inf, math.inf)  # of its values, whatever its operands
    growth: Growth = Growth.NONE
    squash: Squash = Squash.NONE

    # activations and limits
    steepest_slope: float | None = None  # of those that flatten out: their largest derivative
    has_corners: bool = False  # flattens out at once instead of gradually
    span: Span | None = None  # outputs that are not flat
    bounds: tuple[str, str] = ("", "")  # the constants that are its lower and upper bound
    floor: str = ""  # the constant whose negative it comes down to
    off_margin: float | None = None  # how far below zero outputs still are off
    off_when_zero: str = ""  # it switches units off only where this constant is zero
    halves: bool = False  # lets about half of the mean square pass

    # layers and products
    weight: Weight = Weight.NONE
    is_batched: bool = False  # multiplies batches of matrices, such as the scores of an attention
    weight_at: int | None = None  # scale of a normalisation, table of a lookup, matrix of a product
    bias_at: int | None = None
    factors: Mapping[int, tuple[int, ...]] | None = None  # what the derivative for an argument is a multiple of
    multiplies_list: bool = False  # all tensors of its list are factors of one product
    number_factors: tuple[tuple[str, int, float], ...] = ()  # constant, argument, value that takes all of it away
    norm: Norm = Norm.NONE
    dropout: tuple[str, str] = ("", "")  # the constants that are probability and switch
    is_cell: bool = False  # one step of a recurrence
    gates: tuple[str, ...] = ()  # names of the gates that are never seen as a value
    gate_arguments: tuple[int, int, tuple[int, ...]] | None = None  # input, state, weights
    loss: str = ""  # its name in torch.nn.functional
    targets: tuple[str, ...] = ()  # names of a loss's target arguments; they stand at positions 1, 2, ...

    @property
    def is_known(self) -> bool:
        """Whether it has a row."""
        return self.kind is not Kind.UNKNOWN

    @property
    def is_elementwise(self) -> bool:
        """Whether an element of the result depends on the elements at its place alone."""
        return self.kind in ELEMENTWISE

    @property
    def keeps_all(self) -> bool:
        """Whether it gives the elements of its first operand, each once, in some arrangement."""
        return self.kind in KEEPING_ALL

    @property
    def hands_on(self) -> bool:
        """Whether it gives elements of its first operand as they are, in another shape or dtype."""
        return (self.keeps_all and not self.detaches) or self.kind in {Kind.EXPANSION, Kind.PART}

    @property
    def keeps_apart(self) -> bool:
        """Whether a part of what it reads is a part of what it gives."""
        return self.keeps_all or self.is_elementwise or self.kind in {Kind.JOINING, Kind.DROPOUT}

    @property
    def is_shape_only(self) -> bool:
        """Whether its value depends on no element of its operands."""
        return self.kind is Kind.QUERY or self.shape_arguments == (0,)

    @property
    def is_linear(self) -> bool:
        """Whether its derivative for an operand depends on nothing but the operands in `factors`."""
        is_sum = self.reduction is Reduction.TOTAL
        return self.kind in _LINEAR or self.formula in _LINEAR_FORMULAS or is_sum

    @property
    def is_layer(self) -> bool:
        """Whether it multiplies by weights."""
        return self.kind in {Kind.PRODUCT, Kind.CONVOLUTION, Kind.RECURRENCE}
