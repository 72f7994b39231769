"""Accepting diagnoses: once per request id, only with artifacts, only while there is room."""

from __future__ import annotations

import dataclasses
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import gradclinic_store.queue
from gradclinic.v1 import diagnosis_pb2, server_pb2
from gradclinic_store import Store, StoreSettings
from gradclinic_store.errors import ArtifactNotFound, QueueFull, RequestIdReused
from store_cases import MODEL, QUEUE, result_of, spec_of, started, upload

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    with Store.connect(StoreSettings(redis_url=redis_url)) as store:
        yield store


def test_a_new_diagnosis_is_queued(store: Store) -> None:
    spec = spec_of(store, run="r", labels={"team": "vision"})
    message, created = store.diagnoses.create(spec, "request")
    assert created
    assert spec == message.spec
    assert message.state == diagnosis_pb2.DIAGNOSIS_STATE_QUEUED
    assert (0, 1, "request") == (message.attempt, message.revision, message.request_id)
    assert message == store.diagnoses.get(message.id)
    assert store.queue.tickets(QUEUE) == 1
    assert store.queue.depth(QUEUE) == 1
    assert 0 <= store.queue.oldest_age_seconds(QUEUE) < 5


def test_one_request_id_from_fifty_threads_makes_one_diagnosis(store: Store) -> None:
    spec, request_id = spec_of(store), str(uuid.uuid4())
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: store.diagnoses.create(spec, request_id), range(50)))
    assert len({message.id for message, _ in answers}) == 1
    assert [created for _, created in answers].count(True) == 1
    totals = store.counters.read()
    assert (totals.submitted, totals.deduplicated, totals.in_flight) == (1, 49, 1)
    assert store.queue.tickets(QUEUE) == 1


def test_a_request_id_with_another_spec_is_refused(store: Store) -> None:
    store.diagnoses.create(spec_of(store, seed=1), "request")
    with pytest.raises(RequestIdReused, match="'request'"):
        store.diagnoses.create(spec_of(store, seed=2), "request")


def test_a_missing_artifact_is_named(store: Store) -> None:
    spec = spec_of(store)
    spec.target_sha256 = "0" * 64
    with pytest.raises(ArtifactNotFound) as caught:
        store.diagnoses.create(spec)
    assert caught.value.sha256 == "0" * 64
    assert store.counters.read().submitted == 0


def test_a_full_queue_refuses(redis_url: str) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url, max_queued=2)) as store:
        spec = spec_of(store)
        for _ in range(2):
            store.diagnoses.create(spec)
        with pytest.raises(QueueFull) as caught:
            store.diagnoses.create(spec)
        assert (caught.value.limit, caught.value.limit_value) == ("max_queued", 2)
        started(store, store.diagnoses.page()[0][0].id)
        store.diagnoses.create(spec)


def test_an_identical_successful_diagnosis_is_reused_on_request(store: Store) -> None:
    spec = spec_of(store, run="r")
    first, _ = store.diagnoses.create(spec)
    assert store.diagnoses.create(spec, allow_reuse=True)[1]  # the first is not finished
    started(store, first.id).succeed(result_of())
    spec.timeout.seconds = 7  # has no part in the answer
    answer, created = store.diagnoses.create(spec, "request", allow_reuse=True)
    assert (first.id, True, False) == (answer.id, answer.reused, created)
    assert answer.result == result_of()
    assert store.diagnoses.create(spec)[1]
    store.diagnoses.delete(first.id)
    assert store.diagnoses.create(spec, allow_reuse=True)[1]


def test_what_decides_the_answer_decides_reuse(store: Store) -> None:
    spec = spec_of(store, run="r", labels={"a": "b"}, seed=1)
    first, _ = store.diagnoses.create(spec)
    started(store, first.id).succeed(result_of())
    for change in ({"run": "other"}, {"seed": 2}, {"step": 3}, {"device": "cpu"}):
        other = diagnosis_pb2.DiagnosisSpec()
        other.CopyFrom(spec)
        other.MergeFrom(diagnosis_pb2.DiagnosisSpec(**change))
        assert store.diagnoses.create(other, allow_reuse=True)[1], change


def test_creating_keeps_the_artifacts(redis_url: str) -> None:
    settings = StoreSettings(redis_url=redis_url, artifact_retention_seconds=5)
    with Store.connect(settings) as store:
        artifact = upload(store, MODEL)
    longer = dataclasses.replace(settings, artifact_retention_seconds=50)
    with Store.connect(longer) as store:
        store.diagnoses.create(diagnosis_pb2.DiagnosisSpec(model_sha256=artifact.sha256))
        kept = store.artifacts.stat(artifact.sha256)
        assert kept is not None
        assert kept.expire_time.seconds - artifact.expire_time.seconds >= 44


def test_the_queue_is_chosen_by_device_and_live_workers(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradclinic_store.queue, "FLEET_KNOWN_SECONDS", 0.0)
    assert store.queue.choose("cuda:1") == "gradclinic:cuda"
    assert store.queue.choose("") == "gradclinic:cpu"
    store.fleet.report("gpu", server_pb2.LiveWorker(device="cuda:0", state="idle"))
    assert store.queue.choose("") == "gradclinic:cuda"
    store.fleet.report("cpu", server_pb2.LiveWorker(device="cpu", state="idle"))
    store.diagnoses.create(spec_of(store), queue="gradclinic:cpu")
    assert store.queue.choose("") == "gradclinic:cuda"
    store.fleet.leave("gpu")
    assert store.queue.choose("") == "gradclinic:cpu"
    assert [worker.device for worker in store.fleet.live()] == ["cpu"]
