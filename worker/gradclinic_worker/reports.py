"""What trusted children tell the main process: small datagrams on a unix socket, dropped rather than waited for."""

from __future__ import annotations

import dataclasses
import json
import logging
import socket
from dataclasses import dataclass

MAX_REPORT_BYTES = 64 * 2**10

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

    message: str


@dataclass(frozen=True, slots=True)
class ExecutorExited:
    """An executor that had a job has ended."""

    signal: str  # `SIGSEGV`..., or `none`
    peak_rss_bytes: int


@dataclass(frozen=True, slots=True)
class StageTimed:
    """A job has left a stage."""

    stage: str  # `forward`...
    seconds: float


@dataclass(frozen=True, slots=True)
class JobSettled:
    """A supervisor is done with a job."""

    outcome: str  # see supervisor.Outcome


@dataclass(frozen=True, slots=True)
class SandboxViolated:
    """An executor did what it must not."""

    layer: str  # `pipe`...


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
    | StageTimed
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
        StageTimed,
        JobSettled,
        SandboxViolated,
        StoreReached,
        QueueListening,
    )
}


class ReportSender:
    """A child's end. Never blocks and never raises: a lost report costs a number, a late one a job."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0.0)

    def send(self, report: Report) -> None:
        """Tell the main process, if it listens."""
        text = json.dumps({"kind": type(report).__name__, **dataclasses.asdict(report)})
        try:
            self._socket.sendto(text.encode(), self._path)
        except OSError as error:
            _log.debug("a report was dropped: %s", error)

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()


class ReportReceiver:
    """The main process's end."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.settimeout(0.0)

    def fileno(self) -> int:
        """Descriptor to wait for."""
        return self._socket.fileno()

    def receive(self) -> Report | None:
        """The next report that has arrived, or None."""
        try:
            fields = json.loads(self._socket.recv(MAX_REPORT_BYTES))
        except BlockingIOError:
            return None
        return _KINDS[fields.pop("kind")](**fields)

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
