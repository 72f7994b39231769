"""The rq adapter: real worker processes that run a stub of the job function, killed and stopped at every point."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from rq import Queue
from rq.serializers import JSONSerializer

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store import Store, StoreSettings
from store_cases import QUEUE, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

JOB = '''
"""A stand-in for the worker room's job: does what the label `do` says."""
import os, pathlib, signal, sys, time
from gradclinic.v1 import diagnosis_pb2
from gradclinic_store import Standing, Store, StoreSettings

assert not {"torch", "grpc", "grpc.aio"} & set(sys.modules), "the rq parent must stay small"

def run(ticket):
    with Store.connect(StoreSettings(redis_url=os.environ["TEST_REDIS_URL"], lease_seconds=1)) as store:
        attempt = store.diagnoses.take(ticket, "stub")
        if attempt is None:
            return
        do = attempt.diagnosis.spec.labels.get("do", "")
        pathlib.Path(os.environ["TEST_FOLDER"], f"{attempt.diagnosis.id}.{attempt.number}").write_text(str(os.getpid()))
        if do == "give back":
            def give_back(*_):
                attempt.give_back()
                os._exit(0)
            signal.signal(signal.SIGTERM, give_back)
        elif do == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        elif do == "crash once" and attempt.number == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        while do in ("give back", "deaf", "sleep") and attempt.number == 1:
            attempt.renew()
            time.sleep(0.05)
        attempt.succeed(diagnosis_pb2.DiagnosisResult())
'''
WORKER = """
import os, sys
from gradclinic_store import StoreSettings
from gradclinic_store.queue import work
work(StoreSettings(redis_url=os.environ["TEST_REDIS_URL"]), sys.argv[1], sys.argv[2], drain_seconds=float(sys.argv[3]))
"""


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    with Store.connect(StoreSettings(redis_url=redis_url, lease_seconds=1)) as store:
        yield store


@pytest.fixture
def start_worker(redis_url: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    package = tmp_path / "stub" / "gradclinic_worker"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "job.py").write_text(JOB)
    environment = os.environ | {
        "PYTHONPATH": str(package.parent),
        "TEST_REDIS_URL": redis_url,
        "TEST_FOLDER": str(tmp_path),
    }
    processes: list[subprocess.Popen[bytes]] = []

    def start(name: str = "worker", *, drain_seconds: float = 30.0) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WORKER, QUEUE, name, str(drain_seconds)], env=environment
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def create(store: Store, do: str = "") -> str:
    return store.diagnoses.create(spec_of(store, labels={"do": do}))[0].id


def state(store: Store, diagnosis_id: str) -> str:
    name = diagnosis_pb2.DiagnosisState.Name(store.diagnoses.get(diagnosis_id).state)
    return name.removeprefix("DIAGNOSIS_STATE_")


def until(reached: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def horse_of(tmp_path: Path, diagnosis_id: str, attempt: int = 1) -> psutil.Process:
    note = tmp_path / f"{diagnosis_id}.{attempt}"
    until(lambda: note.exists() and note.read_text() != "")
    return psutil.Process(int(note.read_text()))


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def leftovers(store: Store) -> list[bytes]:
    """Keys of rq that belong to a job."""
    patterns = (
        "rq:job:*",
        "rq:execution*",
        "rq:wip:*",
        "rq:failed:*",
        "rq:finished:*",
        "rq:results:*",
        "*:intermediate",
    )
    return [key for pattern in patterns for key in store.connection.client.scan_iter(pattern)]


def test_jobs_run_and_leave_nothing_in_rq(store: Store, start_worker: Callable[..., subprocess.Popen[bytes]]) -> None:
    ids = [create(store) for _ in range(5)]
    worker = start_worker()
    until(lambda: all(state(store, diagnosis_id) == "SUCCEEDED" for diagnosis_id in ids))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == 0
    assert leftovers(store) == []
    assert store.counters.read().attempts == 5


def test_an_idle_worker_starts_a_job_within_milliseconds(
    store: Store, start_worker: Callable[..., subprocess.Popen[bytes]]
) -> None:
    start_worker()
    first = create(store)
    until(lambda: state(store, first) == "SUCCEEDED")
    waits_ms = []
    for _ in range(10):
        time.sleep(0.05)
        message = create(store)
        until(lambda message=message: state(store, message) == "SUCCEEDED")  # type: ignore[misc]
        done = store.diagnoses.get(message)
        waits_ms.append(done.start_time.ToMilliseconds() - done.create_time.ToMilliseconds())
    assert sorted(waits_ms)[len(waits_ms) // 2] < 200  # typically 20; the machine may be busy


def test_a_job_may_name_no_other_function(store: Store, start_worker: Callable[..., subprocess.Popen[bytes]]) -> None:
    queue = Queue(QUEUE, connection=store.connection.client, serializer=JSONSerializer)
    forged = queue.enqueue_call("os.system", args=("true",), job_id="forged")
    surplus = queue.enqueue_call("gradclinic_worker.job.run", args=("a", "b"), job_id="surplus")
    start_worker()
    until(lambda: forged.is_failed and surplus.is_failed)
    result = forged.latest_result()
    assert result is not None
    assert "ForbiddenFunction" in (result.exc_string or "")
    after = create(store)
    until(lambda: state(store, after) == "SUCCEEDED")


def test_the_horse_dies_with_its_parent_and_the_job_comes_back(
    store: Store, start_worker: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    worker = start_worker("first")
    message = create(store, "sleep")
    horse = horse_of(tmp_path, message)
    worker.kill()
    until(lambda: gone(horse), 2)
    start_worker("second")
    begin = time.monotonic()
    until(lambda: bool(store.reap()) or state(store, message) == "SUCCEEDED", 15)
    until(lambda: [store.reap(), state(store, message)][1] == "SUCCEEDED", 15)
    assert time.monotonic() - begin < 15
    assert store.diagnoses.get(message).attempt == 2
    assert store.counters.read().lost == 1


def test_a_crashed_horse_leaves_its_job_to_the_reaper(
    store: Store, start_worker: Callable[..., subprocess.Popen[bytes]]
) -> None:
    start_worker()
    message = create(store, "crash once")
    until(lambda: [store.reap(), state(store, message)][1] == "SUCCEEDED")
    assert store.diagnoses.get(message).attempt == 2


@pytest.mark.parametrize("do", ["sleep", "deaf"])
def test_cancelling_stops_a_running_horse(
    store: Store, start_worker: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, do: str
) -> None:
    start_worker()
    message = create(store, do)
    horse = horse_of(tmp_path, message)
    assert store.diagnoses.cancel(message).state == diagnosis_pb2.DIAGNOSIS_STATE_CANCELLED
    until(lambda: gone(horse), 5)
    after = create(store)
    until(lambda: state(store, after) == "SUCCEEDED")
    assert state(store, message) == "CANCELLED"


def test_a_surplus_ticket_is_harmless(
    store: Store, start_worker: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    message = create(store)
    store.diagnoses.cancel(message)
    store.queue.call(QUEUE)  # a ticket that is good for nothing
    after = create(store)
    start_worker()
    until(lambda: state(store, after) == "SUCCEEDED")
    assert state(store, message) == "CANCELLED"
    assert not list(tmp_path.glob(f"{message}.*"))


@pytest.mark.parametrize("do", ["give back", "deaf"])
def test_draining_is_bounded(
    store: Store, start_worker: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, do: str
) -> None:
    worker = start_worker("first", drain_seconds=0.2)
    message = create(store, do)
    horse = horse_of(tmp_path, message)
    worker.send_signal(signal.SIGTERM)
    worker.wait(6)
    assert gone(horse)
    if do == "give back":
        assert state(store, message) == "QUEUED"
        assert store.counters.read().lost == 0
    start_worker("second")
    until(lambda: [store.reap(), state(store, message)][1] == "SUCCEEDED")


def test_an_idle_worker_stops_at_once(store: Store, start_worker: Callable[..., subprocess.Popen[bytes]]) -> None:
    worker = start_worker()
    message = create(store)
    until(lambda: state(store, message) == "SUCCEEDED")
    time.sleep(0.2)
    begin = time.monotonic()
    worker.send_signal(signal.SIGINT)
    assert worker.wait(10) == 0
    assert time.monotonic() - begin < 3
