"""Redis restarted, stopped, gone or full: nothing accepted is lost, and callers hear about it in time."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store import Standing, Store, StoreSettings
from gradclinic_store import connection as connection_module
from gradclinic_store.errors import DiagnosisNotFound, StoreFull, StoreUnavailable
from store_cases import MODEL, QUEUE, result_of, spec_of, started, upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from real_redis import RedisServer


def test_a_restart_keeps_everything(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    with Store.connect(StoreSettings(redis_url=server.url)) as store:
        done, _ = store.diagnoses.create(spec_of(store), "request")
        started(store, done.id).succeed(result_of())
        queued, _ = store.diagnoses.create(spec_of(store))
        running, _ = store.diagnoses.create(spec_of(store))
        attempt = started(store, running.id)
        before = [store.diagnoses.get(diagnosis_id) for diagnosis_id in (done.id, queued.id, running.id)]
        totals = store.counters.read()
        server.restart()
        assert before == [store.diagnoses.get(diagnosis_id) for diagnosis_id in (done.id, queued.id, running.id)]
        assert totals == store.counters.read()
        assert store.queue.tickets(QUEUE) == 3
        assert b"".join(store.artifacts.read(done.spec.model_sha256)) == MODEL
        assert store.diagnoses.create(done.spec, "request")[0].id == done.id
        assert attempt.succeed(result_of())  # the scripts are gone from the new server, and come back by themselves


def test_a_kill_loses_nothing_that_is_a_second_old(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    with Store.connect(StoreSettings(redis_url=server.url)) as store:
        message, _ = store.diagnoses.create(spec_of(store))
        time.sleep(2.1)
        server.restart(signal.SIGKILL)
        assert message == store.diagnoses.get(message.id)


def test_a_short_absence_is_waited_for(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    with Store.connect(StoreSettings(redis_url=server.url, patience_seconds=10)) as store:
        message, _ = store.diagnoses.create(spec_of(store))
        attempt = started(store, message.id)
        server.stop()
        back = threading.Timer(1.0, server.start)
        back.start()
        assert attempt.succeed(result_of())
        back.join()
        assert store.diagnoses.get(message.id).result == result_of()


def test_a_long_absence_is_told_in_time(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    with Store.connect(StoreSettings(redis_url=server.url, patience_seconds=0.5)) as store:
        spec = spec_of(store)
        server.stop()
        begin = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            store.diagnoses.create(spec)
        assert 0.3 < time.monotonic() - begin < 3
        assert caught.value.retry_seconds > 0
        with pytest.raises(StoreUnavailable):
            store.ping()


@pytest.mark.parametrize("by_socket", [True, False])
def test_a_redis_that_hangs_is_told_in_time(private_redis: Callable[..., RedisServer], *, by_socket: bool) -> None:
    server = private_redis()
    url = server.url if by_socket else server.tcp_url
    with Store.connect(StoreSettings(redis_url=url, patience_seconds=0.5)) as store:
        store.ping()
        os.kill(server.pid, signal.SIGSTOP)
        begin = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.counters.read()
        assert time.monotonic() - begin < 8
        os.kill(server.pid, signal.SIGCONT)
        store.ping()


def test_a_redis_without_memory_is_full(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis("--maxmemory", "8mb", "--maxmemory-policy", "noeviction")
    with Store.connect(StoreSettings(redis_url=server.url)) as store:
        message, _ = store.diagnoses.create(spec_of(store))
        with pytest.raises(StoreFull, match="maxmemory of 8,388,608 bytes") as refused:
            upload(store, os.urandom(16 * 1024 * 1024))
        assert ("redis_memory", 8 << 20) == (refused.value.limit, refused.value.limit_value)
        assert store.diagnoses.get(message.id) == message
        assert store.diagnoses.page()[0] == [message]


def test_what_was_accepted_ends_in_a_full_redis(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    with Store.connect(StoreSettings(redis_url=server.url)) as store:
        spec = spec_of(store)
        ids = [store.diagnoses.create(spec)[0].id for _ in range(6)]
        attempts = [started(store, diagnosis_id) for diagnosis_id in ids[:3]]
        store.connection.client.config_set("maxmemory", 1)
        for refused in (lambda: store.diagnoses.create(spec), lambda: upload(store, b"more")):
            with pytest.raises(StoreFull, match="maxmemory"):
                refused()
        attempts.append(started(store, ids[3]))
        assert attempts[0].progress(diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD, 0.5)
        assert attempts[0].renew() is Standing.ALIVE
        assert attempts[0].succeed(result_of())
        assert attempts[1].fail(diagnosis_pb2.Failure(reason=diagnosis_pb2.FAILURE_REASON_BAD_INPUTS))
        store.diagnoses.cancel(ids[2])
        store.diagnoses.cancel(ids[4])
        store.diagnoses.delete(ids[4])
        assert store.diagnoses.get(ids[0]).result == result_of()
        totals = store.counters.read()
        assert (totals.submitted, sum(totals.completed.values()), totals.in_flight) == (6, 4, 2)


def test_a_full_redis_makes_room_by_what_is_over(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    settings = StoreSettings(redis_url=server.url, artifact_retention_seconds=0.05, diagnosis_retention_seconds=0.05)
    with Store.connect(settings) as store:
        message, _ = store.diagnoses.create(spec_of(store))
        started(store, message.id).succeed(result_of())
        lost, _ = store.diagnoses.create(spec_of(store, seed=1))
        started(store, lost.id)
        upload(store, os.urandom(1024 * 1024))
        store.connection.client.zadd("gradclinic:leases", {lost.id: 1})
        time.sleep(0.1)
        store.connection.client.config_set("maxmemory", 1)
        with contextlib.suppress(StoreFull):  # the lost one cannot get its queue entry yet
            store.reap()
        assert store.counters.read().stored_bytes == len(MODEL)  # what the lost one needs
        with pytest.raises(DiagnosisNotFound):
            store.diagnoses.get(message.id)


@pytest.mark.parametrize("what", ["accepted", "accepted again", "ended"])
def test_nothing_is_told_before_it_is_in_the_file(
    store_behind_a_slow_disk: Callable[[], tuple[Store, list[int]]], what: str
) -> None:
    store, buffered = store_behind_a_slow_disk()
    spec = spec_of(store)
    message, _ = store.diagnoses.create(spec, "request")
    if what == "ended":
        started(store, message.id).succeed(result_of())
    buffered[:] = [3000, 2000, 0]
    if what == "ended":
        store.diagnoses.get(message.id)
    else:
        store.diagnoses.create(spec, "request" if what == "accepted again" else "another request")
    assert buffered == []


def test_a_disk_that_takes_nothing_is_told(
    store_behind_a_slow_disk: Callable[[], tuple[Store, list[int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "WRITTEN_WITHIN_SECONDS", 0.1)
    store, buffered = store_behind_a_slow_disk()
    spec = spec_of(store)
    buffered[:] = [1] * 1000
    with pytest.raises(StoreUnavailable, match="append-only file"):
        store.diagnoses.create(spec, "request")
    buffered.clear()
    assert len(store.diagnoses.page()[0]) == 1
    assert store.diagnoses.create(spec, "request")[1] is False


@pytest.fixture
def store_behind_a_slow_disk(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], tuple[Store, list[int]]]]:
    """Makes a store, and a list of how many bytes Redis says it has not written yet, one for each time it is asked."""
    buffered: list[int] = []
    with Store.connect(StoreSettings(redis_url=redis_url)) as store:
        truly = store.connection.client.info

        def info(*sections: str) -> Any:
            if sections != ("persistence",):
                return truly(*sections)
            return {"aof_buffer_length": buffered.pop(0) if buffered else 0}

        monkeypatch.setattr(store.connection.client, "info", info)
        yield lambda: (store, buffered)


def test_redis_tells_what_it_has_not_written(private_redis: Callable[..., RedisServer]) -> None:
    with Store.connect(StoreSettings(redis_url=private_redis().url)) as store:
        told = store.connection.client.info("persistence")
        assert (told["aof_enabled"], type(told["aof_buffer_length"])) == (1, int)
    with Store.connect(StoreSettings(redis_url=private_redis("--appendonly", "no").url)) as store:
        assert store.diagnoses.create(spec_of(store))[1]


@pytest.mark.parametrize("said", ["MISCONF its disk is full", "BUSY with a script"])
def test_what_redis_refuses_within_a_pipeline_is_an_outage(redis_url: str, said: str) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url)) as store:
        pipeline = store.connection.client.pipeline(transaction=False)
        pipeline.eval(f"return redis.error_reply('{said}')", 0)
        with pytest.raises(StoreUnavailable, match="Redis takes no"), store.connection.translated():
            pipeline.execute()
