"""Why the engine gives up.

AnalysisError
└── RaisedError
ConversionError
"""

from __future__ import annotations

import enum


class FailureReason(enum.StrEnum):
    """Why there can be no result."""

    BAD_ARCHIVE = "BAD_ARCHIVE"
    FORBIDDEN_OPERATOR = "FORBIDDEN_OPERATOR"
    BAD_INPUTS = "BAD_INPUTS"
    FORWARD_ERROR = "FORWARD_ERROR"
    LOSS_ERROR = "LOSS_ERROR"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"


class AnalysisError(Exception):
    """The analysis has no result.

    Attributes:
        reason: The enumerated reason.
        message: What was wrong and what to do.
        field: The field of the request that was wrong, or "".
        trace: The TorchScript trace where the model or the loss raised, or "".
    """

    def __init__(self, reason: FailureReason, message: str, *, field: str = "", trace: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.trace = trace


class RaisedError(AnalysisError):
    """The model or its loss raised; some of what they raise is a diagnosis of its own.

    Attributes:
        said: The error's own words.
    """

    def __init__(self, failure: AnalysisError, said: str) -> None:
        super().__init__(failure.reason, failure.message, field=failure.field, trace=failure.trace)
        self.said = said


class ConversionError(Exception):
    """A live module cannot be turned into what the engine reads; says why."""
