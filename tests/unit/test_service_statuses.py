"""Each error has its status, its stable reason and details that fit into a trailer."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RetryInfo
from grpc import StatusCode

from gradclinic_service import errors as service
from gradclinic_service.statuses import RENDERINGS, internal_status, known_status
from gradclinic_store import errors as store

if TYPE_CHECKING:
    from google.rpc.status_pb2 import Status

M = TypeVar("M", bound=Message)
LARGEST_TRAILER_BYTES = 8192


def detail(status: Status, kind: type[M]) -> M | None:
    for packed in status.details:
        message = kind()
        if packed.Unpack(message):
            return message
    return None


def leaves(base: type[Exception]) -> set[type[Exception]]:
    below = base.__subclasses__()
    return {base} if not below else {leaf for kind in below for leaf in leaves(kind)}


@pytest.mark.parametrize("base", [store.StoreError, service.ServiceError])
def test_every_error_is_in_the_table(base: type[Exception]) -> None:
    assert set() == leaves(base) - set(RENDERINGS)


ERRORS: list[tuple[Exception, StatusCode, str]] = [
    (service.InvalidRequest([service.Violation("f", "d")]), StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
    (service.ArtifactUnknown("m", received_bytes="3"), StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND"),
    (service.ArtifactMissing("m", sha256="a"), StatusCode.FAILED_PRECONDITION, "ARTIFACT_NOT_FOUND"),
    (service.NotAuthenticated("m"), StatusCode.UNAUTHENTICATED, "NOT_AUTHENTICATED"),
    (service.NotAllowed("m", role="read"), StatusCode.PERMISSION_DENIED, "ROLE_NOT_SUFFICIENT"),
    (service.RequestMissing("m"), StatusCode.INVALID_ARGUMENT, "REQUEST_MISSING"),
    (service.RequestMalformed("m"), StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED"),
    (service.TooManyCalls("m"), StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS"),
    (service.TooManyUploads("m"), StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_UPLOADS"),
    (service.UploadStalled("m"), StatusCode.ABORTED, "UPLOAD_STALLED"),
    (service.Draining("m"), StatusCode.UNAVAILABLE, "SERVER_DRAINING"),
    (store.StoreUnavailable("m", 2.5), StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"),
    (store.DiagnosisNotFound("x"), StatusCode.NOT_FOUND, "DIAGNOSIS_NOT_FOUND"),
    (store.ArtifactNotFound("x"), StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND"),
    (store.ArtifactTooLarge(3, 2), StatusCode.RESOURCE_EXHAUSTED, "ARTIFACT_TOO_LARGE"),
    (store.StoreFull("m", limit="max_stored_bytes", limit_value=2), StatusCode.RESOURCE_EXHAUSTED, "STORE_FULL"),
    (store.QueueFull(2), StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL"),
    (
        store.TooManySubmissions(2.0, limit="submissions_per_second", scope="all", retry_seconds=1.0),
        StatusCode.RESOURCE_EXHAUSTED,
        "TOO_MANY_SUBMISSIONS",
    ),
    (store.HashMismatch("m"), StatusCode.INVALID_ARGUMENT, "HASH_MISMATCH"),
    (store.Truncated("m"), StatusCode.INVALID_ARGUMENT, "UPLOAD_TRUNCATED"),
    (store.TooManyBytes("m"), StatusCode.INVALID_ARGUMENT, "TOO_MANY_BYTES"),
    (store.OffsetMismatch(5, 3), StatusCode.FAILED_PRECONDITION, "OFFSET_MISMATCH"),
    (store.UploadLost("m"), StatusCode.ABORTED, "UPLOAD_LOST"),
    (store.ModelQuarantined("ab", "id", 9.0), StatusCode.FAILED_PRECONDITION, "MODEL_QUARANTINED"),
    (store.DeviceUnavailable("cuda", "cpu"), StatusCode.FAILED_PRECONDITION, "DEVICE_UNAVAILABLE"),
    (store.RequestIdReused("m"), StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED"),
    (store.BadPageToken("m"), StatusCode.INVALID_ARGUMENT, "BAD_PAGE_TOKEN"),
    (store.NotFinished("m"), StatusCode.FAILED_PRECONDITION, "DIAGNOSIS_NOT_FINISHED"),
]


@pytest.mark.parametrize(("error", "code", "reason"), ERRORS, ids=lambda value: type(value).__name__)
def test_an_error_has_its_status_and_reason(error: Exception, code: StatusCode, reason: str) -> None:
    status = known_status(error)
    assert status is not None
    assert code.value[0] == status.code
    assert str(error) == status.message
    told = detail(status, ErrorInfo)
    assert told is not None
    assert (reason, "gradclinic") == (told.reason, told.domain)


def test_this_list_covers_the_table() -> None:
    assert set(RENDERINGS) == {type(error) for error, _, _ in ERRORS}


def test_overload_says_when_to_try_again_and_which_limit() -> None:
    status = known_status(store.QueueFull(7))
    assert status is not None
    retry, quota, told = detail(status, RetryInfo), detail(status, QuotaFailure), detail(status, ErrorInfo)
    assert retry is not None
    assert 5 == retry.retry_delay.seconds
    assert quota is not None
    assert "max_queued" == quota.violations[0].subject
    assert told is not None
    assert {"limit": "max_queued", "limit_value": "7", "scope": "all"} == dict(told.metadata)


def test_what_no_waiting_can_mend_has_no_retry_advice() -> None:
    for error in (store.ArtifactTooLarge(3, 2), store.NotFinished("m"), service.ArtifactMissing("m")):
        status = known_status(error)
        assert status is not None
        assert detail(status, RetryInfo) is None


def test_an_outage_says_when_to_try_again() -> None:
    status = known_status(store.StoreUnavailable("gone", 2.5))
    assert status is not None
    retry = detail(status, RetryInfo)
    assert retry is not None
    assert 2_500 == retry.retry_delay.ToMilliseconds()


def test_a_bad_upload_names_its_field() -> None:
    status = known_status(store.HashMismatch("another hash"))
    assert status is not None
    request = detail(status, BadRequest)
    assert request is not None
    assert ["declaration.sha256"] == [violation.field for violation in request.field_violations]


def test_a_subclass_is_told_as_its_nearest_known_base() -> None:
    class Special(store.NotFinished):
        pass

    status = known_status(Special("m"))
    assert status is not None
    assert StatusCode.FAILED_PRECONDITION.value[0] == status.code


def test_an_unknown_error_has_no_status_and_tells_no_detail() -> None:
    assert known_status(ValueError("secret")) is None
    status = internal_status("1234")
    assert StatusCode.INTERNAL.value[0] == status.code
    assert "secret" not in str(status)


@pytest.mark.parametrize("text", ["x" * 100_000, "ü€𝄞" * 30_000])
def test_a_status_always_fits_into_a_trailer(text: str) -> None:
    violations = [service.Violation(text, text)] * 500
    status = known_status(service.InvalidRequest(violations))
    assert status is not None
    assert status.ByteSize() + 3 * len(status.message.encode()) < 2 * LARGEST_TRAILER_BYTES
