"""The retry policy: which errors are worth another try, how long to pause before it, and when to give up.

| error | tried again |
| --- | --- |
| UNAVAILABLE; CANCELLED and ABORTED, which a server that is closing answers | after a pause that doubles each time |
| RESOURCE_EXHAUSTED with RetryInfo | after the time that it names |
| anything else | never |

Every call can be repeated: to create carries a request id, an upload goes on at the byte where it stopped, a watch
goes on after the last event, and a diagnosis that a repeated delete does not find is deleted.
"""

from __future__ import annotations

import random
import time
from typing import Final

from gradclinic.errors import DeadlineExceeded, LimitExceeded, ServerError, ServiceUnavailable

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 2.0  # as long as gRPC itself waits at most between two connection attempts
_SLACK_SECONDS: Final = 0.05  # gRPC's timer may fire this much before ours

FIRST_CONTACT_SECONDS: Final = 10.0  # without any answer so far the address is more likely wrong than the service away
WATCH_OUTAGE_SECONDS: Final = 60.0  # a watch may have waited for an hour: it does not end with a short outage
_OUTAGE_CODES: Final = frozenset({"UNAVAILABLE", "CANCELLED", "ABORTED"})


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


class RetryPolicy:
    """How patient one client is, and what it knows of its service. Safe to use from several threads."""

    def __init__(self, timeout_seconds: float) -> None:
        """``timeout_seconds``: how long one call may take, its retries included."""
        self.timeout_seconds = timeout_seconds
        self.answered = False  # whether the service has ever answered
        self.closed = False  # then a cancelled call was cancelled on this side

    def call(self) -> Attempts:
        """Attempts at a call that ends at its deadline."""
        return Attempts(self, Deadline(self.timeout_seconds), self.timeout_seconds)

    def upload(self) -> Attempts:
        """Attempts at an upload, which may last as long as bytes come through."""
        return Attempts(self, Deadline(None), self.timeout_seconds)

    def watch(self, timeout_seconds: float | None) -> Attempts:
        """Attempts at a watch of at most ``timeout_seconds``; None: until the diagnosis ends."""
        return Attempts(self, Deadline(timeout_seconds), max(self.timeout_seconds, WATCH_OUTAGE_SECONDS))


class Attempts:
    """The attempts at one call."""

    def __init__(self, policy: RetryPolicy, deadline: Deadline, patience_seconds: float) -> None:
        """``patience_seconds``: how long to go on without any success."""
        self.deadline = deadline
        self.failed = False  # whether any attempt failed: it may have been executed all the same
        self._policy = policy
        self._patience_seconds = patience_seconds
        self._restart()

    def came_through(self) -> None:
        """The service answered: earlier errors no longer count."""
        self._policy.answered = True
        self._restart()

    def _restart(self) -> None:
        self._first_error: float | None = None  # on the monotonic clock
        self._next_seconds = _FIRST_PAUSE_SECONDS

    def pause_seconds(self, error: ServerError) -> float:
        """How long to pause before the next attempt.

        Pauses have jitter, so that many clients do not come back at once.

        Raises:
            ServerError: the error itself, when another attempt makes no sense or no time is left for it.
        """
        self._policy.answered |= bool(error.reason)  # only the service gives a reason
        pause = self._pause_after(error)
        self.failed = True
        now = time.monotonic()
        self._first_error = self._first_error or now
        patience = self._patience_seconds if self._policy.answered else FIRST_CONTACT_SECONDS
        remaining = self._first_error + min(patience, self._patience_seconds) - now
        if self.deadline.remaining_seconds(remaining) < pause:
            raise error
        return pause

    def _pause_after(self, error: ServerError) -> float:
        if isinstance(error, LimitExceeded) and error.retry_after_seconds is not None:
            return max(_FIRST_PAUSE_SECONDS, error.retry_after_seconds) * random.uniform(1.0, 1.25)  # noqa: S311 - spreads load, hides nothing
        if error.code not in _OUTAGE_CODES or self._policy.closed:
            raise error
        pause = self._next_seconds * random.uniform(0.5, 1.0)  # noqa: S311 - as above
        self._next_seconds = min(2 * self._next_seconds, _LONGEST_PAUSE_SECONDS)
        return max(pause, error.retry_after_seconds or 0.0)


def resumable(error: ServerError) -> ServerError:
    """What a broken stream's error means for a caller that can resume it: its own deadline is an interruption."""
    if isinstance(error, DeadlineExceeded):
        return ServiceUnavailable(error.message, code="UNAVAILABLE")
    return error
