"""A real worker on a real Redis: each way in which a job can end, with bodies in place of the engine."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

import pytest

from gradclinic.v1 import diagnosis_pb2, executor_pb2
from real_worker import INPUTS, MODEL, RealWorker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from real_redis import RedisServer

Reason = diagnosis_pb2.FailureReason


@pytest.fixture(scope="module")
def worker(redis_server: RedisServer) -> Iterator[RealWorker]:
    with RealWorker(redis_server.url, "--sandbox", "process") as worker:  # in a cage the bodies could not look around
        yield worker


def failure_of(worker: RealWorker, body: str, timeout_seconds: int = 60) -> diagnosis_pb2.Failure:
    """How a job fails; the worker must then do another one."""
    diagnosis = worker.final(worker.submit(body, timeout_seconds=timeout_seconds))
    assert diagnosis.state == diagnosis_pb2.DIAGNOSIS_STATE_FAILED
    assert diagnosis.attempt == 1  # the model's fault is not retried
    assert worker.final(worker.submit("answer")).state == diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED
    return diagnosis.failure


def test_the_executor_gets_the_artifacts_and_its_result_is_stored(worker: RealWorker) -> None:
    diagnosis = worker.final(worker.submit("answer"))
    assert diagnosis.state == diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED
    assert list(diagnosis.result.notes) == [
        f"{executor_pb2.ATTACHMENT_MODEL} {hashlib.sha256(MODEL).hexdigest()}",
        f"{executor_pb2.ATTACHMENT_INPUTS} {hashlib.sha256(INPUTS).hexdigest()}",
    ]


def test_the_supervisor_attests_the_environment(worker: RealWorker) -> None:
    environment = worker.final(worker.submit("answer")).result.environment
    assert (environment.device, environment.sandbox_level) == ("cpu", "process")
    assert [timing.stage for timing in environment.timings] == [
        diagnosis_pb2.DIAGNOSIS_STAGE_FETCH,
        diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD,
    ]


def test_nobody_can_change_an_artifact(worker: RealWorker) -> None:
    diagnosis = worker.final(worker.submit("overwrite"))
    assert set(diagnosis.result.notes) == {"File too large"}  # and sealed, see test_worker_memfd


def test_an_analysis_error_crosses_as_it_is(worker: RealWorker) -> None:
    failure = failure_of(worker, "refuse")
    assert failure == diagnosis_pb2.Failure(
        reason=Reason.FAILURE_REASON_FORWARD_ERROR,
        message="shapes do not fit",
        field="spec.inputs_sha256",
        trace="at line 3",
    )


def test_a_defect_is_internal_and_its_detail_stays_in_the_log(worker: RealWorker) -> None:
    failure = failure_of(worker, "defect")
    assert failure.reason == Reason.FAILURE_REASON_INTERNAL
    assert "secret" not in f"{failure}"
    worker.await_true(lambda: "a secret of the implementation" in worker.log, 5.0)


@pytest.mark.parametrize(
    ("body", "reason", "words"),
    [
        ("segfault", Reason.FAILURE_REASON_EXECUTOR_CRASHED, "SIGSEGV"),
        ("abort", Reason.FAILURE_REASON_OUT_OF_MEMORY, "SIGABRT"),
        ("leave", Reason.FAILURE_REASON_EXECUTOR_CRASHED, "exit code 0"),
        ("close_pipe", Reason.FAILURE_REASON_EXECUTOR_CRASHED, "closed its pipe"),
        ("oversize", Reason.FAILURE_REASON_EXECUTOR_CRASHED, "2147483648 bytes exceeds 4194304"),
        ("garbage", Reason.FAILURE_REASON_EXECUTOR_CRASHED, "no ExecutorReply"),
        ("flood", Reason.FAILURE_REASON_EXECUTOR_CRASHED, "more than 10000 replies"),
        ("claim_worker_lost", Reason.FAILURE_REASON_EXECUTOR_CRASHED, "failure reason"),
        ("too_much", Reason.FAILURE_REASON_INTERNAL, "too large"),
        ("use_memory", Reason.FAILURE_REASON_OUT_OF_MEMORY, "more memory"),
    ],
)
def test_what_a_model_does_to_its_process_is_told(
    worker: RealWorker, body: str, reason: Reason.ValueType, words: str
) -> None:
    failure = failure_of(worker, body)
    assert (failure.reason, words in failure.message) == (reason, True), failure


def test_an_endless_run_ends_at_its_limit(worker: RealWorker) -> None:
    started = time.monotonic()
    failure = failure_of(worker, "loop", timeout_seconds=1)
    assert failure.reason == Reason.FAILURE_REASON_TIMED_OUT
    assert "1 s" in failure.message
    assert time.monotonic() - started < 10.0


def test_a_cancelled_run_stops_within_two_seconds(worker: RealWorker) -> None:
    diagnosis_id = worker.submit("loop")
    worker.await_stage(diagnosis_id, diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD)
    executor = worker.executor()
    worker.store.diagnoses.cancel(diagnosis_id)
    worker.await_true(lambda: not executor.is_running(), 2.0)
    assert worker.get(diagnosis_id).state == diagnosis_pb2.DIAGNOSIS_STATE_CANCELLED
    assert worker.final(worker.submit("answer")).state == diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED


def test_an_executor_sees_no_credential_and_no_inherited_socket(worker: RealWorker, redis_server: RedisServer) -> None:
    notes = worker.final(worker.submit("surroundings")).result.notes
    environment = {note.partition("=")[0] for note in notes if note.startswith("environ ")}
    assert not {name for name in environment if "GRADCLINIC" in name or "REDIS" in name}
    assert not [note for note in notes if str(redis_server.socket_path) in note]
    assert not [note for note in notes if note.startswith("variable ")]
    descriptors = [note.split(" ")[1].partition(":")[0] for note in notes if note.startswith("descriptor ")]
    assert sorted(descriptors) == ["/memfd", "/memfd", "socket"]
    assert "cwd /" in notes
    assert "no_new_privs 1" in notes


def test_an_executor_cannot_write_files(worker: RealWorker) -> None:
    assert list(worker.final(worker.submit("write_file")).result.notes) == ["File too large"]


def test_an_executor_that_prints_without_end_is_drained(worker: RealWorker) -> None:
    assert list(worker.final(worker.submit("shout")).result.notes) == ["heard"]


def test_the_seed_of_the_request_decides_the_random_numbers(worker: RealWorker) -> None:
    first, again, other = (worker.final(worker.submit("seeded", seed=seed)).result.notes for seed in (7, 7, 8))
    assert first == again
    assert first != other
    assert first[1] == "threads 1"


def test_a_lost_artifact_is_told(worker: RealWorker) -> None:
    blocker = worker.submit("slow")
    diagnosis_id = worker.submit("answer")
    client = worker.store.connection.client
    for key in client.scan_iter("gradclinic:bytes:*"):
        client.delete(key)
    worker.final(blocker)
    diagnosis = worker.final(diagnosis_id)
    assert diagnosis.failure.reason == Reason.FAILURE_REASON_ARTIFACT_LOST
    assert diagnosis.failure.field == "spec.model_sha256"


def test_a_device_that_this_worker_has_not_is_refused(worker: RealWorker) -> None:
    diagnosis = worker.final(worker.submit("answer", device="cuda"))
    assert diagnosis.failure.reason == Reason.FAILURE_REASON_DEVICE_UNAVAILABLE


def test_the_fleet_knows_the_worker(worker: RealWorker) -> None:
    def seen() -> list[tuple[str, int]]:
        return [(one.state, one.spare_executors) for one in worker.store.fleet.live()]

    worker.await_true(lambda: seen() == [("idle", 1)], 10.0)
    (live,) = worker.store.fleet.live()
    assert (live.device, live.sandbox_level) == ("cpu", "process")
    assert live.torch_version.startswith("2.")
