"""How the end of an executor is classified."""

from __future__ import annotations

import signal

import pytest

from gradclinic.v1 import diagnosis_pb2
from gradclinic_worker.process import exits
from gradclinic_worker.process.lease import ExitNotice

FORBIDDEN = diagnosis_pb2.FAILURE_REASON_FORBIDDEN_OPERATOR
CRASHED = diagnosis_pb2.FAILURE_REASON_EXECUTOR_CRASHED
OUT_OF_MEMORY = diagnosis_pb2.FAILURE_REASON_OUT_OF_MEMORY
TIMED_OUT = diagnosis_pb2.FAILURE_REASON_TIMED_OUT


def explain(exit_code: int, printed: str = "", *, kernel_killed: bool = False) -> diagnosis_pb2.Failure | exits.Lost:
    return exits.explain(ExitNotice(exit_code, 0), printed, kernel_killed=kernel_killed)


@pytest.mark.parametrize(
    ("exit_code", "printed", "kernel_killed", "reason"),
    [
        (-signal.SIGSEGV, "", False, CRASHED),
        (-signal.SIGABRT, "terminate called", False, CRASHED),
        (-signal.SIGABRT, "what():  std::bad_alloc", False, OUT_OF_MEMORY),
        (-signal.SIGSYS, "", False, FORBIDDEN),
        (-signal.SIGXCPU, "", False, TIMED_OUT),
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
    assert explain(-signum) == exits.Lost(f"somebody ended the executor with {signum.name}")


def test_a_zygote_that_went_away_is_no_fault_of_the_model() -> None:
    assert isinstance(exits.explain(None, "", kernel_killed=False), exits.Lost)


def test_a_crash_names_its_signal_and_shows_what_was_printed() -> None:
    failure = explain(-signal.SIGSEGV, "last words")
    assert isinstance(failure, diagnosis_pb2.Failure)
    assert "SIGSEGV" in failure.message
    assert failure.trace == "last words"


def test_the_kernel_counts_its_kills() -> None:
    assert exits.kernel_kills() >= 0
