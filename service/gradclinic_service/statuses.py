"""Which gRPC status each error stands for, and the details that a program can act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from gradclinic_service import errors as service
from gradclinic_store import errors as store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.message import Message

DOMAIN = "gradclinic"

# Details travel in a trailer; gRPC refuses trailers above 8 KiB, and one byte of text can take three.
MAX_MESSAGE_CHARACTERS = 500
MAX_DESCRIPTION_CHARACTERS = 400
MAX_VIOLATION_BYTES = 4000


@dataclass(frozen=True, slots=True)
class Rendering:
    """How one kind of error is told."""

    code: StatusCode
    reason: str  # stable; programs match on it
    field: str = ""  # the field of the request that was wrong
    metadata: tuple[str, ...] = ()  # the error's attributes that a program may want


RENDERINGS: Mapping[type[Exception], Rendering] = {
    service.InvalidRequest: Rendering(StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
    service.ArtifactUnknown: Rendering(StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND"),
    service.ArtifactMissing: Rendering(StatusCode.FAILED_PRECONDITION, "ARTIFACT_NOT_FOUND"),
    service.NotAuthenticated: Rendering(StatusCode.UNAUTHENTICATED, "NOT_AUTHENTICATED"),
    service.NotAllowed: Rendering(StatusCode.PERMISSION_DENIED, "ROLE_NOT_SUFFICIENT"),
    service.RequestMissing: Rendering(StatusCode.INVALID_ARGUMENT, "REQUEST_MISSING"),
    service.RequestMalformed: Rendering(StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED"),
    service.TooManyCalls: Rendering(StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS"),
    service.TooManyUploads: Rendering(StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_UPLOADS"),
    service.UploadStalled: Rendering(StatusCode.ABORTED, "UPLOAD_STALLED"),
    service.Draining: Rendering(StatusCode.UNAVAILABLE, "SERVER_DRAINING"),
    store.StoreUnavailable: Rendering(StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"),
    store.DiagnosisNotFound: Rendering(StatusCode.NOT_FOUND, "DIAGNOSIS_NOT_FOUND", metadata=("diagnosis_id",)),
    store.ArtifactNotFound: Rendering(StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND", metadata=("sha256",)),
    store.ArtifactTooLarge: Rendering(
        StatusCode.RESOURCE_EXHAUSTED, "ARTIFACT_TOO_LARGE", metadata=("limit", "limit_value", "scope")
    ),
    store.StoreFull: Rendering(StatusCode.RESOURCE_EXHAUSTED, "STORE_FULL", metadata=("limit", "limit_value", "scope")),
    store.QueueFull: Rendering(StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", metadata=("limit", "limit_value", "scope")),
    store.TooManySubmissions: Rendering(
        StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_SUBMISSIONS", metadata=("limit", "limit_value", "scope")
    ),
    store.HashMismatch: Rendering(StatusCode.INVALID_ARGUMENT, "HASH_MISMATCH", field="declaration.sha256"),
    store.Truncated: Rendering(StatusCode.INVALID_ARGUMENT, "UPLOAD_TRUNCATED", field="declaration.size_bytes"),
    store.TooManyBytes: Rendering(StatusCode.INVALID_ARGUMENT, "TOO_MANY_BYTES", field="declaration.size_bytes"),
    store.OffsetMismatch: Rendering(StatusCode.FAILED_PRECONDITION, "OFFSET_MISMATCH", metadata=("received_bytes",)),
    store.UploadLost: Rendering(StatusCode.ABORTED, "UPLOAD_LOST"),
    store.RequestIdReused: Rendering(StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED", field="request_id"),
    store.ModelQuarantined: Rendering(
        StatusCode.FAILED_PRECONDITION,
        "MODEL_QUARANTINED",
        field="spec.model_sha256",
        metadata=("model_sha256", "diagnosis_id"),
    ),
    store.DeviceUnavailable: Rendering(
        StatusCode.FAILED_PRECONDITION,
        "DEVICE_UNAVAILABLE",
        field="spec.device",
        metadata=("device", "live_devices"),
    ),
    store.BadPageToken: Rendering(StatusCode.INVALID_ARGUMENT, "BAD_PAGE_TOKEN", field="page_token"),
    store.NotFinished: Rendering(StatusCode.FAILED_PRECONDITION, "DIAGNOSIS_NOT_FINISHED"),
}


def known_status(error: Exception) -> Status | None:
    """The status that an error stands for; None for one that is not in the table, which is a defect."""
    for kind in type(error).__mro__:
        rendering = RENDERINGS.get(kind)
        if rendering is not None:
            return _status(rendering.code, _bounded(str(error), MAX_MESSAGE_CHARACTERS), _details(error, rendering))
    return None


def internal_status(incident: str) -> Status:
    """The status of a defect: nothing but what finds it in the log."""
    message = f"an unexpected error; its incident {incident} is in the server's log"
    return _status(StatusCode.INTERNAL, message, iter([_error_info("INTERNAL", {"incident": incident})]))


def _status(code: StatusCode, message: str, details: Iterator[Message]) -> Status:
    status = Status(code=code.value[0], message=message)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _details(error: Exception, rendering: Rendering) -> Iterator[Message]:
    named = {name: _plain(getattr(error, name)) for name in rendering.metadata}
    if isinstance(error, service.ServiceError):
        named |= error.metadata
    yield _error_info(rendering.reason, named)
    if isinstance(error, service.InvalidRequest):
        yield _bad_request(error.violations)
    elif rendering.field:
        yield _bad_request((service.Violation(rendering.field, str(error)),))
    if isinstance(error, store.LimitReached):
        violation = QuotaFailure.Violation(subject=error.limit, description=str(error))
        yield QuotaFailure(violations=[violation])
    retry_seconds = getattr(error, "retry_seconds", None)
    if retry_seconds is not None:
        delay = Duration()
        delay.FromMilliseconds(round(retry_seconds * 1000))
        yield RetryInfo(retry_delay=delay)


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _error_info(reason: str, metadata: Mapping[str, str]) -> ErrorInfo:
    bounded = {name: _bounded(value, MAX_DESCRIPTION_CHARACTERS) for name, value in metadata.items()}
    return ErrorInfo(reason=reason, domain=DOMAIN, metadata=bounded)


def _bad_request(violations: tuple[service.Violation, ...]) -> BadRequest:
    request = BadRequest()
    for violation in violations:
        if request.ByteSize() > MAX_VIOLATION_BYTES:
            break
        request.field_violations.add(
            field=_bounded(violation.field, MAX_DESCRIPTION_CHARACTERS),
            description=_bounded(violation.description, MAX_DESCRIPTION_CHARACTERS),
        )
    return request


def _bounded(text: str, most_characters: int) -> str:
    return text if len(text) <= most_characters else text[: most_characters - 1] + "…"
