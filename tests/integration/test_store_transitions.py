"""Transitions: only legal ones, each once, and nothing from an attempt that was fenced off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gradclinic.v1 import diagnosis_pb2, finding_pb2
from gradclinic_store import Standing, Store, StoreSettings
from gradclinic_store.errors import DiagnosisNotFound, NotFinished
from store_cases import QUEUE, result_of, spec_of, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

QUEUED = diagnosis_pb2.DIAGNOSIS_STATE_QUEUED
RUNNING = diagnosis_pb2.DIAGNOSIS_STATE_RUNNING
SUCCEEDED = diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED
FAILED = diagnosis_pb2.DIAGNOSIS_STATE_FAILED
CANCELLED = diagnosis_pb2.DIAGNOSIS_STATE_CANCELLED
BAD_INPUTS = diagnosis_pb2.Failure(reason=diagnosis_pb2.FAILURE_REASON_BAD_INPUTS, message="no")


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    with Store.connect(StoreSettings(redis_url=redis_url)) as store:
        yield store


def test_a_diagnosis_runs_and_succeeds(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    attempt = started(store, message.id)
    assert attempt.number == 1
    assert attempt.progress(diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD, 0.5)
    running = store.diagnoses.get(message.id)
    assert (RUNNING, diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD, 0.5) == (running.state, running.stage, running.progress)
    assert running.HasField("start_time")
    assert attempt.succeed(result_of())
    done = store.diagnoses.get(message.id)
    assert (SUCCEEDED, 1.0, 1, 4) == (done.state, done.progress, done.attempt, done.revision)
    assert done.stage == diagnosis_pb2.DIAGNOSIS_STAGE_UNSPECIFIED
    assert done.result == result_of()
    assert done.end_time.ToMilliseconds() < done.expire_time.ToMilliseconds()
    basic = store.diagnoses.get(message.id, full=False)
    assert (0, 0, 1) == (len(basic.result.sites), len(basic.result.parameters), len(basic.result.findings))


def test_only_one_worker_starts_a_diagnosis(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    started(store, message.id)
    assert store.diagnoses.start(message.id, "another") is None
    assert store.diagnoses.start("unknown", "another") is None


def test_a_failure_is_kept(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    assert started(store, message.id).fail(BAD_INPUTS)
    failed = store.diagnoses.get(message.id)
    assert (FAILED, BAD_INPUTS) == (failed.state, failed.failure)


def test_an_old_attempt_changes_nothing(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    old = started(store, message.id)
    assert old.give_back()
    new = started(store, message.id)
    assert (new.number, new.token != old.token) == (2, True)
    before = store.diagnoses.get(message.id)
    assert not old.progress(diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD, 0.9)
    assert not old.succeed(result_of())
    assert not old.fail(BAD_INPUTS)
    assert not old.give_back()
    assert old.renew() is Standing.FENCED
    assert before == store.diagnoses.get(message.id)
    assert new.renew() is Standing.ALIVE
    assert new.succeed(result_of(finding_pb2.SEVERITY_INFO))
    assert not old.fail(BAD_INPUTS)
    assert store.diagnoses.get(message.id).result == result_of(finding_pb2.SEVERITY_INFO)


def test_a_write_whose_answer_was_lost_may_be_repeated(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    attempt = started(store, message.id)
    assert attempt.succeed(result_of())
    assert attempt.succeed(result_of())
    assert store.counters.read().completed["succeeded"] == 1
    assert store.diagnoses.get(message.id).revision == 3


def test_giving_back_queues_again(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    attempt = started(store, message.id)
    assert store.queue.depth(QUEUE) == 0
    assert attempt.give_back()
    assert store.diagnoses.get(message.id).state == QUEUED
    assert store.queue.depth(QUEUE) == 1
    assert store.queue.tickets(QUEUE) == 2  # the first one was not taken: it was started out of turn


def test_cancel_while_queued(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    assert store.diagnoses.cancel(message.id).state == CANCELLED
    assert store.queue.tickets(QUEUE) == 0
    assert store.queue.depth(QUEUE) == 0
    assert store.diagnoses.start(message.id, "worker") is None


def test_cancel_while_running(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    attempt = started(store, message.id)
    assert store.diagnoses.cancel(message.id).state == CANCELLED
    assert attempt.renew() is Standing.CANCELLED
    assert not attempt.progress(diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD, 0.5)
    assert not attempt.succeed(result_of())
    assert store.diagnoses.get(message.id).state == CANCELLED


def test_cancel_leaves_a_finished_diagnosis_as_it_is(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    started(store, message.id).fail(BAD_INPUTS)
    before = store.diagnoses.get(message.id, full=False)
    assert before == store.diagnoses.cancel(message.id)
    cancelled, _ = store.diagnoses.create(spec_of(store))
    assert store.diagnoses.cancel(cancelled.id) == store.diagnoses.cancel(cancelled.id)
    with pytest.raises(DiagnosisNotFound, match="unknown"):
        store.diagnoses.cancel("unknown")


def test_delete_only_what_is_finished_and_leave_nothing(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store, run="r", labels={"a": "b"}), "request")
    with pytest.raises(NotFinished):
        store.diagnoses.delete(message.id)
    started(store, message.id).succeed(result_of())
    store.diagnoses.delete(message.id)
    with pytest.raises(DiagnosisNotFound):
        store.diagnoses.get(message.id)
    with pytest.raises(DiagnosisNotFound):
        store.diagnoses.delete(message.id)
    store.reap()
    client: redis.Redis = store.connection.client
    passing = (b"gradclinic:started:", b"gradclinic:rate")  # they expire
    assert {key for key in client.scan_iter("gradclinic:*") if not key.startswith(passing)} == {
        b"gradclinic:counters",
        b"gradclinic:dropped:default:" + message.id.encode(),  # for a minute: a delete whose answer is lost comes again
        b"gradclinic:queues",
        b"gradclinic:sequence:default",
        b"gradclinic:stored_bytes",
        b"gradclinic:turns:gradclinic:cpu",
    }


def test_progress_stays_within_its_range(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    attempt = started(store, message.id)
    attempt.progress(diagnosis_pb2.DIAGNOSIS_STAGE_PROVE, 7.0)
    assert store.diagnoses.get(message.id).progress == 1.0
    attempt.progress(diagnosis_pb2.DIAGNOSIS_STAGE_PROVE, -1.0)
    assert store.diagnoses.get(message.id).progress == 0.0


def test_a_strange_code_does_not_become_a_label(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    result = diagnosis_pb2.DiagnosisResult(
        findings=[
            finding_pb2.Finding(code="a:b", severity=finding_pb2.SEVERITY_INFO),
            finding_pb2.Finding(code="x" * 100, severity=finding_pb2.Severity.ValueType(77)),
        ]
    )
    assert started(store, message.id).succeed(result)
    assert store.counters.read().findings == {("other", "info"): 1, ("other", "unspecified"): 1}
