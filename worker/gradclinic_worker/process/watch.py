"""One executor at work, watched until it answers, ends, runs out of time or is no longer wanted."""

from __future__ import annotations

import os
import selectors
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradclinic.v1 import diagnosis_pb2, executor_pb2
from gradclinic_worker.process import exits, pipe, replies

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradclinic_worker.process.lease import ExecutorLease

PRINTED_TAIL_BYTES = 8 * 2**10
NOTICE_LIMIT_SECONDS = 5.0
"""How long an executor that has closed its pipe may take to end."""

_READ_BYTES = 64 * 2**10


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The run was ended because nobody waits for it any more: cancelled, taken over, or the worker stops."""


Ending = diagnosis_pb2.DiagnosisResult | diagnosis_pb2.Failure | exits.Lost | Interrupted


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop watching, whatever the executor does.

    Attributes:
        deadline: Monotonic time, in seconds, at which the executor is killed.
        run_seconds: The limit behind the deadline, for the message.
        cpu_seconds: The kernel's limit of the executor's CPU time.
        interrupts: Descriptors; when one becomes readable the executor is killed.
    """

    deadline: float
    run_seconds: float
    cpu_seconds: float
    interrupts: tuple[int, ...]


class Watch:
    """Reads what one executor says, and keeps its time. Believes nothing and never waits for it.

    Attributes:
        violated: The layer of the sandbox that caught the executor at what it must not do: `pipe`, `seccomp`; or empty.
    """

    def __init__(
        self,
        lease: ExecutorLease,
        limits: Limits,
        entered: Callable[[diagnosis_pb2.DiagnosisStage.ValueType, float], None],
    ) -> None:
        """Watch the executor of a lease; ``entered`` is called with each stage and progress that it reports."""
        self.violated = ""
        self._lease = lease
        self._limits = limits
        self._entered = entered
        self._answer: Ending | None = None
        self._printed = b""
        self._messages = pipe.MessageReader()
        self._replies = replies.ReplyReader()
        self._selector = selectors.DefaultSelector()
        self._kernel_kills = 0
        self._notice_due = 0.0  # monotonic time by which an executor that closed its pipe must have ended

    def until_the_end(self) -> Ending:
        """Watch; when this returns the executor is dead or about to die."""
        self._kernel_kills = exits.kernel_kills()
        with self._selector:
            self._selector.register(self._lease.pipe, selectors.EVENT_READ, self._hear)
            self._selector.register(self._lease.stderr, selectors.EVENT_READ, self._hear_stderr)
            self._selector.register(self._lease.zygote, selectors.EVENT_READ, self._end)
            for descriptor in self._limits.interrupts:
                self._selector.register(descriptor, selectors.EVENT_READ, self._interrupt)
            while self._answer is None:
                self._step()
        if isinstance(self._answer, diagnosis_pb2.DiagnosisResult | diagnosis_pb2.Failure):
            self._lease.release()
        self._lease.kill()
        return self._answer

    @property
    def printed(self) -> str:
        """The last that the executor printed; untrusted."""
        return self._printed.decode(errors="replace")

    def _step(self) -> None:
        remaining = self._limits.deadline - time.monotonic()
        until_notice = (self._notice_due - time.monotonic()) if self._notice_due else remaining
        if remaining <= 0:
            self._lease.kill()
            self._answer = timed_out(self._limits.run_seconds)
        elif until_notice <= 0:
            self._lease.kill()
            self._break_off("it closed its pipe and went on")
        else:
            for key, _ in self._selector.select(min(remaining, until_notice)):
                if self._answer is None:
                    key.data()

    def _hear(self) -> None:
        """Take what the pipe has. Its end says nothing: how the executor ended is the zygote's to tell."""
        try:
            messages, gone = self._messages.feed(self._lease.pipe)
            for message in messages:
                self._take(self._replies.read(message))
        except (pipe.MessageTooLarge, replies.ReplyRefused) as error:
            self._lease.kill()
            self._break_off(str(error))
            return
        if gone:
            self._selector.unregister(self._lease.pipe)
            self._notice_due = time.monotonic() + NOTICE_LIMIT_SECONDS

    def _take(self, reply: replies.Reply) -> None:
        if self._answer is not None:
            return  # the first answer counts
        if isinstance(reply, executor_pb2.StageEntered):
            self._entered(reply.stage, reply.progress)
        else:
            self._answer = reply

    def _hear_stderr(self) -> None:
        try:
            piece = os.read(self._lease.stderr, _READ_BYTES)
        except BlockingIOError:
            return
        if not piece:
            self._selector.unregister(self._lease.stderr)
        self._printed = (self._printed + piece)[-PRINTED_TAIL_BYTES:]

    def _end(self) -> None:
        """The executor has ended, or the zygote has. An answer may still lie in the pipe."""
        notice = self._lease.exit_notice()
        while self._answer is None and self._still_in(self._lease.pipe):
            self._hear()
        while self._still_in(self._lease.stderr):
            self._hear_stderr()
        if self._answer is None:
            killed = exits.kernel_kills() > self._kernel_kills
            self.violated = "seccomp" if notice and notice.signal == signal.SIGSYS else ""
            self._answer = exits.explain(
                notice, self.printed, cpu_limit_seconds=self._limits.cpu_seconds, kernel_killed=killed
            )

    def _still_in(self, source: object) -> bool:
        """Whether there is something to read, or the end to be seen, in a source that is still registered."""
        if source not in {key.fileobj for key in self._selector.get_map().values()}:
            return False
        return any(key.fileobj is source for key, _ in self._selector.select(0))

    def _break_off(self, violation: str) -> None:
        self.violated = "pipe"
        self._answer = _broke_the_rules(violation)

    def _interrupt(self) -> None:
        self._lease.kill()
        self._answer = Interrupted()


def timed_out(run_seconds: float) -> diagnosis_pb2.Failure:
    """The failure of a run that was killed at its wall-clock limit."""
    return diagnosis_pb2.Failure(
        reason=diagnosis_pb2.FAILURE_REASON_TIMED_OUT,
        message=f"The run was ended at its limit of {run_seconds:g} s. Use a smaller batch, a lesser depth or, where "
        "the server allows it, a longer timeout.",
    )


def _broke_the_rules(violation: str) -> diagnosis_pb2.Failure:
    return diagnosis_pb2.Failure(
        reason=diagnosis_pb2.FAILURE_REASON_EXECUTOR_CRASHED,
        message=f"The model's process broke the rules of its pipe and was killed: {violation}.",
    )
