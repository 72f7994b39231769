"""Errors that torch raises and that say what is wrong with the data or the model: they are findings, not failures."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING

from gradclinic_engine.graph.loss_ops import OF_CLASSES, class_dimension
from gradclinic_engine.reading.normalization import unfinished_batch_norm, unfinished_normalization_of_a_sample

if TYPE_CHECKING:
    from gradclinic_engine.measurements import LossTerm, Measurements


class Raised(enum.Enum):
    """What an error comes down to."""

    TARGET_OUT_OF_RANGE = "target-out-of-range"
    TARGET_MISMATCH = "target-mismatch"
    NO_PROBABILITIES = "missing-softmax"
    BATCH_TOO_SMALL = "batch-too-small"
    ONE_ELEMENT = "degenerate-normalization"


# How torch words it.
_WORDS = (
    (Raised.BATCH_TOO_SMALL, r"Expected more than 1 value per channel when training"),
    (Raised.ONE_ELEMENT, r"Expected more than 1 spatial element when training"),
    (Raised.NO_PROBABILITIES, r"all elements of input should be between 0 and 1"),
    (
        Raised.TARGET_OUT_OF_RANGE,
        (
            r"Target -?\d+ is out of bounds|target out of range|'target' is out of range"
            r"|all elements of target should be between 0 and 1|var has negative entry"
            r"|Expected input_lengths to have value|for argument #2 'targets'|target_lengths .*must be"
        ),
    ),
    (
        Raised.TARGET_MISMATCH,
        (
            r"expected target dtype|multi-target not supported|only batches of spatial targets|Expected target size"
            r"|to match target batch_size|Expected floating point type for target|different to the input size"
            r"|must be the same as input size|var is of incorrect size|inconsistent target size"
            r"|All input tensors should have same dimension|0D or 1D target tensor expected"
            r"|[Ff]ound dtype \w+ but expected \w+|can't be cast to the desired output type"
        ),
    ),
)
# Also said of anything else: believed where the target does not fit indeed.
_WORDS_OF_ANYTHING = re.compile(
    r"must match the size of tensor|expected scalar type|with a bool tensor is not supported|not implemented for"
)
_OF_PROBABILITIES = frozenset({"cross_entropy"})


def recognise(measurements: Measurements) -> Raised | None:
    """What the error of the loss, of the model's own loss or of the backward pass comes down to; None if unknown."""
    loss = measurements.loss
    said = loss.error or loss.backward_error
    if not said:
        return None
    term = failed_term(measurements)
    if term is not None and (term.prediction.nonfinite or "float" not in term.prediction.dtype):
        return None
    known = next((kind for kind, words in _WORDS if re.search(words, said)), None)
    if known is Raised.BATCH_TOO_SMALL and unfinished_batch_norm(measurements) is None:
        known = Raised.ONE_ELEMENT  # GroupNorm says the same of itself
    if known is Raised.ONE_ELEMENT and unfinished_normalization_of_a_sample(measurements) is None:
        known = None
    if known is Raised.TARGET_MISMATCH and loss.backward_error and term is None:
        term = next(iter(measurements.terms), None)
        return known if term is not None and not fits(term) else None
    if known is not None:
        return known
    if term is not None and _WORDS_OF_ANYTHING.search(said) and not fits(term):
        return Raised.TARGET_MISMATCH
    return None


def failed_term(measurements: Measurements) -> LossTerm | None:
    """The loss function that raised."""
    return next((term for term in measurements.terms if term.error), None)


def fits(term: LossTerm) -> bool:
    """Whether the target has the dtype and the shape that the loss function asks for."""
    prediction, target = term.prediction, term.targets[-1]
    if term.name in OF_CLASSES:
        if "float" in target.dtype and term.name in _OF_PROBABILITIES:
            return target.shape == prediction.shape
        dimension = class_dimension(term.name, len(prediction.shape))
        expected = (*prediction.shape[:dimension], *prediction.shape[dimension + 1 :])
        return target.dtype in ("int64", "uint8") and target.shape == expected
    return target.shape == prediction.shape and target.dtype == prediction.dtype
