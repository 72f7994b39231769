"""How the end of an executor is classified."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal

import pytest

from gradclinic.v1 import diagnosis_pb2
from gradclinic_worker.process import exits
from gradclinic_worker.process.lease import ExitNotice

FORBIDDEN = diagnosis_pb2.FAILURE_REASON_FORBIDDEN_OPERATOR
CRASHED = diagnosis_pb2.FAILURE_REASON_EXECUTOR_CRASHED
OUT_OF_MEMORY = diagnosis_pb2.FAILURE_REASON_OUT_OF_MEMORY
TIMED_OUT = diagnosis_pb2.FAILURE_REASON_TIMED_OUT
NOT_DEADLY = {
    *(signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH),
    *(signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
}
RT_SIGACTION, KILL = {"x86_64": (13, 62), "aarch64": (134, 129)}[platform.machine()]


def explain(
    exit_code: int, printed: str = "", *, cpu_seconds: float = 0.5, kernel_killed: bool = False
) -> diagnosis_pb2.Failure | exits.Lost:
    notice = ExitNotice(exit_code, 0, cpu_seconds)
    return exits.explain(notice, printed, cpu_limit_seconds=10.0, kernel_killed=kernel_killed)


@pytest.mark.parametrize(
    ("exit_code", "printed", "kernel_killed", "reason"),
    [
        (-signal.SIGSEGV, "", False, CRASHED),
        (-signal.SIGABRT, "terminate called", False, CRASHED),
        (-signal.SIGABRT, "what():  std::bad_alloc", False, OUT_OF_MEMORY),
        (-signal.SIGSYS, "", False, FORBIDDEN),
        (-signal.SIGXCPU, "", False, TIMED_OUT),
        (-signal.SIGPIPE, "", False, CRASHED),
        (-32, "", False, CRASHED),
        (-signal.SIGKILL, "", True, OUT_OF_MEMORY),
        (0, "", False, CRASHED),
        (1, "", True, CRASHED),
    ],
)
def test_the_models_fault_is_a_failure(
    exit_code: int, printed: str, *, kernel_killed: bool, reason: diagnosis_pb2.FailureReason.ValueType
) -> None:
    failure = explain(exit_code, printed, kernel_killed=kernel_killed)
    assert isinstance(failure, diagnosis_pb2.Failure)
    assert failure.reason == reason


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_what_somebody_else_did_may_be_tried_again(signum: signal.Signals) -> None:
    assert explain(-signum) == exits.Lost(f"another process ended the executor with {signum.name}")


def test_who_ignores_the_end_of_its_cpu_time_is_out_of_time() -> None:
    failure = explain(-signal.SIGKILL, cpu_seconds=10.0)
    assert isinstance(failure, diagnosis_pb2.Failure)
    assert TIMED_OUT == failure.reason


@pytest.mark.parametrize("number", sorted(set(range(1, signal.SIGRTMAX + 1)) - NOT_DEADLY))
def test_every_signal_that_ends_a_process_has_a_name_and_a_meaning(number: int) -> None:
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # Past the C library, which keeps two of them to itself.
        libc = ctypes.CDLL(None)
        libc.syscall(RT_SIGACTION, number, bytes(32), None, 8)
        libc.syscall(KILL, os.getpid(), number)
        os._exit(0)
    notice = ExitNotice(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0, 0.0)
    assert (number, True) == (notice.signal, notice.signal_name.startswith("SIG"))
    said = exits.explain(notice, "", cpu_limit_seconds=10.0, kernel_killed=False)
    assert notice.signal_name in said.message or said.reason in {TIMED_OUT, FORBIDDEN}  # type: ignore[union-attr]  # of a failure


def test_a_zygote_that_went_away_is_no_fault_of_the_model() -> None:
    assert isinstance(exits.explain(None, "", cpu_limit_seconds=10.0, kernel_killed=False), exits.Lost)


def test_a_crash_names_its_signal_and_shows_what_was_printed() -> None:
    failure = explain(-signal.SIGSEGV, "last words")
    assert isinstance(failure, diagnosis_pb2.Failure)
    assert "SIGSEGV" in failure.message
    assert failure.trace == "last words"


def test_the_kernel_counts_its_kills() -> None:
    assert exits.kernel_kills() >= 0
