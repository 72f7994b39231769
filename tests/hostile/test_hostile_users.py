"""The worker as root, whose executors are users of their own, and as an ordinary user, as in the images."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from gradclinic.v1 import diagnosis_pb2
from gradclinic_worker.cage import own_user
from hostile.conftest import alone
from hostile.hostile_archives import with_code
from hostile.patient import Patient
from hostile.test_hostile_models import GROW, LOOP
from real_worker import RealWorker

if TYPE_CHECKING:
    from collections.abc import Iterator

ORDINARY_USER = 65534
REACHABLE = (sys.executable, str(Path(__file__).with_name("reachable.py")))
GRADCLINIC = str(Path(sys.executable).with_name("gradclinic"))


def can_be_any_user() -> bool:
    """Whether this is root that may mount."""
    return os.geteuid() == 0 and subprocess.run([*REACHABLE, "0", "/bin/true"], check=False).returncode == 0


pytestmark = pytest.mark.skipif(not can_be_any_user(), reason="only root that may mount can start a worker as any user")


@pytest.fixture(scope="module", params=[0, ORDINARY_USER], ids=["root", "ordinary"])
def user(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.fixture(scope="module")
def of_user(user: int) -> Iterator[Patient]:
    """Sends models to a worker of that user."""
    command = (*REACHABLE, str(user), GRADCLINIC, "work")
    with alone() as redis, RealWorker(redis.tcp_url, "--memory-limit", "1GiB", command=command) as worker:
        yield Patient(worker)


def executors(patient: Patient) -> list[psutil.Process]:
    return patient.worker.child("zygote_process").children()


def test_the_worker_says_whether_executors_are_users_of_their_own(of_user: Patient, user: int) -> None:
    assert "executors are confined at level cage (landlock" in of_user.worker.log
    assert (user == 0) == ("own user" in of_user.worker.log)


def test_each_executor_is_who_it_should_be(of_user: Patient, user: int) -> None:
    seen: dict[int, int] = {}
    for _ in range(2):
        of_user.next_job_is_unaffected()
        of_user.worker.await_true(lambda: len(executors(of_user)) == 1, 10.0)
        (spare,) = executors(of_user)
        seen[spare.pid] = spare.uids().real
    assert {pid: user or own_user.FIRST_UID + pid for pid in seen} == seen


@pytest.mark.parametrize(("lines", "reason"), [(LOOP, "TIMED_OUT"), (GROW, "OUT_OF_MEMORY")], ids=["loop", "memory"])
def test_it_is_ended_all_the_same(of_user: Patient, lines: list[str], reason: str) -> None:
    began = time.monotonic()
    assert reason == of_user.failure(with_code(*lines), timeout_seconds=4)[0]
    assert time.monotonic() - began < 30.0
    of_user.next_job_is_unaffected()


def test_a_cancelled_run_ends_its_executor(of_user: Patient) -> None:
    spec = of_user.spec(with_code(*LOOP), timeout_seconds=60)
    worker = of_user.worker
    diagnosis_id = worker.create(spec)
    worker.await_true(lambda: len(executors(of_user)) == 2, 30.0)
    worker.store.diagnoses.cancel(diagnosis_id)
    assert diagnosis_pb2.DIAGNOSIS_STATE_CANCELLED == worker.final(diagnosis_id).state
    worker.await_true(lambda: len(executors(of_user)) == 1, 10.0)


def test_all_end_with_the_worker(user: int) -> None:
    command = (*REACHABLE, str(user), GRADCLINIC, "work")
    with alone() as redis, RealWorker(redis.tcp_url, command=command) as worker:
        tree = worker.tree()
        worker.process.kill()
        _, left = psutil.wait_procs(tree, 10.0)
    assert [] == [one for one in left if one.status() != psutil.STATUS_ZOMBIE]
