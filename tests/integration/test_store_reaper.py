"""The reaper: what a dead process left behind comes back, and what is over goes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from gradclinic.v1 import diagnosis_pb2, server_pb2
from gradclinic_store import Standing, Store, StoreSettings
from gradclinic_store import queue as queue_module
from gradclinic_store import reaper as reaper_module
from gradclinic_store.errors import DiagnosisNotFound
from store_cases import MODEL, QUEUE, declaration_of, result_of, sha256_of, spec_of, started, upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHORT_LEASE_SECONDS = 0.05


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    with Store.connect(StoreSettings(redis_url=redis_url, lease_seconds=SHORT_LEASE_SECONDS)) as store:
        yield store


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper_module, "PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(reaper_module, "GRACE_SECONDS", 0.1)


def reap_until(store: Store, reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < deadline
        store.reap()
        time.sleep(0.02)


def test_a_lost_worker_is_replaced_and_then_given_up(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    for number in (1, 2, 3):
        attempt = started(store, message.id)
        assert attempt.number == number
        store.queue.call_off(QUEUE)  # a worker took it
        reap_until(store, lambda: store.queue.tickets(QUEUE) == 1 or state(store, message.id) == "FAILED")
        assert attempt.renew() is Standing.FENCED
    failed = store.diagnoses.get(message.id)
    assert failed.state == diagnosis_pb2.DIAGNOSIS_STATE_FAILED
    assert failed.failure.reason == diagnosis_pb2.FAILURE_REASON_WORKER_LOST
    assert "3 times" in failed.failure.message
    totals = store.counters.read()
    assert (totals.attempts, totals.lost, totals.in_flight, totals.completed["failed"]) == (3, 3, 0, 1)


def test_a_renewed_lease_is_left_alone(redis_url: str) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url, lease_seconds=1)) as store:
        message, _ = store.diagnoses.create(spec_of(store))
        attempt = started(store, message.id)
        for _ in range(4):
            time.sleep(0.3)
            assert attempt.renew() is Standing.ALIVE
            assert store.reap() == []
        assert attempt.succeed(result_of())


def test_giving_back_is_not_counted_as_lost(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    for _ in range(5):
        assert started(store, message.id).give_back()
    assert store.counters.read().lost == 0
    assert state(store, message.id) == "QUEUED"


def test_a_ticket_that_was_taken_and_never_shown_is_replaced(store: Store) -> None:
    ids = [store.diagnoses.create(spec_of(store))[0].id for _ in range(3)]
    client = store.connection.client
    client.lmove("rq:queue:" + QUEUE, "rq:queue:" + QUEUE + ":intermediate")
    store.reap()
    assert store.queue.tickets(QUEUE) == 2  # a worker may be about to show it
    reap_until(store, lambda: store.queue.tickets(QUEUE) == 3)
    store.reap()
    assert store.queue.tickets(QUEUE) == 3
    assert [store.diagnoses.take("cpu-x", "worker").diagnosis.id for _ in ids] == ids  # type: ignore[union-attr]


def test_tickets_of_what_expired_are_taken_back(redis_url: str) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url, queue_ttl_seconds=0.3)) as store:
        for _ in range(3):
            store.diagnoses.create(spec_of(store))
        time.sleep(0.4)
        kept, _ = store.diagnoses.create(spec_of(store))
        assert len(store.reap()) == 3
        assert store.queue.tickets(QUEUE) == 1
        assert started(store, kept.id)


def test_a_ticket_that_was_never_made_is_made(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(store.queue, "call", lambda *_: None)  # the creator dies between record and ticket
        message, _ = store.diagnoses.create(spec_of(store))
    reap_until(store, lambda: store.queue.tickets(QUEUE) == 1)
    assert started(store, message.id).succeed(result_of())


def test_waiting_too_long_expires(redis_url: str) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url, queue_ttl_seconds=0.05)) as store:
        message, _ = store.diagnoses.create(spec_of(store))
        time.sleep(0.1)
        assert store.reap() == [message.id]
        assert state(store, message.id) == "EXPIRED"
        assert store.diagnoses.start(message.id, "worker") is None
        assert store.counters.read().completed["expired"] == 1


def test_old_diagnoses_and_artifacts_go_without_a_trace(redis_url: str) -> None:
    settings = StoreSettings(redis_url=redis_url, diagnosis_retention_seconds=0.05, artifact_retention_seconds=0.05)
    with Store.connect(settings) as store:
        message, _ = store.diagnoses.create(spec_of(store, run="r", labels={"a": "b"}), "request")
        started(store, message.id).succeed(result_of())
        interrupted_sha256 = sha256_of(b"x" * 10)
        store.artifacts.upload(declaration_of(b"x" * 10)).write(0, b"x" * 3)
        store.fleet.report("worker", server_pb2.LiveWorker(device="cpu"))
        time.sleep(0.1)
        store.connection.client.delete("gradclinic:worker:worker")
        store.connection.client.zadd("gradclinic:parts", {f"default:{interrupted_sha256}": 1})
        store.reap()
        with pytest.raises(DiagnosisNotFound):
            store.diagnoses.get(message.id)
        keys = {key.decode() for key in store.connection.client.scan_iter("gradclinic:*")}
        keys -= {key for key in keys if key.startswith(("gradclinic:started:", "gradclinic:rate"))}  # they expire
        assert {"gradclinic:counters", "gradclinic:queues", "gradclinic:sequence:default"} | {
            "gradclinic:stored_bytes",
            "gradclinic:turns:gradclinic:cpu",
        } == keys
        assert store.counters.read().stored_bytes == 0


def test_many_reapers_at_once_take_a_diagnosis_away_once(store: Store) -> None:
    ids = [store.diagnoses.create(spec_of(store))[0].id for _ in range(20)]
    for diagnosis_id in ids:
        started(store, diagnosis_id)
    time.sleep(2 * SHORT_LEASE_SECONDS)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: store.diagnoses.reap(), range(16)))
    totals = store.counters.read()
    assert (totals.lost, totals.in_flight) == (20, 20)


def test_an_artifact_in_use_outlives_its_time(redis_url: str) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url, artifact_retention_seconds=0.3)) as store:
        artifact = upload(store, MODEL)
        for _ in range(4):
            time.sleep(0.15)
            assert store.artifacts.touch(artifact.sha256) is not None
            store.reap()
        assert b"".join(store.artifacts.read(artifact.sha256)) == MODEL
        time.sleep(0.4)
        store.reap()
        assert store.artifacts.stat(artifact.sha256) is None


def test_an_artifact_that_a_diagnosis_needs_outlives_its_time(redis_url: str) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url, artifact_retention_seconds=0.05)) as store:
        message, _ = store.diagnoses.create(spec_of(store))
        time.sleep(0.1)
        store.reap()
        attempt = started(store, message.id)
        assert b"".join(store.artifacts.read(message.spec.model_sha256)) == MODEL
        attempt.succeed(result_of())
        store.reap()
        assert store.artifacts.stat(message.spec.model_sha256) is None


def state(store: Store, diagnosis_id: str) -> str:
    name = diagnosis_pb2.DiagnosisState.Name(store.diagnoses.get(diagnosis_id).state)
    return name.removeprefix("DIAGNOSIS_STATE_")


def test_deleting_takes_the_artifacts_that_no_other_diagnosis_names(redis_url: str) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url)) as store:
        spec = spec_of(store)
        ids = [store.diagnoses.create(spec)[0].id for _ in range(3)]
        for diagnosis_id in ids[:2]:
            started(store, diagnosis_id).succeed(result_of())
            store.diagnoses.delete(diagnosis_id)
            store.reap()
            assert b"".join(store.artifacts.read(spec.model_sha256)) == MODEL  # the third one waits for a worker
        store.diagnoses.cancel(ids[2])
        store.diagnoses.delete(ids[2])
        assert store.artifacts.stat(spec.model_sha256) is None
        store.reap()
        client = store.connection.client
        assert not list(client.scan_iter("gradclinic:chunk*"))
        assert not client.exists("gradclinic:named", "gradclinic:references")
        assert store.counters.read().stored_bytes == 0


def test_a_deleted_artifact_that_another_tenant_has_stays_with_that_one(redis_url: str) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url)) as store:
        other = store.of("other")
        with other.artifacts.upload(declaration_of(MODEL)) as running:
            running.write(0, MODEL)
            running.finish()
        message, _ = store.diagnoses.create(spec_of(store))
        store.diagnoses.cancel(message.id)
        store.diagnoses.delete(message.id)
        store.reap()
        assert store.artifacts.stat(message.spec.model_sha256) is None
        assert b"".join(other.artifacts.read(message.spec.model_sha256)) == MODEL


def test_what_rq_noted_of_a_ticket_whose_worker_died_goes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "POPPED_GRACE_SECONDS", 0.3)
    message, _ = store.diagnoses.create(spec_of(store))
    client = store.connection.client
    popped = "rq:queue:" + QUEUE + ":intermediate"
    client.lmove("rq:queue:" + QUEUE, popped)  # and then the worker dies
    store.reap()
    assert client.llen(popped) == 1
    reap_until(store, lambda: client.llen(popped) == 0)
    assert started(store, message.id).succeed(result_of())
    reap_until(store, lambda: not list(client.scan_iter("rq:job:*")))


def test_what_rq_noted_of_a_ticket_that_was_taken_twice_goes(store: Store) -> None:
    store.diagnoses.create(spec_of(store))
    client = store.connection.client
    popped = "rq:queue:" + QUEUE + ":intermediate"
    client.lmove("rq:queue:" + QUEUE, popped)
    store.reap()
    assert client.llen(popped) == 1  # a worker is about to show it
    for key in client.scan_iter("rq:job:*"):
        client.delete(key)  # it was shown; the list held it twice
    store.reap()
    assert not client.exists(popped)
