"""Diagnoses: accepted once, listed, cancelled, handed to workers, deleted."""

from __future__ import annotations

import json
import secrets
import uuid
from typing import TYPE_CHECKING

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store import indexes, reaper
from gradclinic_store.attempt import Attempt
from gradclinic_store.errors import (
    ArtifactNotFound,
    DeviceUnavailable,
    DiagnosisNotFound,
    ModelQuarantined,
    NotFinished,
    QueueFull,
    RequestIdReused,
    TooManySubmissions,
    memory_short,
)
from gradclinic_store.queue import queue_of
from gradclinic_store.record import (
    LISTED_FIELDS,
    MS_PER_SECOND,
    artifacts_of,
    fields_of,
    fingerprint,
    milliseconds,
    result_fingerprint,
    to_listed,
    to_message,
)

if TYPE_CHECKING:
    from gradclinic_store.connection import Connection
    from gradclinic_store.errors import LimitReached
    from gradclinic_store.memory import MemoryWatch
    from gradclinic_store.queue import JobQueue

KEY = "gradclinic:diagnosis:"
FLOW_KEY = "gradclinic:flow:"
RUNNING = b"2"  # DiagnosisState, as stored
LARGEST_PAGE = 1000
DEFAULT_PAGE = 50
DELETION_REMEMBERED_SECONDS = 60.0  # so that a delete that ran twice, since its answer was lost, is no error
JUST_ENDED_SECONDS = 5  # longer than Redis keeps what it would write in memory
PAGE_BYTES = 1024 * 1024  # of records in a page; a message may have four times as much
LOOKED_AT_PER_STEP = 5000  # bounds how long one script holds Redis

QUARANTINED = diagnosis_pb2.Failure(
    reason=diagnosis_pb2.FAILURE_REASON_MODEL_QUARANTINED,
    message="The model crashed again and again while this diagnosis waited, so it was not run. "
    "See its other diagnoses for why, and mend it: a changed model may run at once, this one after a while.",
    field="spec.model_sha256",
)


class Diagnoses:
    """The diagnoses of one tenant; starting and reaping know no tenants."""

    def __init__(self, connection: Connection, queue: JobQueue, memory: MemoryWatch, tenant: str) -> None:
        self._connection = connection
        self._queue = queue
        self._memory = memory
        self.tenant = tenant

    def create(
        self,
        spec: diagnosis_pb2.DiagnosisSpec,
        request_id: str = "",
        *,
        allow_reuse: bool = False,
        queue: str = "",
        wait_for_device: bool = True,
    ) -> tuple[diagnosis_pb2.Diagnosis, bool]:
        """Accept a diagnosis: durable and queued when this returns. The flag tells whether it is a new one.

        Args:
            spec: what to diagnose; its artifacts must be stored, and are kept for another retention time.
            request_id: the same id gives the same diagnosis; empty: always a new one.
            allow_reuse: whether an identical earlier, successful diagnosis may be the answer (then `reused` is set).
            queue: where to queue; empty: by `spec.device` and the live workers.
            wait_for_device: whether it may wait for a first worker that has `spec.device`.

        Raises:
            RequestIdReused: the id came with another spec before.
            ArtifactNotFound: an artifact is not there.
            QueueFull: as many diagnoses are waiting as may, of this tenant or of all.
            TooManySubmissions: they come too fast, of this tenant or of all.
            StoreFull: Redis is near its limit.
            ModelQuarantined: its model crashed too often lately.
            DeviceUnavailable: no live worker has the device, and it shall not wait for one.
        """
        settings = self._connection.settings
        artifacts = artifacts_of(spec)
        no_device = bool(spec.device) and not wait_for_device and not self._queue.serves(spec.device)
        outcome, *rest = self._connection.run(
            "create",
            self.tenant,
            uuid.uuid4().hex,
            request_id,
            fingerprint(spec),
            result_fingerprint(spec),
            int(allow_reuse),
            spec.SerializeToString(deterministic=True),
            queue or self._queue.choose(spec.device),
            spec.priority,
            milliseconds(settings.diagnosis_retention_seconds + settings.queue_ttl_seconds),
            milliseconds(settings.artifact_retention_seconds),
            json.dumps({**self._limits(), "no_device": no_device}),
            len(artifacts),
            *artifacts,
            *indexes.names_of(spec),
        )
        if outcome == b"request_id_reused":
            raise RequestIdReused(f"request id {request_id!r} belongs to another request; use a new one")
        if outcome == b"no_artifact":
            raise ArtifactNotFound(rest[0].decode())
        if outcome == b"limit":
            raise self._limit_reached(*rest)
        if outcome == b"no_device":
            raise DeviceUnavailable(spec.device, ", ".join(self._queue.live_devices()))
        if outcome == b"quarantined":
            raise ModelQuarantined(spec.model_sha256, rest[0].decode(), max(0, rest[1]) / MS_PER_SECOND)
        fields = fields_of(rest[0])
        if outcome == b"created":
            # If this process dies here, the reaper finds that there are too few tickets, and makes more.
            self._queue.call(fields[b"queue"].decode())
        self._connection.await_written()
        if outcome == b"created":
            return to_message(fields), True
        if outcome == b"known":
            return to_message(fields), False
        message = self.get(fields[b"id"].decode())
        message.reused = True
        return message, False

    def get(self, diagnosis_id: str, *, full: bool = True) -> diagnosis_pb2.Diagnosis:
        """Read one diagnosis; without `full` its result has no sites and parameters.

        Raises:
            DiagnosisNotFound: there is none.
        """
        # In this order: who sees a result in the record finds the flow that came with it, unless both have gone.
        with self._connection.translated(), self._connection.client.pipeline(transaction=False) as pipeline:
            pipeline.hgetall(KEY + diagnosis_id)
            if full:
                pipeline.get(f"{FLOW_KEY}{self.tenant}:{diagnosis_id}")
            pipeline.time()
            fields, *flow, (now_seconds, _) = pipeline.execute()
        if not fields or fields[b"tenant"].decode() != self.tenant:
            raise DiagnosisNotFound(diagnosis_id)
        if b"summary" in fields and flow == [None]:
            raise DiagnosisNotFound(diagnosis_id)
        if int(fields.get(b"end_ms", 0)) > (now_seconds - JUST_ENDED_SECONDS) * MS_PER_SECOND:
            self._connection.await_written()  # what is shown as final must never be another one later
        return to_message(fields, (flow[0] or b"") if flow else b"")

    def page(
        self, wanted: diagnosis_pb2.DiagnosisFilter | None = None, size: int = DEFAULT_PAGE, token: str = ""
    ) -> tuple[list[diagnosis_pb2.Diagnosis], str]:
        """Return the newest matching diagnoses in short, and the token of the next page or "".

        A page ends early where it would take more than `PAGE_BYTES`: a list of any diagnoses fits into one message.

        Raises:
            BadPageToken: the token is not ours, or belongs to another filter.
        """
        wanted = wanted or diagnosis_pb2.DiagnosisFilter()
        size = min(size, LARGEST_PAGE) if size > 0 else DEFAULT_PAGE
        below = f"({indexes.read_page_token(token, wanted, self.tenant)}" if token else "+inf"
        found: list[diagnosis_pb2.Diagnosis] = []
        names = indexes.names_for(wanted)
        room_bytes = PAGE_BYTES
        while len(found) < size and room_bytes > 0:
            bounds = (below, size - len(found), LOOKED_AT_PER_STEP, room_bytes)
            records, bytes_read, rest = self._connection.run(
                "page", self.tenant, *bounds, len(LISTED_FIELDS), *LISTED_FIELDS, *names
            )
            found += [to_listed(values) for values in records]
            room_bytes -= bytes_read
            below = rest.decode()
            if not below:
                return found, ""
        return found, indexes.page_token(int(below.removeprefix("(")), wanted, self.tenant)

    def cancel(self, diagnosis_id: str) -> diagnosis_pb2.Diagnosis:
        """Cancel a diagnosis that is not finished, tell its worker to stop, and return it as it now stands.

        Raises:
            DiagnosisNotFound: there is none.
        """
        retention_ms = milliseconds(self._connection.settings.diagnosis_retention_seconds)
        answer = self._connection.run("cancel", self.tenant, diagnosis_id, retention_ms)
        if answer is None:
            raise DiagnosisNotFound(diagnosis_id)
        before, lined_up, flat = answer
        fields = fields_of(flat)
        if before == RUNNING:
            self._queue.stop(fields[b"ticket"].decode())
        elif lined_up:
            self._queue.call_off(fields[b"queue"].decode())
        return to_message(fields)

    def delete(self, diagnosis_id: str) -> None:
        """Delete a finished diagnosis, and the artifacts that no other one of this tenant names.

        Raises:
            DiagnosisNotFound: there is none.
            NotFinished: it is queued or running.
        """
        nonce, remembered_ms = secrets.token_hex(8), milliseconds(DELETION_REMEMBERED_SECONDS)
        outcome = self._connection.run("drop", diagnosis_id, self.tenant, nonce, remembered_ms)
        if outcome == b"absent":
            raise DiagnosisNotFound(diagnosis_id)
        if outcome == b"not_finished":
            raise NotFinished(f"diagnosis {diagnosis_id!r} is not finished; cancel it first")

    def take(self, ticket: str, worker_id: str) -> Attempt | None:
        """Begin an attempt at the diagnosis whose turn it is, of any tenant; None when nothing waits that may start."""
        return self._start(queue_of(ticket), ticket, worker_id)

    def start(self, diagnosis_id: str, worker_id: str) -> Attempt | None:
        """Begin an attempt at one diagnosis out of turn, of any tenant.

        None when it is not queued any more: cancelled, expired, another has it.
        """
        return self._start("", "", worker_id, diagnosis_id)

    def _start(self, queue: str, ticket: str, worker_id: str, diagnosis_id: str = "") -> Attempt | None:
        settings = self._connection.settings
        nonce, lease_ms = secrets.randbits(63), milliseconds(settings.lease_seconds)
        flat = self._connection.run(
            "start",
            queue,
            ticket,
            worker_id,
            nonce,
            lease_ms,
            settings.tenant_max_running,
            diagnosis_id,
            milliseconds(settings.diagnosis_retention_seconds),
            QUARANTINED.SerializeToString() if settings.quarantine_seconds else b"",
        )
        if flat is None:
            return None
        fields = fields_of(flat)
        return Attempt(to_message(fields), int(fields[b"token"]), self._connection, self._queue)

    def reap(self) -> list[str]:
        """Put right what time or a dead process left behind; returns the ids of diagnoses that changed.

        Call it every few seconds from any number of processes.
        """
        return reaper.reap(self._connection, self._queue)

    def _limits(self) -> dict[str, float]:
        settings = self._connection.settings
        return {
            "max_queued": settings.max_queued,
            "tenant_max_queued": settings.tenant_max_queued or settings.max_queued,
            "submissions_per_second": settings.submissions_per_second,
            "tenant_submissions_per_second": settings.tenant_submissions_per_second,
            "submission_burst_seconds": settings.submission_burst_seconds,
            "quarantine": settings.quarantine_seconds > 0,
            "memory_short": bool(self._memory.short_of()),
        }

    def _limit_reached(self, name: bytes, scope: bytes, retry_ms: int) -> LimitReached:
        limit, retry_seconds = name.decode(), retry_ms / MS_PER_SECOND
        if limit == "redis_memory":
            return memory_short(self._memory.read().limit_bytes, retry_seconds)
        value = self._limits()[limit]
        if limit.endswith("submissions_per_second"):
            return TooManySubmissions(value, limit=limit, scope=scope.decode(), retry_seconds=retry_seconds)
        return QueueFull(int(value), limit=limit, scope=scope.decode(), retry_seconds=retry_seconds)
