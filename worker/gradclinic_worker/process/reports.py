"""What trusted children tell the main process: lines on a named pipe, dropped rather than waited for."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import select
from dataclasses import dataclass

MAX_REPORT_BYTES = select.PIPE_BUF
"""What the kernel writes to a pipe in one piece, so that reports of several children do not mix."""

PIPE_BYTES = 2**20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ExecutorCount:
    """How many executors the zygote has; also its sign of life."""

    spare: int  # ready for a job
    leased: int  # at work


@dataclass(frozen=True, slots=True)
class ExecutorReady:
    """A spare executor has become ready."""

    device: str  # as asked for, with the device's name where it has one
    torch_version: str
    sandbox_level: str


@dataclass(frozen=True, slots=True)
class ExecutorUnusable:
    """A spare executor could not be made ready."""

    message: str  # cut to fit into a report


@dataclass(frozen=True, slots=True)
class ExecutorExited:
    """An executor that had a job has ended."""

    signal: str  # `SIGSEGV`..., or `none`
    peak_rss_bytes: int


@dataclass(frozen=True, slots=True)
class StagesTimed:
    """How long a job was in each of its stages."""

    seconds: dict[str, float]  # by stage: `forward`...


@dataclass(frozen=True, slots=True)
class JobSettled:
    """A supervisor is done with a job."""

    outcome: str  # see supervisor.Outcome


@dataclass(frozen=True, slots=True)
class SandboxViolated:
    """An executor did what it must not."""

    layer: str  # `pipe`, `seccomp`


@dataclass(frozen=True, slots=True)
class StoreReached:
    """Whether the last word with Redis came through."""

    reached: bool


@dataclass(frozen=True, slots=True)
class QueueListening:
    """The queue process is about to take jobs."""


Report = (
    ExecutorCount
    | ExecutorReady
    | ExecutorUnusable
    | ExecutorExited
    | StagesTimed
    | JobSettled
    | SandboxViolated
    | StoreReached
    | QueueListening
)
_KINDS: dict[str, type[Report]] = {
    kind.__name__: kind
    for kind in (
        ExecutorCount,
        ExecutorReady,
        ExecutorUnusable,
        ExecutorExited,
        StagesTimed,
        JobSettled,
        SandboxViolated,
        StoreReached,
        QueueListening,
    )
}


class ReportSender:
    """A child's end. Never blocks and never raises: a lost report costs a number, a late one a job."""

    def __init__(self, path: str) -> None:
        """Open the pipe that a `ReportReceiver` made; where there is none, reports are dropped."""
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            _log.debug("no process reads reports: %s", error)

    def send(self, report: Report) -> None:
        """Tell the main process, if it listens."""
        if self._descriptor is None:
            return
        fields = {name: getattr(report, name) for name in report.__slots__}
        line = json.dumps({"kind": type(report).__name__, **fields}).encode() + b"\n"
        try:
            os.write(self._descriptor, line[:MAX_REPORT_BYTES])
        except OSError as error:
            _log.debug("a report was dropped: %s", error)

    def close(self) -> None:
        """Let go of the pipe."""
        if self._descriptor is not None:
            os.close(self._descriptor)


class ReportReceiver:
    """The main process's end."""

    def __init__(self, path: str) -> None:
        """Make the pipe."""
        os.mkfifo(path, 0o600)
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)  # for writing too: it never ends
        fcntl.fcntl(self._descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._partial = b""

    def fileno(self) -> int:
        """Descriptor to wait for."""
        return self._descriptor

    def receive(self) -> list[Report]:
        """The reports that have arrived."""
        try:
            content = self._partial + os.read(self._descriptor, PIPE_BYTES)
        except BlockingIOError:
            return []
        *lines, self._partial = content.split(b"\n")
        return [_parsed(line) for line in lines]

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self._descriptor)


def _parsed(line: bytes) -> Report:
    fields = json.loads(line)
    return _KINDS[fields.pop("kind")](**fields)
