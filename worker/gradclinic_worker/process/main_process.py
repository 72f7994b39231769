"""The worker's main process: starts zygote and queue process, keeps them alive, speaks for them, stops them."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import selectors
import signal
import socket
import time
from typing import TYPE_CHECKING

import gradclinic
from gradclinic.v1 import server_pb2
from gradclinic_store.errors import StoreUnavailable
from gradclinic_worker.cage import prctl
from gradclinic_worker.process import reports
from gradclinic_worker.process.child import Child, clean_environment, module_command
from gradclinic_worker.process.metrics import MetricsServer, WorkerMetrics
from gradclinic_worker.process.presence import Presence
from gradclinic_worker.process.workplace import workplace

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradclinic_worker.settings import WorkerSettings

ZYGOTE_COMMAND = module_command("gradclinic_worker.process.zygote_process")
# Threads of OpenMP that wait for work sleep instead of spinning: a core belongs to whoever has something to do.
QUIET_THREADS = {"OMP_WAIT_POLICY": "passive"}
QUEUE_COMMAND = module_command("gradclinic_worker.process.queue_process")

START_LIMIT_SECONDS = 200.0
"""How long the first executor may take to become ready; a cold CUDA machine needs its time."""

STORE_LIMIT_SECONDS = 30.0
"""How long to wait for Redis at the start."""

SILENCE_LIMIT_SECONDS = 60.0
"""A zygote that says nothing for so long hangs, and is killed."""

STOP_GRACE_SECONDS = 10.0
"""How long the queue process may take to stop beyond the drain."""

_TICK_SECONDS = 0.2
_ZYGOTE_STOP_SECONDS = 3.0
_STORE_RETRY_SECONDS = 0.5

_log = logging.getLogger(__name__)


class StartRefused(Exception):
    """The worker cannot start; the message says why and what to do."""


class MainProcess:
    """One worker. Everything that it starts dies with it, whatever it dies of."""

    def __init__(
        self, settings: WorkerSettings, ready: Callable[[str], None], zygote_command: tuple[str, ...] = ZYGOTE_COMMAND
    ) -> None:
        """Make a worker; ``ready`` is called with its device when it takes jobs."""
        self._settings = settings
        self._ready = ready
        self._zygote_command = zygote_command
        self._metrics = WorkerMetrics()
        self._state = server_pb2.LiveWorker(
            device=settings.executor.device, state="idle", version=gradclinic.__version__
        )
        self._zygote_heard_at = 0.0
        self._stop_signals = 0
        self._refusal = ""
        self._listening = False

    def run(self) -> None:
        """Work until SIGTERM or SIGINT, then drain.

        Raises:
            StartRefused: It cannot start.
        """
        prctl.adopt_orphans()
        prctl.hide_memory()
        with contextlib.ExitStack() as cleanup:
            directory = cleanup.enter_context(workplace())
            settings = with_sockets_in(self._settings, directory)
            receiver = reports.ReportReceiver(settings.executor.report_pipe)
            cleanup.callback(receiver.close)
            selector = cleanup.enter_context(selectors.DefaultSelector())
            selector.register(receiver, selectors.EVENT_READ, lambda: self._read(receiver))
            self._wake_on_signals(selector, cleanup)
            self._serve_metrics(cleanup)

            environment = {**QUIET_THREADS, **clean_environment()}
            zygote = Child("zygote", self._zygote_command, settings.executor.to_json(), environment)
            queue = Child("queue", QUEUE_COMMAND, settings.to_json(), dict(os.environ))
            zygote.start()
            cleanup.callback(lambda: zygote.stop(_ZYGOTE_STOP_SECONDS))
            self._await_first_executor(zygote, selector)
            presence = self._join_fleet(settings)
            cleanup.callback(presence.close)
            queue.start()
            cleanup.callback(lambda: queue.stop(settings.drain_seconds + STOP_GRACE_SECONDS))
            self._await(lambda: self._listening or queue.exit_code() is not None, selector, START_LIMIT_SECONDS)
            presence.start()
            self._ready(self._settings.executor.device)
            self._keep_alive(zygote, queue, selector)
            self._state.state = "draining"
            presence.changed()
            self._drain(queue, selector)
        _log.info("worker stopped worker=%s", self._settings.worker_id)

    # Start

    def _await_first_executor(self, zygote: Child, selector: selectors.BaseSelector) -> None:
        def settled() -> bool:
            return bool(self._state.torch_version or self._refusal) or zygote.exit_code() is not None

        self._await(settled, selector, START_LIMIT_SECONDS)
        device = self._settings.executor.device
        if self._stop_signals:
            raise StartRefused("stopped before it was ready")
        if self._refusal:
            raise StartRefused(f"no executor can be made ready: {self._refusal}")
        if zygote.exit_code() is not None:
            raise StartRefused(f"the zygote ended with exit code {zygote.exit_code()}; see the log above")
        if not self._state.torch_version:
            raise StartRefused(f"no executor became ready on {device} within {START_LIMIT_SECONDS:g} s")

    def _join_fleet(self, settings: WorkerSettings) -> Presence:
        give_up_at = time.monotonic() + STORE_LIMIT_SECONDS
        while True:
            try:
                presence = Presence(settings.store, settings.worker_id, lambda: self._state, self._store_reached)
            except StoreUnavailable as error:
                if time.monotonic() > give_up_at or self._stop_signals:
                    raise StartRefused(f"Redis does not answer: {error}. Check --redis.") from error
                _log.warning("waiting for Redis: %s", error)
                time.sleep(_STORE_RETRY_SECONDS)
            else:
                self._metrics.redis_up.set(1)
                return presence

    def _serve_metrics(self, cleanup: contextlib.ExitStack) -> None:
        where = self._settings.metrics_listen
        if where is None:
            return
        try:
            server = MetricsServer(self._metrics, where.host, where.port)
        except OSError as error:
            raise StartRefused(
                f"metrics cannot be served on {where}: {error}. "
                "Give each worker on a machine its own --metrics-listen, or `off`."
            ) from error
        cleanup.callback(server.close)
        _log.info("metrics are served host=%s port=%d", where.host, server.port)

    # Work

    def _keep_alive(self, zygote: Child, queue: Child, selector: selectors.BaseSelector) -> None:
        self._zygote_heard_at = time.monotonic()
        while not self._stop_signals:
            self._turn(selector)
            for child in (zygote, queue):
                if child.keep_alive():
                    self._zygote_heard_at = time.monotonic()
                    self._metrics.restarts.labels(child.name).inc()
            if not zygote.running:
                self._note(reports.ExecutorCount(spare=0, leased=0))
            elif time.monotonic() - self._zygote_heard_at > SILENCE_LIMIT_SECONDS:
                _log.error("the zygote hangs and is killed pid=%d", zygote.pid)
                self._zygote_heard_at = time.monotonic()
                zygote.send_signal(signal.SIGKILL)
            reap_adopted({zygote.pid, queue.pid})

    def _drain(self, queue: Child, selector: selectors.BaseSelector) -> None:
        """Let the queue process end its job, within the bound; a second signal ends it now."""
        _log.info("draining worker=%s seconds=%g", self._settings.worker_id, self._settings.drain_seconds)
        queue.send_signal(signal.SIGTERM)
        self._await(
            lambda: queue.exit_code() is not None or self._stop_signals > 1,
            selector,
            self._settings.drain_seconds + STOP_GRACE_SECONDS,
        )
        queue.send_signal(signal.SIGKILL)

    # Turns of the loop

    def _wake_on_signals(self, selector: selectors.BaseSelector, cleanup: contextlib.ExitStack) -> None:
        readable, writable = socket.socketpair()
        readable.settimeout(0.0)
        writable.settimeout(0.0)
        cleanup.enter_context(readable)
        cleanup.enter_context(writable)
        before = signal.set_wakeup_fd(writable.fileno(), warn_on_full_buffer=False)
        cleanup.callback(signal.set_wakeup_fd, before)
        for signum in (signal.SIGTERM, signal.SIGINT):
            cleanup.callback(signal.signal, signum, signal.signal(signum, self._stop))
        selector.register(readable, selectors.EVENT_READ, lambda: readable.recv(4096))

    def _stop(self, _signum: int, _frame: object) -> None:
        self._stop_signals += 1

    def _await(self, condition: Callable[[], bool], selector: selectors.BaseSelector, limit_seconds: float) -> None:
        stop_signals = self._stop_signals
        give_up_at = time.monotonic() + limit_seconds
        while not condition() and time.monotonic() < give_up_at and self._stop_signals == stop_signals:
            self._turn(selector)

    def _turn(self, selector: selectors.BaseSelector) -> None:
        for key, _ in selector.select(_TICK_SECONDS):
            key.data()

    def _read(self, receiver: reports.ReportReceiver) -> None:
        for report in receiver.receive():
            self._note(report)

    def _note(self, report: reports.Report) -> None:
        self._metrics.note(report)
        match report:
            case reports.ExecutorReady():
                self._state.torch_version = report.torch_version
                self._state.sandbox_level = report.sandbox_level
            case reports.ExecutorUnusable():
                self._refusal = report.message
            case reports.ExecutorCount():
                self._zygote_heard_at = time.monotonic()
                self._state.spare_executors = report.spare
                if self._state.state != "draining":
                    self._state.state = "busy" if report.leased else "idle"
            case reports.QueueListening():
                self._listening = True

    def _store_reached(self, reached: bool) -> None:  # noqa: FBT001 - the one thing it says
        self._metrics.note(reports.StoreReached(reached))


def with_sockets_in(settings: WorkerSettings, directory: str) -> WorkerSettings:
    """The settings with the sockets of this worker's processes in a directory that only its user may enter."""
    executor = dataclasses.replace(
        settings.executor,
        zygote_socket=os.path.join(directory, "zygote.sock"),  # noqa: PTH118 - sockets take text
        report_pipe=os.path.join(directory, "reports.pipe"),  # noqa: PTH118 - sockets take text
    )
    return dataclasses.replace(settings, executor=executor)


def reap_adopted(children: set[int]) -> None:
    """Collect descendants whose parents died before them; the children themselves are left to their owners."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in children:
            return
        os.waitpid(ended.si_pid, 0)
