"""Handing an executor from the zygote to a supervisor: the messages, and the supervisor's end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

RELEASED = b"released"
"""The supervisor has its answer: what becomes of the executor now is of no interest."""

MAX_NOTICE_BYTES = 64 * 2**10
_RETRY_SECONDS = 0.05
_WAIT_SLICE_SECONDS = 0.1


class NoExecutor(Exception):
    """The zygote gave no executor in time: it is restarting, or its device fails."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The zygote's first message: which executor this is. Descriptors beside it: pipe, pidfd, stderr."""

    pid: int
    device: str
    torch_version: str
    sandbox_level: str

    def to_bytes(self) -> bytes:
        """As sent."""
        return json.dumps([self.pid, self.device, self.torch_version, self.sandbox_level]).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what `to_bytes` wrote."""
        return cls(*json.loads(content))


@dataclass(frozen=True, slots=True)
class ExitNotice:
    """The zygote's second message: how the executor ended."""

    exit_code: int  # as of os.waitstatus_to_exitcode: negative is a signal
    peak_rss_bytes: int
    cpu_seconds: float  # of all its threads, as the kernel has counted them

    @property
    def signal(self) -> int | None:
        """Number of the signal that ended it, or None."""
        return -self.exit_code if self.exit_code < 0 else None

    @property
    def signal_name(self) -> str:
        """Name of that signal; `SIG32` where it has none, `none` where there was no signal."""
        if self.signal is None:
            return "none"
        named = self.signal in signal.Signals.__members__.values()
        return signal.Signals(self.signal).name if named else f"SIG{self.signal}"

    def to_bytes(self) -> bytes:
        """As sent."""
        return json.dumps([self.exit_code, self.peak_rss_bytes, self.cpu_seconds]).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what `to_bytes` wrote."""
        return cls(*json.loads(content))


class ExecutorLease:
    """An executor while it is ours. The zygote kills it as soon as this end of the lease is closed.

    Attributes:
        grant: Which executor it is.
        pipe: Non-blocking end of the pipe to it.
        zygote: The lease's socket: readable when the executor has ended or the zygote has gone.
        stderr: Descriptor of what the executor prints, non-blocking.
    """

    def __init__(self, zygote: socket.socket, grant: Grant, pipe: socket.socket, pidfd: int, stderr: int) -> None:
        self.zygote = zygote
        self.grant = grant
        self.pipe = pipe
        self.stderr = stderr
        self._pidfd = pidfd
        os.set_blocking(stderr, False)

    def kill(self) -> None:
        """End the executor now, whatever it is doing."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def release(self) -> None:
        """Say that the executor has answered, so that its end is not counted as a crash."""
        with contextlib.suppress(OSError):
            self.zygote.send(RELEASED)

    def exit_notice(self) -> ExitNotice | None:
        """How the executor ended; None when the zygote has gone and nobody can tell.

        Call when ``zygote`` is readable.
        """
        try:
            content = self.zygote.recv(MAX_NOTICE_BYTES)
        except OSError:
            return None
        return ExitNotice.from_bytes(content) if content else None

    def close(self) -> None:
        """Give up the lease: the executor dies if it has not yet."""
        self.zygote.close()
        self.pipe.close()
        os.close(self._pidfd)
        os.close(self.stderr)


def acquire(socket_path: str, timeout_seconds: float, keep_waiting: Callable[[], bool]) -> ExecutorLease:
    """Ask the zygote for an executor, also while the zygote is being restarted.

    Args:
        socket_path: Where the zygote listens.
        timeout_seconds: How long to try.
        keep_waiting: Asked several times a second; False gives up.

    Raises:
        NoExecutor: None was to be had in time, or there is no need to wait any more.
    """
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline and keep_waiting():
        zygote = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            zygote.connect(socket_path)
            lease = _granted(zygote, deadline, keep_waiting)
        except OSError:
            lease = None
        if lease is not None:
            return lease
        zygote.close()
        time.sleep(_RETRY_SECONDS)
    raise NoExecutor(f"no executor was ready within {timeout_seconds:g} s")


def _granted(zygote: socket.socket, deadline: float, keep_waiting: Callable[[], bool]) -> ExecutorLease | None:
    """Wait for the grant on a connected socket; None if the zygote goes away or time is up."""
    zygote.settimeout(_WAIT_SLICE_SECONDS)
    while time.monotonic() < deadline and keep_waiting():
        try:
            content, descriptors, _, _ = socket.recv_fds(zygote, MAX_NOTICE_BYTES, 3)
        except TimeoutError:
            continue
        if not content:
            return None
        pipe_descriptor, pidfd, stderr = descriptors
        pipe = socket.socket(fileno=pipe_descriptor)
        zygote.settimeout(0.0)
        return ExecutorLease(zygote, Grant.from_bytes(content), pipe, pidfd, stderr)
    return None
