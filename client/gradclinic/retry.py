"""When a call is tried again, and how long it may take in all."""

from __future__ import annotations

import random
import time
from typing import Final

from gradclinic.errors import DeadlineExceeded, LimitExceeded, ServerError, ServiceUnavailable

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 3.0
_SLACK_SECONDS: Final = 0.05  # gRPC's timer may fire this much before ours

CALL_OUTAGE_SECONDS: Final = 5.0  # how long a call keeps trying to reach the service
WATCH_OUTAGE_SECONDS: Final = 60.0  # how long a watch that has once begun does


class Deadline:
    """A moment until which something has to be done."""

    def __init__(self, seconds: float | None) -> None:
        """``seconds`` from now; None: no limit."""
        self._end = None if seconds is None else time.monotonic() + seconds

    def remaining_seconds(self, at_most: float) -> float:
        """What is left, not below zero and not above ``at_most``."""
        return at_most if self._end is None else max(0.0, min(at_most, self._end - time.monotonic()))

    @property
    def passed(self) -> bool:
        """Whether nothing worth another try is left."""
        return self._end is not None and time.monotonic() >= self._end - _SLACK_SECONDS


class Backoff:
    """Says how long to pause after an error: only when a later try can succeed, and not for ever.

    While the service is unavailable, pauses grow by two with jitter, so that many
    clients do not come back at once; a RetryInfo of the service is honoured.
    A limit that says when to come back is waited for, for as long as a call may take.
    """

    def __init__(self, deadline: Deadline, limit_seconds: float) -> None:
        """``limit_seconds``: how long to wait for limits in all, before something comes through."""
        self._deadline = deadline
        self._limit_seconds = limit_seconds
        self.restart()

    def restart(self, outage_seconds: float = CALL_OUTAGE_SECONDS) -> None:
        """Forgets the errors so far, because something came through."""
        self._outage_seconds = outage_seconds
        self._outage: Deadline | None = None
        self._limited: Deadline | None = None
        self._next_seconds = _FIRST_PAUSE_SECONDS

    def pause_seconds(self, error: ServerError) -> float:
        """How long to pause before the next try.

        Raises:
            ServerError: the error itself, when it makes no sense to try again or no time is left.
        """
        if isinstance(error, LimitExceeded):
            return self._limit_pause_seconds(error)
        if not isinstance(error, ServiceUnavailable):
            raise error
        pause = self._next_seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing
        self._next_seconds = min(2 * self._next_seconds, _LONGEST_PAUSE_SECONDS)
        if error.retry_after_seconds is not None:
            pause = max(pause, error.retry_after_seconds)
        self._outage = self._outage or Deadline(self._outage_seconds)
        return self._within(self._outage, pause, error)

    def _limit_pause_seconds(self, error: LimitExceeded) -> float:
        if error.retry_after_seconds is None:
            raise error
        self._limited = self._limited or Deadline(self._limit_seconds)
        pause = max(_FIRST_PAUSE_SECONDS, error.retry_after_seconds) * random.uniform(1.0, 1.25)  # noqa: S311 - as above
        return self._within(self._limited, pause, error)

    def _within(self, patience: Deadline, pause: float, error: ServerError) -> float:
        if min(patience.remaining_seconds(pause), self._deadline.remaining_seconds(pause)) < pause:
            raise error
        return pause


def resumable(error: ServerError) -> ServerError:
    """What a broken stream's error means for a caller that can resume it: its own deadline is an interruption."""
    if isinstance(error, DeadlineExceeded):
        return ServiceUnavailable(error.message, code="UNAVAILABLE")
    return error
