"""What the API itself refuses; the store's own errors are in gradclinic_store.errors.

ServiceError
├── InvalidRequest         the request is wrong; names each field
├── ArtifactUnknown        an artifact was asked for that is not stored
├── ArtifactMissing        a diagnosis names an artifact that is not stored
├── NotAuthenticated       no token, or a wrong one
├── NotAllowed             the caller's role does not allow the call
├── RequestMissing         a call brought no request, or too late
├── RequestMalformed       a message cannot be parsed
├── TooManyCalls           as many calls of this class as are allowed are under way
│   └── TooManyUploads
├── UploadStalled          an upload sent too little for too long
└── Draining               this server is going away; another one answers

AddressTaken                the process cannot listen where it should; never sent
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ServiceError(Exception):
    """The API refuses a call."""

    retry_seconds: float | None = None  # when a new try makes sense; None: not without a change

    def __init__(self, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.metadata = metadata  # machine-readable: which limit, its value, whose it is


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that is wrong."""

    field: str  # path in the request, for example `spec.model_sha256`
    description: str  # what was wrong, and what to do


class InvalidRequest(ServiceError):
    """Fields of the request are wrong."""

    def __init__(self, violations: Iterable[Violation]) -> None:
        self.violations = tuple(violations)
        first = self.violations[0]
        more = f" (and {len(self.violations) - 1} more)" if len(self.violations) > 1 else ""
        super().__init__(f"{first.field}: {first.description}{more}")


class ArtifactUnknown(ServiceError):
    """An artifact was asked for that is not stored, or not wholly."""


class ArtifactMissing(ServiceError):
    """A diagnosis names an artifact that is not stored."""


class NotAuthenticated(ServiceError):
    """The call carries no token, or a wrong one."""


class NotAllowed(ServiceError):
    """The caller's role does not allow the call."""


class RequestMissing(ServiceError):
    """A call brought no request, or too late."""


class RequestMalformed(ServiceError):
    """A message cannot be parsed as what the method takes."""


class TooManyCalls(ServiceError):
    """As many calls of this class as are allowed are under way."""

    retry_seconds = 1.0


class TooManyUploads(TooManyCalls):
    """As many uploads as are allowed are under way."""


class UploadStalled(ServiceError):
    """An upload sent too little for too long."""

    retry_seconds = 0.0


class Draining(ServiceError):
    """This server is going away."""

    retry_seconds = 0.1


def require(violations: Iterable[Violation]) -> None:
    """Refuses a request that has any violation.

    Raises:
        InvalidRequest: there is one; all are named.
    """
    found = tuple(violations)
    if found:
        raise InvalidRequest(found)


class AddressTaken(Exception):
    """The process cannot listen where it was told to."""
