"""The zygote: has imported torch, holds no credential, forks executors ahead of time and hands them out one by one."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from gradclinic_engine.torchscript import vetting_policy
from gradclinic_worker.cage import prctl, sandbox
from gradclinic_worker.process import collector, executor, huge_pages, lease, pipe, reports
from gradclinic_worker.process.lease import ExitNotice, Grant

if TYPE_CHECKING:
    from gradclinic_worker.process.executor import Analyse
    from gradclinic_worker.settings import ExecutorSettings

READY_LIMIT_SECONDS = 180.0
"""How long a spare may take to become ready, before it is killed. Starting CUDA takes seconds, a cold one a minute."""

TICK_SECONDS = 1.0
_FIRST_BACKOFF_SECONDS = 0.2
_MAX_BACKOFF_SECONDS = 10.0
_MAX_REASON_CHARACTERS = 500
_STDERR_TAIL_BYTES = 8 * 2**10
_OWN_PIPE_TIMEOUT_SECONDS = 5.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Executor:
    """An executor as the zygote sees it."""

    pid: int
    pipe: socket.socket
    stderr: int
    forked_at: float  # monotonic, seconds
    grant: Grant | None = None  # None until it is ready
    leased_by: socket.socket | None = None
    refused: bool = False  # it has said itself why it cannot become ready
    released: bool = False  # it has answered


class Zygote:
    """One thread, one loop: leases come in, executors go out, the dead are reaped and reported."""

    def __init__(
        self, settings: ExecutorSettings, listener: socket.socket, sender: reports.ReportSender, analyse: Analyse
    ) -> None:
        """Listen on a bound SEQPACKET socket; ``analyse`` is what executors run."""
        self._settings = settings
        self._listener = listener
        self._sender = sender
        self._analyse = analyse
        self._executors: dict[int, _Executor] = {}
        self._waiting: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._backoff_seconds = 0.0
        self._fork_not_before = 0.0
        self._stopped = False
        self._told: reports.ExecutorCount | None = None
        self._told_at = 0.0
        self._confinement = ""

    def serve(self) -> None:
        """Work until SIGTERM, then kill every executor."""
        wake_read, wake_write = socket.socketpair()
        wake_read.settimeout(0.0)
        wake_write.settimeout(0.0)
        signal.set_wakeup_fd(wake_write.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._listener.settimeout(0.0)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(wake_read, selectors.EVENT_READ, lambda: wake_read.recv(4096))
        allowed, denied = frozenset(self._settings.allowed_operators), frozenset(self._settings.denied_operators)
        vetting_policy.enforce(vetting_policy.OperatorPolicy(allowed, denied))
        executor.warm_up(self._analyse)
        sandbox.prepare()
        collector.settle()
        huge_pages.collapse()
        self._fork_spares()
        while not self._stopped:
            for key, _ in self._selector.select(self._pause_seconds()):
                key.data()
            self._reap()
            self._kill_the_stuck()
            self._grant_waiting()
            self._fork_spares()
            self._tell_count()
        signal.set_wakeup_fd(-1)
        for pid in self._executors:
            os.kill(pid, signal.SIGKILL)

    def _tell_count(self) -> None:
        """Say how many executors there are when that changes, and now and then as a sign of life."""
        count = reports.ExecutorCount(spare=len(self._ready()), leased=self._leased_count())
        if count != self._told or time.monotonic() - self._told_at >= TICK_SECONDS:
            self._told, self._told_at = count, time.monotonic()
            self._sender.send(count)

    def _stop(self, _signum: int, _frame: object) -> None:
        self._stopped = True

    def _pause_seconds(self) -> float:
        return max(0.01, min(TICK_SECONDS, self._fork_not_before - time.monotonic())) if self._backoff_seconds else 1.0

    def _ready(self) -> list[_Executor]:
        return [one for one in self._executors.values() if one.grant and not one.leased_by]

    def _leased_count(self) -> int:
        return sum(1 for one in self._executors.values() if one.leased_by)

    # Leases

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            connection, _ = self._listener.accept()
            connection.settimeout(0.0)
            self._waiting.append(connection)
            self._selector.register(connection, selectors.EVENT_READ, lambda: self._heard(connection))

    def _heard(self, connection: socket.socket) -> None:
        """A supervisor says that it is done, or has gone: then its executor must go too."""
        try:
            content = connection.recv(lease.MAX_NOTICE_BYTES)
        except OSError:
            content = b""
        mine = [one for one in self._executors.values() if one.leased_by is connection]
        if content == lease.RELEASED:
            for one in mine:
                one.released = True
            return
        for one in mine:
            os.kill(one.pid, signal.SIGKILL)
        self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        if connection in self._waiting:
            self._waiting.remove(connection)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection)
        connection.close()

    def _grant_waiting(self) -> None:
        for one in self._ready()[: len(self._waiting)]:
            connection = self._waiting.pop(0)
            one.leased_by = connection
            self._selector.unregister(one.pipe)
            pidfd = os.pidfd_open(one.pid)
            try:
                grant = one.grant.to_bytes() if one.grant else b""
                socket.send_fds(connection, [grant], [one.pipe.fileno(), pidfd, one.stderr])
            except OSError:
                _log.debug("a supervisor went before it got its executor pid=%d", one.pid)
                os.kill(one.pid, signal.SIGKILL)
            finally:
                os.close(pidfd)
                one.pipe.close()
                os.close(one.stderr)

    # Executors

    def _fork_spares(self) -> None:
        if time.monotonic() < self._fork_not_before:
            return
        spares = len(self._executors) - self._leased_count()
        for _ in range(self._settings.spare_executors - spares):
            self._fork()

    def _fork(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        stderr_read, stderr_write = os.pipe2(os.O_CLOEXEC)
        zygote_pid = os.getpid()
        pid = os.fork()
        if pid == 0:
            live_as_executor(theirs, stderr_write, zygote_pid, self._settings, self._analyse)
        theirs.close()
        os.close(stderr_write)
        os.set_blocking(stderr_read, False)
        one = _Executor(pid, ours, stderr_read, forked_at=time.monotonic())
        self._executors[pid] = one
        ours.settimeout(_OWN_PIPE_TIMEOUT_SECONDS)
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._became_ready(one))

    def _became_ready(self, one: _Executor) -> None:
        """A spare says that it is ready, or that it cannot be; until it has a job, what it says is our own code's."""
        try:
            content, _ = pipe.receive(one.pipe)
        except (pipe.PipeClosed, TimeoutError):
            self._selector.unregister(one.pipe)
            return
        message = json.loads(content)
        if "error" in message:
            one.refused = True
            _log.error("an executor cannot be made ready: %s", message["error"])
            self._sender.send(reports.ExecutorUnusable(message["error"][:_MAX_REASON_CHARACTERS]))
            return
        self._tell_confinement(message.pop("confinement"))
        one.grant = Grant(pid=one.pid, torch_version=torch.__version__, **message)
        self._backoff_seconds = 0.0
        self._sender.send(reports.ExecutorReady(one.grant.device, torch.__version__, one.grant.sandbox_level))

    def _tell_confinement(self, confinement: str) -> None:
        """Say once how executors are confined, and loudly where it is less than was asked for."""
        if confinement != self._confinement:
            self._confinement = confinement
            weaker = not confinement.startswith(f"{self._settings.sandbox} ")
            _log.log(logging.WARNING if weaker else logging.INFO, "executors are confined at level %s", confinement)

    def _reap(self) -> None:
        while self._executors:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            one = self._executors.pop(pid)
            cpu_seconds = usage.ru_utime + usage.ru_stime
            notice = ExitNotice(os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024, cpu_seconds)
            if one.leased_by:
                self._tell_end(one, one.leased_by, notice)
            else:
                self._lost_spare(one, notice)

    def _tell_end(self, one: _Executor, connection: socket.socket, notice: ExitNotice) -> None:
        name = "none" if one.released else notice.signal_name
        self._sender.send(reports.ExecutorExited(name, notice.peak_rss_bytes))
        with contextlib.suppress(OSError):
            connection.send(notice.to_bytes())
        self._drop(connection)

    def _lost_spare(self, one: _Executor, notice: ExitNotice) -> None:
        printed = b""
        with contextlib.suppress(BlockingIOError):
            printed = os.read(one.stderr, _STDERR_TAIL_BYTES)
        _log.warning(
            "a spare executor ended before it had a job pid=%d exit_code=%d stderr=%r",
            one.pid,
            notice.exit_code,
            printed,
        )
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(one.pipe)
        one.pipe.close()
        os.close(one.stderr)
        if one.grant is None:  # it fails at its start, and the next one may too
            if not one.refused:
                self._sender.send(reports.ExecutorUnusable(f"exit code {notice.exit_code}, see the log"))
            doubled = max(_FIRST_BACKOFF_SECONDS, 2 * self._backoff_seconds)
            self._backoff_seconds = min(doubled, _MAX_BACKOFF_SECONDS)
            self._fork_not_before = time.monotonic() + self._backoff_seconds

    def _kill_the_stuck(self) -> None:
        for one in self._executors.values():
            if one.grant is None and time.monotonic() - one.forked_at > READY_LIMIT_SECONDS:
                _log.error("a spare executor did not become ready in %g s pid=%d", READY_LIMIT_SECONDS, one.pid)
                os.kill(one.pid, signal.SIGKILL)


def live_as_executor(
    job_pipe: socket.socket, stderr: int, zygote_pid: int, settings: ExecutorSettings, analyse: Analyse
) -> None:
    """Be an executor, from right after the fork to the end of this process. Never returns."""
    try:
        _become_executor(job_pipe, stderr, zygote_pid)
        try:
            limits = sandbox.Limits(settings.memory_limit_bytes, settings.cpu_limit_seconds, cuda=settings.cuda)
            confining = sandbox.Confining(settings.sandbox, limits)
            device = executor.initialise_device(settings, analyse)
            title = executor.device_title(device)
            confinement = confining.finish(zygote_pid)
            sandbox.require(settings.required_sandbox, confinement)
        except (RuntimeError, OSError, sandbox.TooWeak) as error:
            pipe.send(job_pipe, json.dumps({"error": f"{settings.device}: {error}"}).encode())
            os._exit(1)
        ready = {"device": title, "sandbox_level": confinement.level.value, "confinement": str(confinement)}
        pipe.send(job_pipe, json.dumps(ready).encode())
        executor.run_one_job(job_pipe, analyse, device)
    except pipe.PipeClosed:
        os._exit(1)
    except BaseException:  # noqa: BLE001 - a fork must never return into its parent's loop
        _log.exception("an executor failed outside of its job")
        os._exit(1)
    os._exit(0)


def _become_executor(job_pipe: socket.socket, stderr: int, zygote_pid: int) -> None:
    signal.set_wakeup_fd(-1)
    for signum in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(signum, signal.SIG_DFL if signum != signal.SIGPIPE else signal.SIG_IGN)
    prctl.die_with_parent(zygote_pid)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.dup2(stderr, 2)
    sandbox.close_all_but({0, 1, 2, job_pipe.fileno()})
