"""The job queue. The only file that knows rq: what it would do by default, and what is done instead.

A job is a ticket: one function by name and the ticket's own name, as JSON. rq carries it to a worker process, forks the
horse and watches it; which diagnosis the ticket is good for is decided when it is shown, by whose turn it then is.
"""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import importlib
import logging
import os
import signal
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import redis
from rq import Queue, Worker
from rq.command import send_stop_job_command
from rq.exceptions import InvalidJobOperation, NoSuchJobError, StopRequested
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.timeouts import JobTimeoutException, UnixSignalDeathPenalty
from rq.worker import WorkerStatus

from gradclinic_store.blobs import warm
from gradclinic_store.connection import Connection
from gradclinic_store.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from rq.registry import StartedJobRegistry

    from gradclinic_store.settings import StoreSettings

JOB_FUNCTION = "gradclinic_worker.job.run"  # the one function that a job may name
QUEUE_PREFIX = "gradclinic:"
DEVICE_KINDS = ("cpu", "cuda")
QUEUE_NAMES = tuple(QUEUE_PREFIX + kind for kind in DEVICE_KINDS)
WAITING_KEY = "gradclinic:waiting:"

WATCH_EVERY_SECONDS = 5  # how often the parent looks at a running horse
WORKER_TTL_SECONDS = 30  # an idle worker gives a sign of life this often, less 15 s
HEARTBEAT_TTL_SECONDS = 20
BACKSTOP_SECONDS = 30  # after the supervisor should have ended the run, the parent ends the supervisor
FAILED_JOB_TTL_SECONDS = 300
HORSE_GRACE_SECONDS = 2.0  # between asking a horse to stop and killing it
WORKER_PATIENCE_SECONDS = 30.0  # an rq worker ends when Redis stays away longer
FAREWELL_SECONDS = 1.0  # how long a worker that ends waits for a Redis that is away, to say so
HEARTBEAT_EVERY_SECONDS = 1.0  # at most, around jobs; an idle worker gives one per `WORKER_TTL_SECONDS` - 15
POPPED_GRACE_SECONDS = 15.0  # a worker that lives shows a ticket long before
FLEET_KNOWN_SECONDS = 1.0  # how long it is not asked again which kinds of workers there are
REDIS_AWAY = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)
PR_SET_PDEATHSIG = 1
_of_this_worker: list[Connection] = []
_LIBC = ctypes.CDLL(None, use_errno=True)

_log = logging.getLogger(__name__)


class ForbiddenFunction(Exception):
    """A job names a function that is not allowed: somebody else writes to this Redis."""


class DiagnosisJob(Job):
    """A job that can only ever call `JOB_FUNCTION` with one name."""

    @property
    def func(self) -> Callable[[str], None]:
        """The function, checked against the allow-list before anything is imported."""
        if self.func_name != JOB_FUNCTION or self.instance is not None or self.kwargs or len(self.args) != 1:
            raise ForbiddenFunction(f"job {self.id} asks for {self.func_name!r}; only {JOB_FUNCTION!r} is allowed")
        return job_function()


class NoAlarmInJobs(UnixSignalDeathPenalty):
    """rq's alarm, but never inside a job: an exception from a signal cannot stop C++, and could hit our own code."""

    def __init__(self, timeout: float, exception: type[Exception], **options: Any) -> None:
        super().__init__(timeout, exception, **options)  # type: ignore[no-untyped-call]  # rq's
        self._off = exception is JobTimeoutException

    def setup_death_penalty(self) -> None:
        """Set the alarm, unless a job is what it would interrupt."""
        if not self._off:
            super().setup_death_penalty()  # type: ignore[no-untyped-call]  # rq's

    def cancel_death_penalty(self) -> None:
        """Take the alarm off, if there is one."""
        if not self._off:
            super().cancel_death_penalty()  # type: ignore[no-untyped-call]  # rq's


class JobQueue:
    """What waits for a worker, by queue name (`gradclinic:cpu`, `gradclinic:cuda`)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._fleet = Fleet(connection)
        self._queues: dict[str, Any] = {}  # by name
        self._last_served: list[str] = []
        self._popped: dict[str, dict[bytes, float]] = {}  # by queue: tickets taken and not shown, since when; monotonic
        self._look_again_at = 0.0  # monotonic

    def call(self, queue: str, tickets: int = 1) -> None:
        """Call workers to what waits in a queue: one for each ticket."""
        lined_up = self._queue(queue)
        with self._connection.translated(), self._connection.client.pipeline(transaction=False) as pipeline:
            for _ in range(tickets):
                ticket = f"{queue.removeprefix(QUEUE_PREFIX)}-{uuid.uuid4().hex}"
                job = lined_up.create_job(
                    JOB_FUNCTION,
                    args=(ticket,),
                    job_id=ticket,
                    description=ticket,
                    timeout=round(self._connection.settings.run_limit_seconds) + BACKSTOP_SECONDS,
                    result_ttl=0,
                    failure_ttl=FAILED_JOB_TTL_SECONDS,
                    status=JobStatus.QUEUED,
                )
                job.origin = queue
                job.save(pipeline)
                lined_up.push_job_id(ticket, pipeline)  # after the job: a worker that takes the ticket finds it
            pipeline.execute()

    def call_off(self, queue: str, tickets: int = 1) -> None:
        """Take tickets back, as far as no worker has them; it does not matter which."""
        taken = self._connection.do(lambda client: client.rpop(self._queue(queue).key, tickets))
        if taken:
            self._connection.do(lambda client: client.delete(*(Job.key_for(ticket.decode()) for ticket in taken)))

    def tickets(self, queue: str) -> int:
        """Return how many tickets are there to be taken."""
        return int(self._connection.do(lambda client: client.llen(self._queue(queue).key)))

    def settle(self, queue: str, grace_seconds: float = 0.0) -> int:
        """Call workers where tickets were lost, and take surplus ones back; returns how many were missing.

        Tickets are missing when a process died between a record and its ticket, or after it had taken one, and where
        a tenant had as many running as it may when a ticket was shown. Surplus ones were left by what expired.
        """
        settings = self._connection.settings
        missing, surplus = self._connection.run(
            "tickets", queue, self._queue(queue).key, settings.tenant_max_running, round(grace_seconds * 1000)
        )
        if missing:
            self.call(queue, missing)
        if surplus:
            self.call_off(queue, surplus)
        self._forget_popped(queue)
        return int(missing)

    def stop(self, ticket: str) -> None:
        """Tell the worker that runs a ticket to stop: fire and forget, the attempt's `renew` is what is certain."""
        if not ticket:  # it was started out of turn
            return
        try:
            with self._connection.translated():
                send_stop_job_command(self._connection.client, ticket, JSONSerializer)
        except (NoSuchJobError, InvalidJobOperation):
            _log.debug("no worker runs %s; nothing to stop", ticket)

    def names(self) -> list[str]:
        """Return the names of all queues."""
        return list(QUEUE_NAMES)

    def depth(self, queue: str) -> int:
        """Return how many diagnoses wait in a queue; changes nothing."""
        return int(self._connection.do(lambda client: client.zcard(WAITING_KEY + queue)))

    def oldest_age_seconds(self, queue: str) -> float:
        """Return how long the first in a queue has waited, 0 when none waits; changes nothing."""
        first = self._connection.do(lambda client: client.zrange(WAITING_KEY + queue, 0, 0, withscores=True))
        if not first:
            return 0.0
        seconds, microseconds = self._connection.do(lambda client: client.time())
        since_seconds = float(first[0][1]) / 1000
        return max(0.0, float(seconds) + float(microseconds) / 1e6 - since_seconds)

    def choose(self, device: str) -> str:
        """Return the queue for a device: its kind's, or for "" the shortest of those that have live workers."""
        if device:
            return QUEUE_PREFIX + device.partition(":")[0]
        served = self._served()
        if len(served) <= 1:
            return served[0] if served else QUEUE_NAMES[0]
        return min(served, key=self.depth)

    def serves(self, device: str) -> bool:
        """Return whether a live worker has a device of that kind."""
        return any(known.partition(":")[0] == device for known in self.live_devices())

    def live_devices(self) -> list[str]:
        """Return the devices of all live workers, each once."""
        return sorted({worker.device for worker in self._fleet.live()})

    def _forget_popped(self, queue: str) -> None:
        """Drop what rq notes of tickets that were taken and are good for nothing any more.

        Either their worker died before it showed them, and others were made in their place, or they stood in the list
        twice, since an answer was lost, and the first time has used them up.
        """
        key = self._queue(queue).intermediate_queue_key
        with self._connection.translated():
            client: Any = self._connection.client
            now, seen = time.monotonic(), self._popped.get(queue, {})
            self._popped[queue] = {ticket: seen.get(ticket, now) for ticket in client.lrange(key, 0, -1)}
            for ticket, since in self._popped[queue].items():
                job = Job.key_for(ticket.decode())
                if now - since > POPPED_GRACE_SECONDS or not client.exists(job):
                    client.lrem(key, 0, ticket)
                    client.delete(job)

    def _served(self) -> list[str]:
        """Return the queues that live workers take from, as of a moment ago."""
        now = time.monotonic()
        if now >= self._look_again_at:
            kinds = {worker.device.partition(":")[0] for worker in self._fleet.live()}
            self._last_served = [QUEUE_PREFIX + kind for kind in DEVICE_KINDS if kind in kinds]
            self._look_again_at = now + (FLEET_KNOWN_SECONDS if kinds else 0.0)
        return self._last_served

    def _queue(self, name: str) -> Any:
        if name not in self._queues:
            self._queues[name] = Queue(
                name, connection=self._connection.client, job_class=DiagnosisJob, serializer=JSONSerializer
            )
        return self._queues[name]


class HorseWorker(Worker):
    """rq's forking worker with short heartbeats, horses that die with it, and a bounded end."""

    def __init__(self, *arguments: Any, drain_seconds: float, hurry: Callable[[float], None], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._drain_seconds = drain_seconds
        self._hurry = hurry
        self._next_heartbeat = 0.0

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:  # noqa: ARG002 - rq's signature
        """Return how long a running job counts as alive, in seconds, without rq's fixed extra minute."""
        return HEARTBEAT_TTL_SECONDS

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Give a sign of life; rq would send three commands, several times around each job."""
        if pipeline is not None:
            super().heartbeat(timeout, pipeline)
        elif time.monotonic() >= self._next_heartbeat:
            self._next_heartbeat = time.monotonic() + HEARTBEAT_EVERY_SECONDS
            with self.connection.pipeline(transaction=False) as commands:
                super().heartbeat(timeout, commands)
                commands.execute()

    def check_for_suspension(self, burst: bool) -> None:  # noqa: FBT001 - rq's signature
        """Leave rq's switch alone: a worker is paused by stopping it."""

    def set_state(self, state: str, pipeline: Any = None) -> None:
        """Remember whether a job runs; only rq's own tools would read it in Redis, the fleet says more."""
        if pipeline is not None:
            super().set_state(state, pipeline)
        self._state = state

    def prepare_execution(self, job: Job) -> Execution:
        """Note who runs a job, for those who stop it. What else rq would keep is for its retries: ours have a lease."""
        execution = Execution(uuid.uuid4().hex, job.id, self.connection, self.name)
        self.executions[execution.id] = execution
        self.set_state(WorkerStatus.BUSY)  # so that a stop waits for the horse
        with self.connection.pipeline(transaction=False) as pipeline:
            job.prepare_for_execution(self.name, pipeline)
            pipeline.expire(job.key, round(job.timeout or 0) + BACKSTOP_SECONDS)  # if no process is left to delete it
            pipeline.lrem(Queue(job.origin, connection=self.connection).intermediate_queue_key, 1, job.id)
            pipeline.execute()
        return execution

    def prepare_job_execution(self, job: Job, remove_from_intermediate_queue: bool = False) -> None:  # noqa: FBT001, FBT002 - rq's signature
        """Leave it to `prepare_execution`, before the fork: a horse connects to Redis for its diagnosis alone."""

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """Run in the horse: die with the parent, then do as rq does."""
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self.pid:  # it died in between
            os._exit(1)
        super().main_work_horse(job, queue)

    def handle_execution_ended(self, job: Job, queue: Queue, heartbeat_ttl: int) -> None:  # noqa: ARG002 - rq's signature
        """Note the end, without rq's last sign of life: the job is forgotten right after."""
        job.ended_at = datetime.now(UTC)

    def handle_job_success(
        self,
        job: Job,
        queue: Queue,  # noqa: ARG002 - rq's signature
        started_job_registry: StartedJobRegistry,  # noqa: ARG002 - rq's signature
        execution: Execution,  # noqa: ARG002 - rq's signature
    ) -> None:
        """Forget the job: it has no result, no dependents and no repeats in rq, which would look for each of them."""
        self.connection.delete(job.key)

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """Ask the horse to stop by SIGTERM; what is left of its process group is killed a moment later."""
        horse = self.horse_pid
        if horse == 0:
            return
        if os.getpgid(horse) == os.getpgrp():  # it is so young that it still stands in our own group
            os.kill(horse, signal.SIGKILL)
            return
        if sig != signal.SIGKILL:
            super().kill_horse(sig)
            return
        super().kill_horse(signal.SIGTERM)
        threading.Thread(target=self._kill_later, args=(horse,), daemon=True).start()

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Take no new job; a running one has `drain_seconds`, then it is asked to give back."""
        if self.horse_pid:
            threading.Thread(target=self._stop_later, args=(self.horse_pid,), daemon=True).start()
        else:
            self._hurry(FAREWELL_SECONDS)
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]  # rq's

    def wait_for_horse(self) -> Any:
        """Wait until the horse has ended; a worker that stops then no longer waits long for Redis."""
        ended = super().wait_for_horse()
        if self._stop_requested:
            self._hurry(FAREWELL_SECONDS)
        return ended

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:  # noqa: ARG002 - rq's signature
        """Give a sign of life while a job runs; where Redis does not take it, the horse still runs."""
        try:
            self.heartbeat()
        except REDIS_AWAY as error:
            _log.warning("no sign of life could be given for %s: %s", job.id, error)

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Fork a horse and see it through; a worker that stops does not wait for Redis to note its end."""
        try:
            super().execute_job(job, queue)
        except REDIS_AWAY as error:
            if not self._stop_requested:
                raise
            raise StopRequested from error

    def set_shutdown_requested_date(self) -> None:
        """Leave out what nobody reads: rq would wait for Redis here, inside the signal's handler."""

    def teardown(self) -> None:
        """Take leave of Redis, if it listens."""
        self._hurry(FAREWELL_SECONDS)
        try:
            super().teardown()  # type: ignore[no-untyped-call]  # rq's
        except REDIS_AWAY as error:
            _log.warning("the queue was left without a word: %s", error)

    def _stop_later(self, horse: int) -> None:
        deadline = time.monotonic() + self._drain_seconds
        while self.horse_pid == horse:
            if time.monotonic() >= deadline:
                self.kill_horse()
                self._hurry(HORSE_GRACE_SECONDS + FAREWELL_SECONDS)
                return
            time.sleep(0.1)

    def _kill_later(self, horse: int) -> None:
        time.sleep(HORSE_GRACE_SECONDS)
        if self.horse_pid == horse:
            super().kill_horse(signal.SIGKILL)


def job_function() -> Callable[[str], None]:
    """Return the one allowed function, importing its module."""
    module, _, name = JOB_FUNCTION.rpartition(".")
    function: Callable[[str], None] = getattr(importlib.import_module(module), name)
    return function


def connection_of_job(settings: StoreSettings) -> Connection:
    """Return what a job may talk to the store with: in a horse, rq's connection, so that it needs no second one."""
    for connection in _of_this_worker:
        connection.use_in_job(settings.patience_seconds)
        return connection
    return Connection(settings)


def work(settings: StoreSettings, queue_name: str, worker_id: str, *, drain_seconds: float = 30.0) -> None:
    """Run this process as an rq worker on one queue until SIGTERM or SIGINT: fork a horse per job, one at a time.

    In the horse, SIGTERM means: give the diagnosis back (or stop, when it was cancelled) and leave within 2 s.
    The job function is imported here, before any fork; it must import neither torch nor grpc.
    """
    job_function()
    connection = Connection(dataclasses.replace(settings, patience_seconds=WORKER_PATIENCE_SECONDS))
    connection.warm()
    warm(settings.blob_url)
    _of_this_worker[:] = [connection]
    queue = Queue(queue_name, connection=connection.client, job_class=DiagnosisJob, serializer=JSONSerializer)
    worker = HorseWorker(
        [queue],
        name=worker_id,
        connection=connection.client,
        job_class=DiagnosisJob,
        serializer=JSONSerializer,
        worker_ttl=WORKER_TTL_SECONDS,
        job_monitoring_interval=WATCH_EVERY_SECONDS,
        log_job_description=False,
        drain_seconds=drain_seconds,
        hurry=connection.hurry,
    )
    worker.death_penalty_class = NoAlarmInJobs
    worker.log_result_lifespan = False
    gc.freeze()  # so that a collection in a horse does not copy the parent's memory
    worker.work(logging_level="WARNING")


def queue_of(ticket: str) -> str:
    """Return the queue that a ticket was taken from."""
    return QUEUE_PREFIX + ticket.partition("-")[0]
