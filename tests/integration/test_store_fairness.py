"""Whose turn it is: tenants share the workers fairly, a tenant's own diagnoses go by priority, and limits hold."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store import Attempt, Store, StoreSettings
from gradclinic_store import reaper as reaper_module
from store_cases import MODEL, QUEUE, declaration_of, result_of, sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TENANTS = 20
WORKERS = 4


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    with Store.connect(StoreSettings(redis_url=redis_url)) as connected:
        yield connected


def jain(shares: Sequence[float]) -> float:
    """Jain's index of fairness: 1 when all have the same, 1/n when one has everything.

    R. Jain, D. Chiu, W. Hawe: A Quantitative Measure of Fairness and Discrimination for Resource Allocation in Shared
    Computer Systems. DEC Research Report TR-301, 1984.
    """
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))


def test_jains_index_is_what_the_paper_says() -> None:
    assert jain([3, 3, 3, 3]) == 1.0
    assert jain([1, 0, 0, 0]) == 0.25
    assert jain([1, 1, 1, 0]) == 0.75


def create(store: Store, tenant: str, count: int = 1, priority: int = 0) -> list[str]:
    """Queue diagnoses of a tenant; returns their ids."""
    held = store.of(tenant)
    if held.artifacts.stat(sha256_of(MODEL)) is None:
        with held.artifacts.upload(declaration_of(MODEL)) as upload:
            upload.write(0, MODEL)
            upload.finish()
    spec = diagnosis_pb2.DiagnosisSpec(model_sha256=sha256_of(MODEL), device="cpu", priority=priority)
    return [held.diagnoses.create(spec)[0].id for _ in range(count)]


def take(store: Store) -> Attempt:
    attempt = store.diagnoses.take("cpu-test", "worker")
    assert attempt is not None
    return attempt


def tenant_of(store: Store, attempt: Attempt) -> str:
    return field(store, attempt, "tenant").decode()


def field(store: Store, attempt: Attempt, name: str) -> bytes:
    value = store.connection.client.hget(f"gradclinic:diagnosis:{attempt.diagnosis.id}", name)
    assert isinstance(value, bytes)
    return value


def turns(store: Store, count: int, *, seconds: dict[str, float] | None = None) -> list[str]:
    """Whose turn it is, one diagnosis at a time; a run takes so long as its tenant's do."""
    seen = []
    for _ in range(count):
        attempt = take(store)
        seen.append(tenant_of(store, attempt))
        ran_seconds = (seconds or {}).get(seen[-1], 0.0)
        client = store.connection.client
        began_ms = int(field(store, attempt, "start_ms")) - round(1000 * ran_seconds)
        client.hset(f"gradclinic:diagnosis:{attempt.diagnosis.id}", "start_ms", began_ms)
        assert attempt.succeed(result_of())
    return seen


def served(store: Store, finished: list[str], stop: threading.Event) -> None:
    """A worker: takes a ticket from rq's list, shows it, works a moment."""
    client = store.connection.client
    while not stop.is_set():
        ticket = client.rpop("rq:queue:" + QUEUE)
        attempt = store.diagnoses.take(ticket.decode(), "worker") if isinstance(ticket, bytes) else None
        if attempt is None:
            time.sleep(0.001)
            continue
        tenant = tenant_of(store, attempt)
        time.sleep(0.001)
        assert attempt.succeed(result_of())
        finished.append(tenant)


def test_a_thousand_diagnoses_of_twenty_tenants_end_fairly(redis_url: str) -> None:
    """The first tenant queued 500 before anybody else came; 19 others have 26 or 27 each."""
    names = [f"tenant-{number}" for number in range(TENANTS)]
    counts = dict.fromkeys(names, 26) | {names[0]: 500} | dict.fromkeys(names[1:7], 27)
    assert sum(counts.values()) == 1000
    finished: list[str] = []
    stop = threading.Event()
    with ExitStack() as cleanup:
        store = cleanup.enter_context(Store.connect(StoreSettings(redis_url=redis_url)))
        for name, count in counts.items():
            create(store, name, count)
        threads = [threading.Thread(target=served, args=(store, finished, stop)) for _ in range(WORKERS)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len(finished) < 1000 and time.monotonic() < deadline:
            time.sleep(0.02)
        stop.set()
        for thread in threads:
            thread.join()
    assert Counter(finished) == counts
    # While all of them wait, that is for 26 rounds, each window of five turns per tenant is fair.
    everybody_waits = 26 * TENANTS
    for begin in range(everybody_waits - 5 * TENANTS):
        window = Counter(finished[begin : begin + 5 * TENANTS])
        assert jain([window[name] for name in names]) >= 0.95, window
    whole = Counter(finished[:everybody_waits])
    assert jain([whole[name] for name in names]) >= 0.99, whole


def test_a_newcomer_waits_for_one_turn_and_not_for_the_queue(store: Store) -> None:
    create(store, "big", 50)
    assert turns(store, 10) == ["big"] * 10
    create(store, "small", 3)
    assert Counter(turns(store, 6)) == {"big": 3, "small": 3}
    assert turns(store, 2) == ["big", "big"]


def test_whoever_was_away_gets_no_credit_for_it(store: Store) -> None:
    create(store, "here", 100)
    create(store, "away", 1)
    turns(store, 60)
    create(store, "away", 40)
    assert 19 <= turns(store, 40).count("away") <= 21


def test_long_runs_count_by_their_time(store: Store) -> None:
    create(store, "slow", 50)
    create(store, "fast", 50)
    seen = Counter(turns(store, 44, seconds={"slow": 10.0, "fast": 1.0}))
    assert 3 <= seen["slow"] <= 5  # one of ten seconds to ten of one second


def test_a_tenant_that_pays_for_long_runs_does_not_begin_anew_when_it_comes_back(store: Store) -> None:
    create(store, "slow", 1)
    turns(store, 1, seconds={"slow": 30.0})
    create(store, "fast", 40)
    turns(store, 1)
    create(store, "slow", 1)
    assert turns(store, 20) == ["fast"] * 20


def test_whoever_runs_least_comes_first(store: Store) -> None:
    create(store, "a", 10)
    create(store, "b", 10)
    running = [take(store) for _ in range(4)]
    assert Counter(tenant_of(store, attempt) for attempt in running) == {"a": 2, "b": 2}
    for attempt in running:
        if tenant_of(store, attempt) == "a":
            attempt.succeed(result_of())
    assert [tenant_of(store, take(store)) for _ in range(2)] == ["a", "a"]


def test_priority_counts_among_ones_own_alone(store: Store) -> None:
    (late,) = create(store, "a", priority=-5)
    usual = create(store, "a", 2)
    (urgent,) = create(store, "a", priority=100)
    create(store, "b", 4, priority=-100)
    seen = [take(store) for _ in range(8)]
    assert [one.diagnosis.id for one in seen if tenant_of(store, one) == "a"] == [urgent, *usual, late]
    assert Counter(tenant_of(store, one) for one in seen[:4]) == {"a": 2, "b": 2}


def test_what_comes_back_stands_where_it_stood(store: Store) -> None:
    first, second, third = create(store, "a", 3)
    attempt = take(store)
    assert attempt.diagnosis.id == first
    assert attempt.give_back()
    assert [take(store).diagnosis.id for _ in range(3)] == [first, second, third]


def test_a_lost_one_comes_back_after_its_pause(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper_module, "PAUSE_SECONDS", 0.2)
    with Store.connect(StoreSettings(redis_url=redis_url, lease_seconds=0.05)) as store:
        first, second = create(store, "a", 2)
        assert take(store).diagnosis.id == first
        time.sleep(0.1)
        store.reap()
        store.of("a").diagnoses.cancel(second)
        assert store.diagnoses.take("cpu-x", "worker") is None
        until(lambda: store.reap() == [first])
        assert take(store).diagnosis.id == first


def test_a_call_whose_answer_was_lost_gets_the_same_diagnosis(store: Store) -> None:
    create(store, "a", 2)
    arguments = (QUEUE, "cpu-x", "worker", "nonce", 10_000, 0, "")
    once, again = (store.connection.run("start", *arguments) for _ in range(2))
    assert once == again
    assert store.counters.read().attempts == 1


def test_many_tenants_that_all_run_something_take_turns_too(store: Store) -> None:
    """More of them than are looked at for one start."""
    names = [f"tenant-{number}" for number in range(130)]
    for name in names:
        create(store, name, 3)
    for _ in range(2):
        assert Counter(tenant_of(store, take(store)) for _ in names) == dict.fromkeys(names, 1)


def test_a_tenant_at_its_limit_hides_nobody_behind_it(redis_url: str) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url, tenant_max_running=1)) as store:
        names = [f"tenant-{number}" for number in range(110)]
        for name in names:
            create(store, name, 2)
        assert Counter(tenant_of(store, take(store)) for _ in names) == dict.fromkeys(names, 1)
        assert store.diagnoses.take("cpu-x", "worker") is None
        create(store, "late", 1)
        assert tenant_of(store, take(store)) == "late"


def test_no_more_run_than_a_tenant_may(redis_url: str) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url, tenant_max_running=2)) as store:
        create(store, "a", 5)
        create(store, "b", 1)
        running = [take(store) for _ in range(3)]
        assert Counter(tenant_of(store, attempt) for attempt in running) == {"a": 2, "b": 1}
        assert store.diagnoses.take("cpu-x", "worker") is None
        store.queue.call_off(QUEUE, 6)  # idle workers took all tickets meanwhile, for nothing
        assert store.queue.settle(QUEUE) == 0
        ended = next(attempt for attempt in running if tenant_of(store, attempt) == "a")
        ended.succeed(result_of())
        assert store.queue.settle(QUEUE) == 1
        assert tenant_of(store, take(store)) == "a"


def test_cancelled_ones_leave_the_line_and_their_tickets(store: Store) -> None:
    ids = create(store, "a", 3)
    store.of("a").diagnoses.cancel(ids[0])
    assert (store.queue.tickets(QUEUE), store.queue.depth(QUEUE)) == (2, 2)
    assert take(store).diagnosis.id == ids[1]


def test_depth_and_age_are_those_of_all_tenants(store: Store) -> None:
    create(store, "a", 2)
    time.sleep(0.05)
    create(store, "b", 1)
    assert store.queue.depth(QUEUE) == 3
    assert 0.04 < store.queue.oldest_age_seconds(QUEUE) < 5
    totals = store.counters.read()
    assert (totals.submitted, totals.in_flight) == (3, 3)


def until(reached: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)
