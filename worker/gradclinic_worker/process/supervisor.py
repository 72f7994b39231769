"""The supervisor of one job: fetches the artifacts, leases an executor, watches it, settles the attempt."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import time
from typing import TYPE_CHECKING

import gradclinic
from gradclinic.v1 import diagnosis_pb2, executor_pb2
from gradclinic_store import Standing
from gradclinic_store.errors import ArtifactNotFound, StoreFull, StoreUnavailable
from gradclinic_worker.process import exits, fetch, lease, pipe, replies, reports, request
from gradclinic_worker.process.heartbeat import Heartbeat
from gradclinic_worker.process.watch import Ending, Interrupted, Limits, Watch, timed_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradclinic_store import Attempt, Store
    from gradclinic_worker.settings import WorkerSettings

LEASE_LIMIT_SECONDS = 30.0
"""How long to wait for an executor: the zygote may be restarting, which takes seconds."""

SETTLE_LIMIT_SECONDS = 60.0
"""How long to try to store an outcome while the store does not answer."""

_SETTLE_RETRY_SECONDS = 0.5

_log = logging.getLogger(__name__)


class _Interrupt(Exception):
    """The run is over before an executor has it; carries the ending."""

    def __init__(self, ending: Ending) -> None:
        super().__init__()
        self.ending = ending


class Supervisor:
    """Owns one attempt: its clock, its record and its executor. Trusts nothing that the executor says."""

    def __init__(
        self, settings: WorkerSettings, store: Store, attempt: Attempt, sender: reports.ReportSender, drain: int
    ) -> None:
        """Take over a started attempt; the descriptor ``drain`` becomes readable when the worker must stop."""
        self._settings = settings
        self._store = store
        self._attempt = attempt
        self._sender = sender
        self._drain = drain
        self._spec = attempt.diagnosis.spec
        self._run_seconds = request.run_seconds(self._spec, settings.store.run_limit_seconds)
        self._deadline = time.monotonic() + self._run_seconds
        self._stage = diagnosis_pb2.DIAGNOSIS_STAGE_FETCH
        self._stage_since = time.monotonic()
        self._stage_seconds: dict[str, float] = {}

    def supervise(self) -> None:
        """Fetch, run, settle."""
        with Heartbeat(self._attempt, self._sender, self._settings.store.lease_seconds) as heartbeat:
            try:
                ending = self._run(heartbeat)
            except _Interrupt as interrupt:
                ending = interrupt.ending
            except (StoreUnavailable, StoreFull):
                raise  # nothing can be written down: the reaper gives the job to another worker
            except Exception:  # noqa: BLE001 - the job boundary: a defect of ours must not end in silence
                _log.exception("the supervisor met a defect diagnosis=%s", self._attempt.diagnosis.id)
                ending = _defect()
            if isinstance(ending, diagnosis_pb2.DiagnosisResult):
                self._enter(heartbeat, diagnosis_pb2.DIAGNOSIS_STAGE_STORE, 1.0)
            outcome = self._settle(ending, heartbeat.standing)
        self._leave_stage()
        self._sender.send(reports.StagesTimed(self._stage_seconds))
        self._sender.send(reports.JobSettled(outcome))
        _log.info("job settled diagnosis=%s outcome=%s", self._attempt.diagnosis.id, outcome)

    # Run

    def _run(self, heartbeat: Heartbeat) -> Ending:
        if not request.runs_on(self._spec, self._settings.device_kind):
            return _wrong_device(self._spec.device, self._settings.executor.device)
        with contextlib.ExitStack() as cleanup:
            attachments = self._fetch(heartbeat, cleanup)
            fetch_seconds = time.monotonic() - self._stage_since
            try:
                held = lease.acquire(
                    self._settings.executor.zygote_socket,
                    LEASE_LIMIT_SECONDS,
                    lambda: self._interruption(heartbeat) is None,
                )
            except lease.NoExecutor as error:
                return self._interruption(heartbeat) or exits.Lost(str(error))
            cleanup.callback(held.close)
            ending = self._ask(held, attachments, heartbeat)
            if isinstance(ending, diagnosis_pb2.DiagnosisResult):
                return replies.attest(ending, held.grant, gradclinic.__version__, fetch_seconds)
            return ending

    def _ask(
        self, held: lease.ExecutorLease, attachments: dict[executor_pb2.Attachment.ValueType, int], heartbeat: Heartbeat
    ) -> Ending:
        """Hand the job to an executor and watch it."""
        message = executor_pb2.ExecutorRequest(
            diagnosis_id=self._attempt.diagnosis.id, spec=self._spec, attachments=list(attachments)
        )
        message.spec.timeout.FromNanoseconds(round(self._run_seconds * 1e9))
        with contextlib.suppress(pipe.PipeClosed):  # it has died; the watch finds out how
            pipe.send(held.pipe, message.SerializeToString(), tuple(attachments.values()))
        held.pipe.settimeout(0.0)
        cpu_seconds = self._settings.executor.cpu_limit_seconds
        limits = Limits(self._deadline, self._run_seconds, cpu_seconds, (heartbeat.fileno(), self._drain))
        watch = Watch(held, limits, lambda stage, progress: self._enter(heartbeat, stage, progress))
        ending = watch.until_the_end()
        if watch.violated:
            self._sender.send(reports.SandboxViolated(watch.violated))
        if isinstance(ending, diagnosis_pb2.Failure) and ending.reason == diagnosis_pb2.FAILURE_REASON_INTERNAL:
            _log.error("the executor met a defect diagnosis=%s stderr=%s", self._attempt.diagnosis.id, watch.printed)
        return ending

    def _interruption(self, heartbeat: Heartbeat) -> Ending | None:
        """Why the run should stop before an executor has it, if it should."""
        if heartbeat.standing is not Standing.ALIVE or _is_readable(self._drain):
            return Interrupted()
        return timed_out(self._run_seconds) if time.monotonic() > self._deadline else None

    # Fetch

    def _fetch(
        self, heartbeat: Heartbeat, cleanup: contextlib.ExitStack
    ) -> dict[executor_pb2.Attachment.ValueType, int]:
        """Bring each artifact of the request into a sealed memory file; ``cleanup`` closes them."""

        def stop_if_over() -> None:
            if ending := self._interruption(heartbeat):
                raise _Interrupt(ending)

        descriptors = {}
        wanted = request.wanted_artifacts(self._spec)
        reader = fetch.Reader(self._store.artifacts, stop_if_over, lambda: self._interruption(heartbeat) is not None)
        try:
            reader.take_small([sha256 for _, sha256, _ in wanted])
            for attachment, sha256, field in wanted:
                name = executor_pb2.Attachment.Name(attachment).lower()
                try:
                    descriptor = reader.sealed(name, sha256)
                except ArtifactNotFound as error:
                    raise _Interrupt(_artifact_lost(sha256, field)) from error
                cleanup.callback(os.close, descriptor)
                descriptors[attachment] = descriptor
        except StoreUnavailable as error:  # no fault of the diagnosis: it waits for a worker that can read
            _log.warning("the artifacts cannot be read diagnosis=%s: %s", self._attempt.diagnosis.id, error)
            raise _Interrupt(Interrupted()) from error
        return descriptors

    # Settle

    def _settle(self, ending: Ending, standing: Standing) -> str:
        """Store what became of the run; answers with the outcome's name for the metrics."""
        if standing is Standing.CANCELLED:
            return "cancelled"
        if standing is Standing.FENCED:
            return "fenced"
        match ending:
            case diagnosis_pb2.DiagnosisResult():
                kept = persist(lambda: self._attempt.succeed(ending))
                return "succeeded" if kept else "fenced"
            case diagnosis_pb2.Failure():
                kept = persist(lambda: self._attempt.fail(ending))
                return "failed" if kept else "fenced"
            case Interrupted():
                kept = persist(self._attempt.give_back)  # refused where a cancel was the reason to stop
                return "given_back" if kept else self._attempt.renew().value
            case exits.Lost():  # left alone: its lease runs out, and the reaper counts it and queues it again
                _log.warning("the run was lost diagnosis=%s: %s", self._attempt.diagnosis.id, ending.message)
                return "lost"

    # Stages

    def _enter(self, heartbeat: Heartbeat, stage: diagnosis_pb2.DiagnosisStage.ValueType, progress: float) -> None:
        if stage != self._stage:
            self._leave_stage()
            self._stage = stage
        heartbeat.enter(stage, progress)

    def _leave_stage(self) -> None:
        now = time.monotonic()
        name = diagnosis_pb2.DiagnosisStage.Name(self._stage).removeprefix("DIAGNOSIS_STAGE_").lower()
        self._stage_seconds[name] = self._stage_seconds.get(name, 0.0) + now - self._stage_since
        self._stage_since = now


def persist(write: Callable[[], bool]) -> bool:
    """Write to the store, also while it does not answer or is full for a while.

    Raises:
        StoreUnavailable: It did not answer for too long.
        StoreFull: It was full for too long.
    """
    give_up_at = time.monotonic() + SETTLE_LIMIT_SECONDS
    while True:
        try:
            return write()
        except (StoreUnavailable, StoreFull) as error:
            if time.monotonic() > give_up_at:
                raise
            _log.warning("the outcome could not be stored yet: %s", error)
            time.sleep(_SETTLE_RETRY_SECONDS)


def _is_readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def _artifact_lost(sha256: str, field: str) -> diagnosis_pb2.Failure:
    return diagnosis_pb2.Failure(
        reason=diagnosis_pb2.FAILURE_REASON_ARTIFACT_LOST,
        message=f"The bytes of the artifact {sha256} are no longer stored, or were changed. Upload the artifact again "
        "and repeat the request.",
        field=field,
    )


def _defect() -> diagnosis_pb2.Failure:
    return diagnosis_pb2.Failure(
        reason=diagnosis_pb2.FAILURE_REASON_INTERNAL,
        message="The supervisor met a defect of gradclinic; it is logged on the worker.",
    )


def _wrong_device(asked: str, device: str) -> diagnosis_pb2.Failure:
    return diagnosis_pb2.Failure(
        reason=diagnosis_pb2.FAILURE_REASON_DEVICE_UNAVAILABLE,
        message=f"The diagnosis asks for {asked}, and the worker that got it has {device}.",
        field="spec.device",
    )
