"""A real worker whose processes are killed while a job runs: no job hangs, no process is left behind."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store import Store, StoreSettings
from gradclinic_store.errors import ModelQuarantined
from real_worker import RealWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SUCCEEDED = diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED
QUEUED = diagnosis_pb2.DIAGNOSIS_STATE_QUEUED
FORWARD = diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD


@pytest.fixture
def worker(redis_url: str) -> Iterator[RealWorker]:
    with RealWorker(redis_url, "--lease", "2", "--drain", "1") as worker:
        yield worker


def running(worker: RealWorker, body: str = "slow") -> str:
    diagnosis_id = worker.submit(body)
    worker.await_stage(diagnosis_id, FORWARD)
    return diagnosis_id


def gone(processes: list[psutil.Process], timeout_seconds: float = 5.0) -> list[psutil.Process]:
    """Wait for processes to end; returns those that did not."""
    _, alive = psutil.wait_procs(processes, timeout_seconds)
    return [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("victim", [RealWorker.executor, RealWorker.horse, RealWorker.queue, RealWorker.zygote])
def test_a_killed_process_costs_one_attempt(worker: RealWorker, victim: Callable[[RealWorker], psutil.Process]) -> None:
    diagnosis_id = running(worker)
    doomed = [victim(worker), worker.executor()]
    killed_at = time.time()
    doomed[0].kill()
    assert gone(doomed) == []
    diagnosis = worker.final(diagnosis_id, 60.0)
    assert (diagnosis.state, diagnosis.attempt) == (SUCCEEDED, 2)
    assert diagnosis.start_time.ToNanoseconds() / 1e9 - killed_at < 15.0
    assert worker.final(worker.submit("answer")).state == SUCCEEDED


def test_a_run_that_is_lost_each_time_fails(redis_url: str) -> None:
    with RealWorker(redis_url, "--lease", "2", "--sandbox", "process") as worker:  # a cage does not let it kill itself
        diagnosis = worker.final(worker.submit("kill"), 60.0)
    assert diagnosis.failure.reason == diagnosis_pb2.FAILURE_REASON_WORKER_LOST
    assert diagnosis.attempt == 3


def test_a_model_that_loses_every_worker_is_remembered(redis_url: str) -> None:
    with (
        RealWorker(redis_url, "--lease", "2", "--sandbox", "process", "--quarantine", "60") as worker,
        Store.connect(StoreSettings(redis_url=redis_url)) as store,
    ):
        first, waiting = worker.submit("kill"), worker.submit("answer", seed=1)
        assert worker.final(waiting).state == SUCCEEDED

        def ended() -> bool:
            store.reap()
            return store.diagnoses.get(first).HasField("end_time")

        worker.await_true(ended, 30.0)
        spec = store.diagnoses.get(first).spec
        with pytest.raises(ModelQuarantined, match=first):
            store.diagnoses.create(spec)
        late = worker.final(worker.submit("answer", seed=2))  # by a store that lets it in
        assert late.failure.reason == diagnosis_pb2.FAILURE_REASON_MODEL_QUARANTINED
        assert late.attempt == 0


@pytest.mark.parametrize(
    "signum", [signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGBUS], ids=lambda one: one.name
)
def test_an_executor_that_dies_from_its_own_code_is_not_tried_again(worker: RealWorker, signum: signal.Signals) -> None:
    diagnosis_id = running(worker)
    worker.executor().send_signal(signum)
    diagnosis = worker.final(diagnosis_id)
    assert diagnosis.attempt == 1
    assert diagnosis.failure.reason == diagnosis_pb2.FAILURE_REASON_EXECUTOR_CRASHED
    assert signum.name in diagnosis.failure.message


def test_a_signal_without_a_name_costs_its_own_run_only(worker: RealWorker) -> None:
    zygote = worker.zygote().pid
    diagnosis = worker.final(worker.submit("cancel_thread"))
    assert (1, diagnosis_pb2.FAILURE_REASON_EXECUTOR_CRASHED) == (diagnosis.attempt, diagnosis.failure.reason)
    assert "died from SIG32" in diagnosis.failure.message
    assert (zygote, SUCCEEDED) == (worker.zygote().pid, worker.final(worker.submit("answer")).state)


def test_all_die_with_the_main_process(worker: RealWorker, redis_url: str) -> None:
    diagnosis_id = running(worker)
    tree = worker.tree()
    assert len(tree) == 6  # main, zygote, queue, horse, executor and a spare
    worker.process.kill()
    assert gone(tree) == []
    with RealWorker(redis_url, "--lease", "2") as successor:
        diagnosis = successor.final(diagnosis_id)
        assert (diagnosis.state, diagnosis.attempt) == (SUCCEEDED, 2)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
def test_a_worker_that_is_told_to_stop_lets_a_short_run_end(redis_url: str, signum: signal.Signals) -> None:
    with RealWorker(redis_url, "--drain", "20") as worker:
        diagnosis_id = running(worker)
        tree = worker.tree()
        worker.process.send_signal(signum)
        worker.await_true(lambda: [one.state for one in worker.store.fleet.live()] == ["draining"], 2.0)
        assert worker.process.wait(20.0) == 0
        assert gone(tree) == []
        diagnosis = worker.get(diagnosis_id)
        assert (diagnosis.state, diagnosis.attempt) == (SUCCEEDED, 1)
        assert worker.store.fleet.live() == []


def test_a_worker_that_is_told_to_stop_gives_a_long_run_back(worker: RealWorker) -> None:
    diagnosis_id = running(worker, "loop")
    tree = worker.tree()
    started = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - started < 5.0  # the drain of 1 s, and what it takes
    assert gone(tree) == []
    assert worker.get(diagnosis_id).state == QUEUED


def test_a_second_signal_stops_at_once(redis_url: str) -> None:
    with RealWorker(redis_url, "--drain", "60") as worker:
        running(worker, "loop")
        tree = worker.tree()
        worker.process.terminate()
        worker.await_true(lambda: "draining" in worker.log, 5.0)
        worker.process.terminate()
        assert worker.process.wait(5.0) == 0
        assert gone(tree) == []


def test_a_stopped_supervisor_loses_its_attempt_and_its_executor(worker: RealWorker, redis_url: str) -> None:
    diagnosis_id = running(worker, "slow")
    horse, executor = worker.horse(), worker.executor()
    horse.suspend()
    with RealWorker(redis_url, "--lease", "2") as other:
        diagnosis = other.final(diagnosis_id)
        assert (diagnosis.state, diagnosis.attempt) == (SUCCEEDED, 2)
    before = diagnosis.SerializeToString()
    horse.resume()
    assert gone([horse, executor]) == []
    assert worker.get(diagnosis_id).SerializeToString() == before


def test_a_zygote_that_dies_while_idle_is_replaced(worker: RealWorker) -> None:
    zygote = worker.zygote()
    zygote.kill()
    assert worker.final(worker.submit("answer")).state == SUCCEEDED
    assert worker.zygote().pid != zygote.pid


def test_an_executor_dies_with_its_supervisor_even_if_the_parent_lives(worker: RealWorker) -> None:
    running(worker, "loop")
    executor = worker.executor()
    worker.horse().kill()
    assert gone([executor], 2.0) == []
