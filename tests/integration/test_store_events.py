"""Events: every change, in order, without gaps, resumable, ended by the final one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store import Store, StoreSettings
from gradclinic_store import events as events_module
from gradclinic_store.errors import DiagnosisNotFound, StoreUnavailable
from store_cases import result_of, spec_of, started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from real_redis import RedisServer

FORWARD = diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    with Store.connect(StoreSettings(redis_url=redis_url)) as store:
        yield store


async def follow(store: Store, diagnosis_id: str, after_revision: int = 0) -> list[diagnosis_pb2.DiagnosisEvent]:
    return [event async for event in store.events.follow(diagnosis_id, after_revision)]


async def test_a_finished_diagnosis_is_told_from_its_beginning(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    attempt = started(store, message.id)
    attempt.progress(FORWARD, 0.25)
    attempt.succeed(result_of())
    events = await follow(store, message.id)
    assert [(e.revision, e.state, e.stage, e.progress, e.attempt) for e in events] == [
        (1, diagnosis_pb2.DIAGNOSIS_STATE_QUEUED, 0, 0.0, 0),
        (2, diagnosis_pb2.DIAGNOSIS_STATE_RUNNING, diagnosis_pb2.DIAGNOSIS_STAGE_FETCH, 0.0, 1),
        (3, diagnosis_pb2.DIAGNOSIS_STATE_RUNNING, FORWARD, 0.25, 1),
        (4, diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED, 0, 1.0, 1),
    ]
    assert not any(event.HasField("diagnosis") for event in events)
    assert events[0].time.ToMilliseconds() <= events[-1].time.ToMilliseconds()


async def test_following_goes_on_after_a_revision(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    store.diagnoses.cancel(message.id)
    assert [event.revision for event in await follow(store, message.id, 1)] == [2]
    assert await follow(store, message.id, 2) == []
    assert await follow(store, message.id, 1000) == []


async def test_events_arrive_as_they_happen(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    following = asyncio.create_task(follow(store, message.id))
    await asyncio.sleep(0.1)
    attempt = started(store, message.id)
    begin = asyncio.get_running_loop().time()
    attempt.succeed(result_of())
    events = await asyncio.wait_for(following, 5)
    assert asyncio.get_running_loop().time() - begin < 1.0
    assert [event.revision for event in events] == [1, 2, 3]


async def test_hundreds_follow_one_diagnosis(store: Store) -> None:
    """More than the connections that redis-py would grant by itself, which is 100."""
    message, _ = store.diagnoses.create(spec_of(store))
    come = asyncio.Semaphore(0)

    async def follow_and_tell() -> list[int]:
        revisions = []
        async for event in store.events.follow(message.id):
            revisions.append(event.revision)
            come.release()
        return revisions

    async with store.events.connected(), asyncio.timeout(20):
        followers = [asyncio.create_task(follow_and_tell()) for _ in range(250)]
        for _ in followers:
            await come.acquire()
        store.diagnoses.cancel(message.id)
        assert await asyncio.gather(*followers) == [[1, 2]] * len(followers)


async def test_an_unknown_diagnosis_is_told_at_once(store: Store) -> None:
    with pytest.raises(DiagnosisNotFound):
        await asyncio.wait_for(follow(store, "unknown"), 1)


async def test_a_diagnosis_deleted_while_it_is_followed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "LOOK_EVERY_SECONDS", 0.1)
    message, _ = store.diagnoses.create(spec_of(store))
    events = store.events.follow(message.id)
    assert (await anext(events)).revision == 1
    store.diagnoses.cancel(message.id)
    store.diagnoses.delete(message.id)
    with pytest.raises(DiagnosisNotFound):
        await asyncio.wait_for(anext(events), 5)


async def test_who_follows_waits_for_a_turn_to_begin_and_not_to_go_on(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    turn = asyncio.Semaphore(1)
    await turn.acquire()
    beginning = asyncio.ensure_future(anext(events := store.events.follow(message.id, turn=turn)))
    await asyncio.sleep(0.2)
    assert not beginning.done()
    turn.release()
    assert 1 == (await asyncio.wait_for(beginning, 5)).revision
    await turn.acquire()
    store.diagnoses.cancel(message.id)
    assert 2 == (await asyncio.wait_for(anext(events), 5)).revision


async def test_following_survives_a_restart_of_redis(private_redis: Callable[[], RedisServer]) -> None:
    server = private_redis()
    with Store.connect(StoreSettings(redis_url=server.url)) as store:
        message, _ = store.diagnoses.create(spec_of(store))
        following = asyncio.create_task(follow(store, message.id))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(server.start)
        store.diagnoses.cancel(message.id)
        assert [event.revision for event in await asyncio.wait_for(following, 15)] == [1, 2]


async def test_following_gives_up_when_redis_stays_away(private_redis: Callable[[], RedisServer]) -> None:
    server = private_redis()
    with Store.connect(StoreSettings(redis_url=server.url, patience_seconds=0.02)) as store:
        message, _ = store.diagnoses.create(spec_of(store))
        server.stop()
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(follow(store, message.id), 10)


async def test_the_end_is_told_when_the_events_are_gone(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    started(store, message.id).succeed(result_of())
    key = f"{events_module.EVENTS_KEY}default:{message.id}"
    assert 0 < store.connection.client.pttl(key) <= 600_000
    store.connection.client.delete(key)
    (last,) = [event async for event in store.events.follow(message.id)]
    assert (3, diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED, 1.0, 1) == (
        last.revision,
        last.state,
        last.progress,
        last.attempt,
    )
    assert last.time == store.diagnoses.get(message.id).end_time
    assert [] == [event async for event in store.events.follow(message.id, 3)]
