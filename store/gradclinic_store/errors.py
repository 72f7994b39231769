"""What can go wrong in the store.

StoreError
├── StoreUnavailable        Redis or the blob store does not answer
├── NotFound
│   ├── DiagnosisNotFound
│   └── ArtifactNotFound    upload it
├── LimitReached            a limit is in the way; each says which
│   ├── ArtifactTooLarge
│   ├── StoreFull
│   ├── QueueFull
│   └── TooManySubmissions
├── UploadRefused           the bytes are not what was declared
│   ├── HashMismatch
│   ├── OffsetMismatch      resume at `received_bytes`
│   ├── Truncated
│   ├── TooManyBytes
│   └── UploadLost          what was stored of it has been dropped meanwhile
├── RequestIdReused
├── ModelQuarantined        it crashed too often lately
├── DeviceUnavailable       no live worker has it
├── BadPageToken
└── NotFinished
"""

from __future__ import annotations


class StoreError(Exception):
    """The store could not do what was asked."""


class StoreUnavailable(StoreError):
    """The store does not answer; try again in a moment."""

    def __init__(self, message: str, retry_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class NotFound(StoreError):
    """There is no such thing in the store (any more)."""


class DiagnosisNotFound(NotFound):
    """There is no such diagnosis: it never was, or its time is over."""

    def __init__(self, diagnosis_id: str) -> None:
        super().__init__(f"no diagnosis {diagnosis_id!r}: it never was, was deleted, or its retention time is over")
        self.diagnosis_id = diagnosis_id


class ArtifactNotFound(NotFound):
    """There is no such artifact: upload it."""

    def __init__(self, sha256: str) -> None:
        super().__init__(f"no artifact {sha256}: upload it (again)")
        self.sha256 = sha256


class LimitReached(StoreError):
    """A limit of the store is in the way.

    Attributes:
        limit: name of the setting.
        limit_value: its value, in the unit that its name says.
        scope: whose limit it is: of one `request`, of the `tenant`, or of `all` together.
        retry_seconds: when a new try makes sense; None: never.
    """

    def __init__(
        self, message: str, *, limit: str, limit_value: float, retry_seconds: float | None, scope: str = "all"
    ) -> None:
        super().__init__(message)
        self.limit = limit
        self.limit_value = limit_value
        self.scope = scope
        self.retry_seconds = retry_seconds


class ArtifactTooLarge(LimitReached):
    """The artifact is larger than this server takes."""

    def __init__(self, size_bytes: int, max_artifact_bytes: int) -> None:
        super().__init__(
            f"an artifact of {size_bytes:,} bytes is above the limit of {max_artifact_bytes:,} bytes",
            limit="max_artifact_bytes",
            limit_value=max_artifact_bytes,
            retry_seconds=None,
            scope="request",
        )


class StoreFull(LimitReached):
    """There is no room for more bytes; artifacts that nobody uses expire."""

    def __init__(
        self, message: str, *, limit: str, limit_value: int, scope: str = "all", retry_seconds: float = 60.0
    ) -> None:
        super().__init__(message, limit=limit, limit_value=limit_value, retry_seconds=retry_seconds, scope=scope)


def memory_short(limit_bytes: int, retry_seconds: float = 10.0) -> StoreFull:
    """Return the refusal of new work while the memory that is left is needed for what was accepted."""
    message = f"Redis is near its limit of {limit_bytes:,} bytes, and what is left is kept for results; try again later"
    return StoreFull(message, limit="redis_memory", limit_value=limit_bytes, retry_seconds=retry_seconds)


def memory_full(limit_bytes: int) -> StoreFull:
    """Return the error of a write that Redis refused: its `maxmemory` is reached."""
    message = f"Redis has no memory left: its maxmemory of {limit_bytes:,} bytes is reached; try again later"
    return StoreFull(message, limit="redis_memory", limit_value=limit_bytes, retry_seconds=10.0)


class QueueFull(LimitReached):
    """Too many diagnoses are waiting."""

    def __init__(self, most: int, *, limit: str = "max_queued", scope: str = "all", retry_seconds: float = 5.0) -> None:
        whose = "of yours " if scope == "tenant" else ""
        super().__init__(
            f"{most:,} diagnoses {whose}are waiting already; try again later or add workers",
            limit=limit,
            limit_value=most,
            retry_seconds=retry_seconds,
            scope=scope,
        )


class TooManySubmissions(LimitReached):
    """Diagnoses are created too fast."""

    def __init__(self, per_second: float, *, limit: str, scope: str, retry_seconds: float) -> None:
        whose = "you" if scope == "tenant" else "all callers together"
        super().__init__(
            f"{whose} may create {per_second:g} diagnoses per second in the long run; wait {retry_seconds:.1f} s",
            limit=limit,
            limit_value=per_second,
            retry_seconds=retry_seconds,
            scope=scope,
        )


class UploadRefused(StoreError):
    """The bytes that came are not the ones that were declared."""


class HashMismatch(UploadRefused):
    """The bytes have another SHA-256 than was declared; nothing was kept."""


class OffsetMismatch(UploadRefused):
    """The upload goes on where the store is not.

    Attributes:
        received_bytes: from where an upload can go on.
    """

    def __init__(self, offset_bytes: int, received_bytes: int, why: str = "") -> None:
        super().__init__(f"{why}the next byte expected is {received_bytes:,}, not {offset_bytes:,}")
        self.received_bytes = received_bytes


class Truncated(UploadRefused):
    """The upload ended before the declared size; nothing was kept."""


class TooManyBytes(UploadRefused):
    """The upload went on beyond the declared size; nothing was kept."""


class UploadLost(UploadRefused):
    """What was stored of the upload has been dropped meanwhile; send it again from the start."""


class RequestIdReused(StoreError):
    """The request id belongs to another request; use a new one."""


class ModelQuarantined(StoreError):
    """The model brought down its process, or its workers, too often lately.

    Attributes:
        model_sha256: which model.
        diagnosis_id: where it crashed last.
        retry_seconds: when it may be tried again.
    """

    def __init__(self, model_sha256: str, diagnosis_id: str, retry_seconds: float) -> None:
        super().__init__(
            f"the model {model_sha256} crashed again and again, last in diagnosis {diagnosis_id}, and is not run for "
            f"another {retry_seconds:.0f} s; see why there, and mend it: a changed model may run at once"
        )
        self.model_sha256 = model_sha256
        self.diagnosis_id = diagnosis_id
        self.retry_seconds = retry_seconds


class DeviceUnavailable(StoreError):
    """No live worker has the device that was asked for.

    Attributes:
        device: which.
        live_devices: what the live workers have, separated by commas.
    """

    def __init__(self, device: str, live_devices: str) -> None:
        super().__init__(
            f"no live worker has a {device!r} device (there are: {live_devices or 'none at all'}); start one, choose "
            "another device, or set wait_for_device to queue the diagnosis until there is one"
        )
        self.device = device
        self.live_devices = live_devices


class BadPageToken(StoreError):
    """The page token is not one of ours, or belongs to another filter."""


class NotFinished(StoreError):
    """The diagnosis is not finished; cancel it first."""
