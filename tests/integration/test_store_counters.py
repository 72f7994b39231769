"""Counters: `submitted = completed + in flight` after any history, and histograms that add up."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store import Store, StoreSettings
from gradclinic_store.counters import EDGES_SECONDS, Totals
from store_cases import MODEL, QUEUE, result_of, spec_of, started, upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_store import Attempt

BAD_INPUTS = diagnosis_pb2.Failure(reason=diagnosis_pb2.FAILURE_REASON_BAD_INPUTS)


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    with Store.connect(StoreSettings(redis_url=redis_url)) as store:
        yield store


def assert_balanced(totals: Totals) -> None:
    assert totals.submitted == sum(totals.completed.values()) + totals.in_flight


def test_an_empty_store_counts_nothing(store: Store) -> None:
    assert Totals() == store.counters.read()


@pytest.mark.parametrize("seed", range(3))
def test_any_history_is_balanced(store: Store, seed: int) -> None:
    draw = random.Random(seed)
    spec = spec_of(store)
    ids: list[str] = []
    attempts: list[Attempt] = []
    for _ in range(150):
        match draw.choice(["create", "create", "start", "start", "succeed", "fail", "give back", "cancel", "delete"]):
            case "create":
                upload(store, MODEL)  # the last diagnosis that named it may have been deleted
                ids.append(store.diagnoses.create(spec, str(draw.randrange(60)))[0].id)
            case "start" if ids:
                if attempt := store.diagnoses.start(draw.choice(ids), "worker"):
                    attempts.append(attempt)
            case "succeed" if attempts:
                draw.choice(attempts).succeed(result_of())
            case "fail" if attempts:
                draw.choice(attempts).fail(BAD_INPUTS)
            case "give back" if attempts:
                draw.choice(attempts).give_back()
            case "cancel" if ids:
                store.diagnoses.cancel(draw.choice(ids))
            case "delete" if ids:
                delete_if_finished(store, ids, draw.randrange(len(ids)))
        assert_balanced(store.counters.read())
    totals = store.counters.read()
    assert totals.queue_wait.count == totals.attempts
    assert totals.run.count == totals.completed["succeeded"] + totals.completed["failed"] + running_cancelled(totals)


def delete_if_finished(store: Store, ids: list[str], at: int) -> None:
    if store.diagnoses.get(ids[at], full=False).HasField("end_time"):
        store.diagnoses.delete(ids[at])
        ids[:] = [diagnosis_id for diagnosis_id in ids if diagnosis_id != ids[at]]


def running_cancelled(totals: Totals) -> int:
    cancelled = totals.run.count - totals.completed["succeeded"] - totals.completed["failed"]
    assert 0 <= cancelled <= totals.completed["cancelled"]
    return cancelled


def test_counters_balance_while_others_write(store: Store) -> None:
    spec = spec_of(store)

    def live(number: int) -> None:
        message, _ = store.diagnoses.create(spec)
        attempt = started(store, message.id)
        if number % 2:
            attempt.succeed(result_of())
        else:
            store.diagnoses.cancel(message.id)

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(live, number) for number in range(80)]
        while not all(future.done() for future in running):
            assert_balanced(store.counters.read())
        for future in running:
            future.result()
    totals = store.counters.read()
    assert (totals.submitted, totals.completed["succeeded"], totals.completed["cancelled"]) == (80, 40, 40)


def test_findings_and_times_are_counted(store: Store) -> None:
    for _ in range(2):
        message, _ = store.diagnoses.create(spec_of(store))
        started(store, message.id).succeed(result_of())
    totals = store.counters.read()
    assert totals.findings == {("dead-relu", "warning"): 2}
    assert set(totals.stages) == {"forward"}
    forward = totals.stages["forward"]
    assert forward.buckets[EDGES_SECONDS.index(0.05)] == forward.count == 2
    assert forward.sum_seconds == pytest.approx(0.08)
    assert totals.run.count == totals.queue_wait.count == totals.attempts == 2


def test_reading_changes_nothing(store: Store) -> None:
    store.diagnoses.create(spec_of(store))
    client = store.connection.client
    before = {key: client.dump(key) for key in client.scan_iter("*")}
    store.counters.read()
    store.queue.depth(QUEUE)
    store.queue.oldest_age_seconds(QUEUE)
    store.fleet.live()
    store.diagnoses.page()
    assert before == {key: client.dump(key) for key in client.scan_iter("*")}
