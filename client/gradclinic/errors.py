"""Everything that this package raises on purpose.

GradclinicError
├── BadCall                  what was passed cannot be sent; nothing left this process
├── ClientForked             the client was made before a fork
├── ServerError              the service refused, or could not be asked
│   ├── InvalidRequest       INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE; names each field
│   ├── NotFound             NOT_FOUND
│   ├── LimitExceeded        RESOURCE_EXHAUSTED; says which limit and when to try again
│   ├── Aborted              ABORTED, ALREADY_EXISTS, CANCELLED
│   ├── Unauthenticated      UNAUTHENTICATED, PERMISSION_DENIED
│   ├── ServiceUnavailable   UNAVAILABLE
│   ├── DeadlineExceeded     DEADLINE_EXCEEDED
│   └── ServerDefect         INTERNAL, UNKNOWN, UNIMPLEMENTED, DATA_LOSS
├── ExtraMissing             an optional extra of this package is not installed
└── NoResult                 the diagnosis gave no result
    ├── DiagnosisFailed      says why: reason, message, field, trace
    ├── DiagnosisCancelled
    ├── DiagnosisExpired
    └── ResultNotReady       not within the time that the caller wanted to wait
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradclinic.records import Diagnosis


class GradclinicError(Exception):
    """Base of all errors of this package."""


class BadCall(GradclinicError, ValueError):
    """An argument cannot be sent. Nothing left this process."""


class ClientForked(GradclinicError):
    """This process was forked from one that used gradclinic; gRPC connections do not survive a fork.

    Make the client inside the child, and start children with the `spawn` or
    `forkserver` method where the parent has used one (for a DataLoader:
    ``multiprocessing_context="spawn"``).
    """

    def __init__(self) -> None:
        super().__init__(" ".join((ClientForked.__doc__ or "").split()))


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of a request that the service did not accept."""

    field: str  # for example `spec.loss.functional.name`
    description: str


class ExtraMissing(GradclinicError, ImportError):
    """An optional extra of this package is not installed."""

    def __init__(self, extra: str, what: str) -> None:
        super().__init__(f"{what} needs the extra `{extra}`: pip install 'gradclinic[{extra}]'")
        self.extra = extra  # for example `plot`


class ServerError(GradclinicError):
    """The service answered with an error, or could not be reached."""

    codes: ClassVar[tuple[str, ...]] = ()  # the gRPC status codes that this class stands for

    def __init__(  # noqa: PLR0913 - one per part of a google.rpc.Status
        self,
        message: str,
        *,
        code: str = "",
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: tuple[FieldViolation, ...] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code  # gRPC status code, for example `NOT_FOUND`
        self.reason = reason  # stable reason of the service, for example `QUEUE_FULL`; may be empty
        self.metadata = dict(metadata or {})  # which limit, which artifact…
        self.violations = violations
        self.retry_after_seconds = retry_after_seconds  # when the service says to try again; None: it does not say

    def __str__(self) -> str:
        lines = [f"{violation.field}: {violation.description}" for violation in self.violations]
        if not lines or (len(lines) == 1 and self.violations[0].description in self.message):
            return self.message
        return "\n  ".join([self.message, *lines])


class InvalidRequest(ServerError):
    """The request does not fit; `violations` names each field."""

    codes = ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE")


class NotFound(ServerError):
    """There is no such diagnosis or artifact."""

    codes = ("NOT_FOUND",)


class LimitExceeded(ServerError):
    """A limit of the service is reached; `metadata` names it."""

    codes = ("RESOURCE_EXHAUSTED",)


class Aborted(ServerError):
    """Something else got in between."""

    codes = ("ABORTED", "ALREADY_EXISTS", "CANCELLED")


class Unauthenticated(ServerError):
    """The token is missing, wrong, or does not allow this."""

    codes = ("UNAUTHENTICATED", "PERMISSION_DENIED")


class ServiceUnavailable(ServerError):
    """The service cannot be reached, also not after retries."""

    codes = ("UNAVAILABLE",)


class DeadlineExceeded(ServerError, TimeoutError):
    """The service did not answer in time."""

    codes = ("DEADLINE_EXCEEDED",)


class ServerDefect(ServerError):
    """The service has a defect, or does not know this call (is it older than this client?)."""

    codes = ("INTERNAL", "UNKNOWN", "UNIMPLEMENTED", "DATA_LOSS")


BY_CODE: dict[str, type[ServerError]] = {
    code: kind
    for kind in (
        InvalidRequest,
        NotFound,
        LimitExceeded,
        Aborted,
        Unauthenticated,
        ServiceUnavailable,
        DeadlineExceeded,
        ServerDefect,
    )
    for code in kind.codes
}


class NoResult(GradclinicError):
    """The diagnosis gave no result; `diagnosis` is its last known state."""

    def __init__(self, message: str, diagnosis: Diagnosis) -> None:
        super().__init__(message)
        self.diagnosis = diagnosis


class DiagnosisFailed(NoResult):
    """The diagnosis failed; a faulty model does not fail: it succeeds, with findings."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        failure = diagnosis.failure
        self.reason = failure.reason if failure else "INTERNAL"  # for example `FORWARD_ERROR`
        self.message = failure.message if failure else ""  # what was wrong, and what to do
        self.field = failure.field if failure else ""  # the request's field that was wrong; may be empty
        self.trace = failure.trace if failure else ""  # TorchScript trace, where the model raised
        super().__init__(f"diagnosis {diagnosis.id} failed: {self.reason}: {self.message}", diagnosis)


class DiagnosisCancelled(NoResult):
    """Somebody cancelled the diagnosis."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(f"diagnosis {diagnosis.id} was cancelled", diagnosis)


class DiagnosisExpired(NoResult):
    """The diagnosis waited in the queue for too long."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(
            f"diagnosis {diagnosis.id} expired in the queue; is a worker running for its device?", diagnosis
        )


class ResultNotReady(NoResult, TimeoutError):
    """The result was not there in time. The diagnosis goes on; ask again or cancel it."""

    def __init__(self, diagnosis: Diagnosis, waited_seconds: float) -> None:
        super().__init__(
            f"diagnosis {diagnosis.id} is still {diagnosis.state} after {waited_seconds:g} s; "
            "it goes on: wait again, or cancel it",
            diagnosis,
        )
