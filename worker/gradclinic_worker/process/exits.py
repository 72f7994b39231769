"""What it means when an executor ends without an answer: the model's fault, or the machine's."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradclinic.v1 import diagnosis_pb2

if TYPE_CHECKING:
    from gradclinic_worker.process.lease import ExitNotice

_CANCELS_A_THREAD = 32
"""The C library's own signal, which has no name; a process in the cage may send it to itself."""

CRASHES = frozenset(
    {
        *(signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGBUS, signal.SIGTRAP, signal.SIGSYS),
        *(signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ, _CANCELS_A_THREAD),
    }
)
"""Signals that code brings upon itself: the same model would crash again, so it is not retried."""

_OUT_OF_MEMORY_MARKS = ("std::bad_alloc", "can't allocate memory", "not enough memory", "MemoryError", "out of memory")
_VMSTAT = Path("/proc/vmstat")


@dataclass(frozen=True, slots=True)
class Lost:
    """The run was lost by no fault of the model: another try may succeed."""

    message: str


def explain(
    notice: ExitNotice | None, printed: str, *, cpu_limit_seconds: float, kernel_killed: bool
) -> diagnosis_pb2.Failure | Lost:
    """Classify the end of an executor that gave no answer and that we did not kill.

    Args:
        notice: How it ended; None when the zygote went away with it.
        printed: The last that it printed; untrusted.
        cpu_limit_seconds: CPU time at which the kernel ends it: by SIGXCPU, or by SIGKILL if it ignores that.
        kernel_killed: Whether the kernel's out-of-memory killer was at work meanwhile.
    """
    if notice is None:
        return Lost("the zygote went away, and its executors with it")
    if notice.signal is None:
        return _crash(f"ended without an answer (exit code {notice.exit_code})", printed)
    out_of_time = notice.signal == signal.SIGKILL and notice.cpu_seconds >= cpu_limit_seconds
    if out_of_time or notice.signal == signal.SIGXCPU:
        return diagnosis_pb2.Failure(
            reason=diagnosis_pb2.FAILURE_REASON_TIMED_OUT, message="The run used more CPU time than it may take."
        )
    if notice.signal in CRASHES:
        return _crash_by(notice, printed)
    if notice.signal == signal.SIGKILL and kernel_killed:
        return _out_of_memory("the kernel's out-of-memory killer ended it", "")
    return Lost(f"another process ended the executor with {notice.signal_name}")


def kernel_kills() -> int:
    """How many processes the kernel's out-of-memory killer has ended on this machine since it started."""
    _, found, rest = _VMSTAT.read_bytes().partition(b"\noom_kill ")
    return int(rest.partition(b"\n")[0]) if found else 0


def _crash_by(notice: ExitNotice, printed: str) -> diagnosis_pb2.Failure:
    if notice.signal == signal.SIGSYS:
        return _forbidden(printed)
    if any(mark in printed for mark in _OUT_OF_MEMORY_MARKS):
        return _out_of_memory(f"it died from {notice.signal_name} when an allocation was refused", printed)
    words = signal.strsignal(notice.signal) if notice.signal else None
    return _crash(f"died from {notice.signal_name}{f' ({words})' if words else ''}", printed)


def _crash(how: str, printed: str) -> diagnosis_pb2.Failure:
    return diagnosis_pb2.Failure(
        reason=diagnosis_pb2.FAILURE_REASON_EXECUTOR_CRASHED,
        message=f"The model's process {how}. It was not tried again: the same model would do it again. "
        "Run the model's forward and backward pass by itself on the same inputs to find the operator.",
        trace=printed,
    )


def _forbidden(printed: str) -> diagnosis_pb2.Failure:
    return diagnosis_pb2.Failure(
        reason=diagnosis_pb2.FAILURE_REASON_FORBIDDEN_OPERATOR,
        message="The model's process was ended by its sandbox: it asked the kernel for what no model needs, such as a "
        "network connection, another process or a program. Remove the operator that does so from the model.",
        trace=printed,
    )


def _out_of_memory(how: str, printed: str) -> diagnosis_pb2.Failure:
    return diagnosis_pb2.Failure(
        reason=diagnosis_pb2.FAILURE_REASON_OUT_OF_MEMORY,
        message=f"The run needed more memory than there is: {how}. Use a smaller batch or a worker with more memory.",
        trace=printed,
    )
