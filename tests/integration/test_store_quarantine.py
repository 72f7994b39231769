"""Models that bring their process or their workers down: remembered, refused with a reason, and tried again later."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store import Store, StoreSettings
from gradclinic_store.errors import ModelQuarantined
from store_cases import declaration_of, result_of, spec_of, started, upload

if TYPE_CHECKING:
    from collections.abc import Iterator

CRASHED = diagnosis_pb2.Failure(reason=diagnosis_pb2.FAILURE_REASON_EXECUTOR_CRASHED, message="SIGSEGV")
BAD_INPUTS = diagnosis_pb2.Failure(reason=diagnosis_pb2.FAILURE_REASON_BAD_INPUTS)


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    with Store.connect(StoreSettings(redis_url=redis_url, quarantine_seconds=60)) as store:
        yield store


def crash(store: Store, times: int = 1, failure: diagnosis_pb2.Failure = CRASHED) -> str:
    """Have a model fail; returns the last diagnosis."""
    for number in range(times):
        message, _ = store.diagnoses.create(spec_of(store, seed=number))
        assert started(store, message.id).fail(failure)
    return message.id


def test_a_model_that_crashed_three_times_is_refused(store: Store) -> None:
    last = crash(store, 3)
    with pytest.raises(ModelQuarantined, match=f"last in diagnosis {last}") as caught:
        store.diagnoses.create(spec_of(store, seed=99))
    assert spec_of(store).model_sha256 == caught.value.model_sha256
    assert 50 < caught.value.retry_seconds <= 60
    assert store.counters.read().submitted == 3


def test_another_model_runs(store: Store) -> None:
    crash(store, 3)
    spec = diagnosis_pb2.DiagnosisSpec(model_sha256=upload(store, b"a model that was mended").sha256)
    message, _ = store.diagnoses.create(spec)
    assert started(store, message.id).succeed(result_of())


def test_fewer_crashes_and_other_failures_are_forgiven(store: Store) -> None:
    crash(store, 2)
    crash(store, 5, BAD_INPUTS)
    assert store.diagnoses.create(spec_of(store, seed=99))[1]


def test_a_request_that_was_accepted_before_is_answered(store: Store) -> None:
    spec = spec_of(store, seed=7)
    known, _ = store.diagnoses.create(spec, "request")
    crash(store, 3)
    assert store.diagnoses.create(spec, "request")[0].id == known.id


def test_what_waits_already_fails_without_a_run(store: Store) -> None:
    waiting, _ = store.diagnoses.create(spec_of(store, seed=7))
    crash(store, 3)
    assert store.diagnoses.start(waiting.id, "worker") is None
    failed = store.diagnoses.get(waiting.id)
    assert (failed.state, failed.attempt) == (diagnosis_pb2.DIAGNOSIS_STATE_FAILED, 0)
    assert failed.failure.reason == diagnosis_pb2.FAILURE_REASON_MODEL_QUARANTINED
    assert failed.failure.field == "spec.model_sha256"
    totals = store.counters.read()
    assert (totals.submitted, totals.completed["failed"], totals.in_flight) == (4, 4, 0)


def test_workers_that_were_lost_at_every_attempt_count_at_once(redis_url: str) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url, max_attempts=2)) as store:
        message, _ = store.diagnoses.create(spec_of(store))
        for _ in range(2):
            started(store, message.id)
            store.connection.client.zadd("gradclinic:leases", {message.id: 1})
            store.diagnoses.reap()
        assert store.diagnoses.get(message.id).failure.reason == diagnosis_pb2.FAILURE_REASON_WORKER_LOST
        with pytest.raises(ModelQuarantined):
            store.diagnoses.create(spec_of(store, seed=1))


def test_it_ends(redis_url: str) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url, quarantine_seconds=0.2)) as store:
        crash(store, 3)
        with pytest.raises(ModelQuarantined):
            store.diagnoses.create(spec_of(store, seed=99))
        time.sleep(0.25)
        assert store.diagnoses.create(spec_of(store, seed=99))[1]
        assert not list(store.connection.client.scan_iter("gradclinic:crashes:*"))


def test_it_can_be_off(redis_url: str) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url, quarantine_seconds=0)) as store:
        crash(store, 5)
        assert store.diagnoses.create(spec_of(store, seed=99))[1]


def test_another_tenant_is_not_concerned(store: Store) -> None:
    crash(store, 3)
    other = store.of("other")
    content = b"not really a model"
    with other.artifacts.upload(declaration_of(content)) as running:
        running.write(0, content)
        sha256 = running.finish().sha256
    assert other.diagnoses.create(diagnosis_pb2.DiagnosisSpec(model_sha256=sha256))[1]
