"""What the blocking and the asynchronous client share about single calls: requests, offsets, deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from gradclinic import connection
from gradclinic.errors import BadCall, InvalidRequest, NotFound, ServerError, ServiceUnavailable
from gradclinic.retry import resumable
from gradclinic.v1 import artifact_pb2, diagnosis_pb2, finding_pb2

if TYPE_CHECKING:
    import grpc

    from gradclinic.payloads import Payload

Answer = TypeVar("Answer")
UploadListener: TypeAlias = Callable[[str, int, int], None]
Method: TypeAlias = Callable[..., Answer]
AsyncMethod: TypeAlias = Callable[..., Awaitable[Answer]]

LONGEST_STREAM_SECONDS: Final = 600.0  # a watch is opened anew after this long
MOST_CREATE_TRIES: Final = 5  # others may delete what they share with this caller, again and again
_SLOWEST_UPLOAD_BYTES_PER_SECOND: Final = 1 << 20
_MOST_PRESENT: Final = 1024


def ignore_upload(name: str, sent_bytes: int, total_bytes: int) -> None:
    """Listens to nothing."""


class Sending:
    """One attempt to send a payload from an offset on; iterate it once."""

    def __init__(self, payload: Payload, offset_bytes: int, listener: UploadListener) -> None:
        self._payload = payload
        self._offset_bytes = offset_bytes
        self._listener = listener
        self._error: OSError | None = None

    def __iter__(self) -> Iterator[artifact_pb2.UploadArtifactRequest]:
        name, total_bytes = self._payload.name, self._payload.size_bytes
        sent_bytes = self._offset_bytes
        self._listener(name, sent_bytes, total_bytes)
        try:
            for request in self._payload.requests(self._offset_bytes):
                yield request
                sent_bytes += len(request.chunk.content)
                self._listener(name, sent_bytes, total_bytes)
        except OSError as error:
            self._error = error

    async def __aiter__(self) -> AsyncIterator[artifact_pb2.UploadArtifactRequest]:
        requests = iter(self)
        while (request := await asyncio.to_thread(next, requests, None)) is not None:
            yield request

    def check(self) -> None:
        """Raises BadCall where the payload could not be read."""
        if self._error is not None:
            raise BadCall(f"{self._payload.name}: cannot be read any more: {self._error.strerror}") from self._error


def upload_seconds(payload: Payload, timeout_seconds: float) -> float:
    """How long an upload may take: a call's time, and more by size."""
    return timeout_seconds + payload.size_bytes / _SLOWEST_UPLOAD_BYTES_PER_SECOND


def upload_error(error: grpc.RpcError, target: str) -> ServerError:
    """What broke an upload, as far as it can be resumed: a wrong offset and a passed deadline are interruptions."""
    broken = connection.server_error(error, target)
    if isinstance(broken, InvalidRequest) and broken.code == "FAILED_PRECONDITION":
        return ServiceUnavailable(broken.message, code="UNAVAILABLE", reason=broken.reason)
    return resumable(broken)


def resume_offset(error: NotFound, payload: Payload) -> int:
    """From which byte on an artifact that was not found has to be sent."""
    text = error.metadata.get("received_bytes", "0")
    received_bytes = int(text) if text.isdecimal() else 0
    return received_bytes if received_bytes <= payload.size_bytes else 0


class Present:
    """What the service is known to have, so that it is not asked again for each diagnosis.

    It may be wrong: what has expired meanwhile is missed when a diagnosis is created, and then sent again.
    """

    def __init__(self) -> None:
        self._hashes: set[str] = set()

    def __contains__(self, payload: Payload) -> bool:
        return payload.sha256 in self._hashes

    def add(self, payload: Payload) -> None:
        """The service has it now."""
        if len(self._hashes) >= _MOST_PRESENT:
            self._hashes = set()
        self._hashes.add(payload.sha256)

    def denied_by(self, error: ServerError) -> bool:
        """Whether the service says that it lacks something; then nothing is taken for granted any more."""
        denied = error.reason == "ARTIFACT_NOT_FOUND"
        if denied:
            self._hashes = set()
        return denied


def stream_ended(target: str) -> ServerError:
    """A watch that ended before the diagnosis did; the server is going down."""
    return ServiceUnavailable(f"{target} closed the stream", code="UNAVAILABLE")


def list_request(  # noqa: PLR0913 - one per field of the filter
    *,
    run: str | None,
    labels: Mapping[str, str] | None,
    state: str | None,
    verdict: str | None,
    page_size: int,
    page_token: str,
) -> diagnosis_pb2.ListDiagnosesRequest:
    """The request for a page of diagnoses.

    Raises:
        BadCall: there is no such state or verdict.
    """
    matching = diagnosis_pb2.DiagnosisFilter(
        run=run or "",
        labels=labels or {},
        state=_number(diagnosis_pb2.DiagnosisState, "DIAGNOSIS_STATE_", state, "state"),
        verdict=_number(finding_pb2.Verdict, "VERDICT_", verdict, "verdict"),
    )
    return diagnosis_pb2.ListDiagnosesRequest(page_size=page_size, page_token=page_token, filter=matching)


def _number(enum: Any, prefix: str, name: str | None, argument: str) -> Any:
    if name is None:
        return 0
    known = {key.removeprefix(prefix): number for key, number in enum.items() if number}
    if name.upper() not in known:
        raise BadCall(f"{argument}: must be one of {', '.join(known)}, got {name!r}")
    return known[name.upper()]
