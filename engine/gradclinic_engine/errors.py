"""Why an analysis gives up: one error that crosses process boundaries as a proto Failure.

AnalysisError
└── RaisedError
"""

from __future__ import annotations

from gradclinic.v1 import diagnosis_pb2


class AnalysisError(Exception):
    """The analysis has no result; says why in the contract's own words.

    Attributes:
        reason: The enumerated reason.
        message: What was wrong and what to do.
        field: The field of the request that was wrong, or "".
        trace: The TorchScript trace where the model or the loss raised, or "".
    """

    def __init__(
        self, reason: diagnosis_pb2.FailureReason.ValueType, message: str, *, field: str = "", trace: str = ""
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.trace = trace

    def failure(self) -> diagnosis_pb2.Failure:
        """The same as a message of the contract."""
        return diagnosis_pb2.Failure(reason=self.reason, message=self.message, field=self.field, trace=self.trace)


class RaisedError(AnalysisError):
    """The model or its loss raised; some of what they raise is a diagnosis of its own.

    Attributes:
        said: The error's own words.
    """

    def __init__(self, failure: AnalysisError, said: str) -> None:
        super().__init__(failure.reason, failure.message, field=failure.field, trace=failure.trace)
        self.said = said
