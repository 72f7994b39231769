"""The supervisor's word with the store while a job runs: renews the lease, passes on progress, hears of a cancel."""

from __future__ import annotations

import logging
import socket
import threading
from typing import TYPE_CHECKING

from gradclinic_store import Standing
from gradclinic_store.errors import StoreFull, StoreUnavailable
from gradclinic_worker.process import reports

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from gradclinic.v1 import diagnosis_pb2
    from gradclinic_store import Attempt

INTERVAL_SECONDS = 1.0
"""How often the lease is renewed, and a cancel is heard of where the queue's word to stop was lost."""

PACE_SECONDS = 0.25
"""How long the store is left alone between two words: small jobs fly through stages faster than anybody reads."""

_JOIN_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Heartbeat:
    """A thread of its own, because a store that does not answer must not stop the supervisor's clock.

    Attributes:
        standing: Whether the attempt is still ours, as last heard.
    """

    def __init__(self, attempt: Attempt, sender: reports.ReportSender, lease_seconds: float) -> None:
        self.standing = Standing.ALIVE
        self._attempt = attempt
        self._sender = sender
        self._interval_seconds = interval_seconds(lease_seconds)
        self._entered: tuple[diagnosis_pb2.DiagnosisStage.ValueType, float] | None = None
        self._something_new = threading.Event()
        self._ended = threading.Event()
        self._reached = True  # as the main process last heard
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.settimeout(0.0)
        self._wake_write.settimeout(0.0)
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        """Start to beat."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop beating."""
        self._ended.set()
        self._something_new.set()
        self._thread.join(_JOIN_SECONDS)
        self._wake_write.close()
        self._wake_read.close()

    def fileno(self) -> int:
        """Descriptor that becomes readable when the attempt is no longer ours."""
        return self._wake_read.fileno()

    def enter(self, stage: diagnosis_pb2.DiagnosisStage.ValueType, progress: float) -> None:
        """Tell the store where the job is, soon. Of stages that fly by only the last one is told, or none."""
        self._entered = (stage, progress)
        self._something_new.set()

    def _beat(self) -> None:
        pace_seconds = min(PACE_SECONDS, self._interval_seconds)
        while not self._ended.wait(pace_seconds) and self.standing is Standing.ALIVE:
            self._something_new.wait(self._interval_seconds - pace_seconds)
            self._something_new.clear()
            if self._ended.is_set():
                return
            try:
                self.standing = self._speak()
                self._tell(reached=True)
            except (StoreUnavailable, StoreFull) as error:
                self._tell(reached=False)
                _log.warning("the lease could not be renewed diagnosis=%s: %s", self._attempt.diagnosis.id, error)
            if self.standing is not Standing.ALIVE:
                self._wake_write.send(b"!")

    def _tell(self, *, reached: bool) -> None:
        if reached != self._reached:
            self._reached = reached
            self._sender.send(reports.StoreReached(reached))

    def _speak(self) -> Standing:
        entered, self._entered = self._entered, None
        if entered is not None and self._attempt.progress(*entered):
            return Standing.ALIVE
        return self._attempt.renew()


def interval_seconds(lease_seconds: float) -> float:
    """How often a lease of that length is renewed: at least three times before it is over."""
    return min(INTERVAL_SECONDS, lease_seconds / 3)
