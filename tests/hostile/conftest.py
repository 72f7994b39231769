"""Fixtures of the hostile corpus: a worker to attack, and a healthy model that must still be diagnosed afterwards."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hostile.patient import Patient
from real_redis import RedisServer
from real_worker import RealWorker

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def worker() -> Iterator[RealWorker]:
    """`gradclinic work` with the engine and everything on."""
    command = (str(Path(sys.executable).with_name("gradclinic")), "work")
    with alone() as redis, RealWorker(redis.url, "--memory-limit", "1GiB", command=command) as worker:
        yield worker


@pytest.fixture
def patient(worker: RealWorker) -> Iterator[Patient]:
    """Sends models to the worker; after the test, the next job must be unaffected."""
    patient = Patient(worker)
    yield patient
    patient.next_job_is_unaffected()


@pytest.fixture(scope="module")
def unvetted() -> Iterator[Patient]:
    """Sends models to a worker that vets nothing: only its cage is left."""
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), before]).strip(os.pathsep)
    command = (sys.executable, str(Path(__file__).with_name("unvetted_worker.py")))
    with alone() as redis, RealWorker(redis.url, "--memory-limit", "1GiB", command=command) as worker:
        os.environ["PYTHONPATH"] = before
        yield Patient(worker)


@contextlib.contextmanager
def alone() -> Iterator[RedisServer]:
    """A Redis of its own, so that no other worker takes the jobs."""
    redis = RedisServer()
    redis.start()
    try:
        yield redis
    finally:
        redis.remove()
