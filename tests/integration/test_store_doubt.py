"""Commands that Redis executed while the caller was told otherwise, or never got: each is done once all the same."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store import Standing, Store, StoreSettings
from gradclinic_store import connection as connection_module
from gradclinic_store.connection import source
from gradclinic_store.errors import DiagnosisNotFound
from redis_proxy import Fate, RedisProxy
from store_cases import MODEL, QUEUE, declaration_of, result_of, spec_of, started, upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from real_redis import RedisServer

BAD_INPUTS = diagnosis_pb2.Failure(reason=diagnosis_pb2.FAILURE_REASON_BAD_INPUTS)
LARGE = os.urandom(9 * 1024 * 1024 + 5)


@pytest.fixture
def proxy(redis_server: RedisServer, redis_url: str) -> Iterator[RedisProxy]:
    assert redis_url
    with RedisProxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def store(proxy: RedisProxy) -> Iterator[Store]:
    with Store.connect(StoreSettings(redis_url=proxy.url, patience_seconds=10)) as store:
        yield store


@pytest.fixture(params=[Fate.LOSE_ANSWER, Fate.LOSE_COMMAND], ids=lambda fate: fate.name.lower())
def fate(request: pytest.FixtureRequest) -> Fate:
    chosen: Fate = request.param
    return chosen


@contextmanager
def doubtful(proxy: RedisProxy, mark: str, fate: Fate, times: int = 3) -> Iterator[None]:
    """Within the block, the first few calls of a script (or commands with a mark) meet their fate."""
    sha1 = hashlib.sha1(source(mark).encode(), usedforsecurity=False).hexdigest() if mark.islower() else mark
    trap = proxy.trap(sha1.encode(), fate, times)
    yield
    assert trap.sprung.is_set(), f"{mark} was never called"
    assert trap.times == 0


def totals_are(store: Store, **expected: int) -> None:
    totals = store.counters.read()
    assert {name: getattr(totals, name) for name in expected} == expected
    assert totals.submitted == sum(totals.completed.values()) + totals.in_flight


def test_create(store: Store, proxy: RedisProxy, fate: Fate) -> None:
    spec = spec_of(store)
    with doubtful(proxy, "create", fate):
        message, created = store.diagnoses.create(spec, "request")
    assert created
    assert store.diagnoses.create(spec, "request") == (message, False)
    totals_are(store, submitted=1, in_flight=1, deduplicated=1)
    assert store.queue.tickets(QUEUE) == 1


def test_the_ticket(store: Store, proxy: RedisProxy, fate: Fate) -> None:
    spec = spec_of(store)
    with doubtful(proxy, "RPUSH", fate):
        message, _ = store.diagnoses.create(spec)
    assert store.queue.tickets(QUEUE) >= 1
    assert started(store, message.id).succeed(result_of())
    assert store.diagnoses.take("cpu-surplus", "whoever takes the surplus ticket") is None


def test_start(store: Store, proxy: RedisProxy, fate: Fate) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    with doubtful(proxy, "start", fate):
        attempt = started(store, message.id)
    assert attempt.number == 1
    assert attempt.succeed(result_of())
    totals_are(store, attempts=1, in_flight=0)


def test_take(store: Store, proxy: RedisProxy, fate: Fate) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    store.diagnoses.create(spec_of(store))
    with doubtful(proxy, "start", fate):
        attempt = store.diagnoses.take("cpu-ticket", "worker")
    assert attempt is not None
    assert attempt.diagnosis.id == message.id
    totals_are(store, attempts=1, in_flight=2)


@pytest.mark.parametrize("script", ["progress", "renew"])
def test_a_sign_of_life(store: Store, proxy: RedisProxy, fate: Fate, script: str) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    attempt = started(store, message.id)
    with doubtful(proxy, script, fate):
        if script == "progress":
            assert attempt.progress(diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD, 0.5)
        else:
            assert attempt.renew() is Standing.ALIVE
    assert store.diagnoses.get(message.id).attempt == 1


def test_succeed(store: Store, proxy: RedisProxy, fate: Fate) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    attempt = started(store, message.id)
    with doubtful(proxy, "succeed", fate):
        assert attempt.succeed(result_of())
    totals = store.counters.read()
    assert totals.completed["succeeded"] == 1
    assert totals.findings == {("dead-relu", "warning"): 1}
    assert store.diagnoses.get(message.id).result == result_of()


def test_fail(store: Store, proxy: RedisProxy, fate: Fate) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    attempt = started(store, message.id)
    with doubtful(proxy, "fail", fate):
        assert attempt.fail(BAD_INPUTS)
    assert store.counters.read().completed["failed"] == 1


def test_give_back(store: Store, proxy: RedisProxy, fate: Fate) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    attempt = started(store, message.id)
    store.queue.call_off(QUEUE)  # a worker took it
    with doubtful(proxy, "give_back", fate):
        assert attempt.give_back()
    assert store.queue.tickets(QUEUE) >= 1
    assert started(store, message.id).succeed(result_of())


def test_cancel(store: Store, proxy: RedisProxy, fate: Fate) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    with doubtful(proxy, "cancel", fate):
        assert store.diagnoses.cancel(message.id).state == diagnosis_pb2.DIAGNOSIS_STATE_CANCELLED
    assert store.counters.read().completed["cancelled"] == 1
    assert store.diagnoses.start(message.id, "worker") is None


def test_delete(store: Store, proxy: RedisProxy, fate: Fate) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    store.diagnoses.cancel(message.id)
    with doubtful(proxy, "drop", fate):
        store.diagnoses.delete(message.id)
    with pytest.raises(DiagnosisNotFound):
        store.diagnoses.delete(message.id)


@pytest.mark.parametrize("script", ["upload_begin", "upload_append", "upload_finish", "artifact_touch"])
def test_an_upload(store: Store, proxy: RedisProxy, fate: Fate, script: str) -> None:
    upload(store, MODEL)
    with doubtful(proxy, script, fate, times=2):
        artifact = upload(store, LARGE)
        known = store.artifacts.touch(artifact.sha256)
    assert known is not None
    assert known.sha256 == artifact.sha256
    assert b"".join(store.artifacts.read(artifact.sha256)) == LARGE
    store.reap()
    assert store.counters.read().stored_bytes == len(MODEL) + len(LARGE)


def test_an_upload_that_is_dropped(store: Store, proxy: RedisProxy, fate: Fate) -> None:
    running = store.artifacts.upload(declaration_of(LARGE))
    running.write(0, LARGE[: 5 * 1024 * 1024])
    with doubtful(proxy, "upload_leave", fate), pytest.raises(Exception, match="bytes before the declared size"):
        running.finish()
    running.__exit__(None, None, None)
    assert store.counters.read().stored_bytes == 0


def test_a_lost_worker(store: Store, proxy: RedisProxy, fate: Fate) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    started(store, message.id)
    store.connection.client.zadd("gradclinic:leases", {message.id: 1})
    with doubtful(proxy, "lose", fate):
        store.diagnoses.reap()
    totals_are(store, lost=1, in_flight=1)


def test_an_answer_that_comes_too_late(
    store: Store, proxy: RedisProxy, monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer
) -> None:
    spec = spec_of(store)
    monkeypatch.setattr(connection_module, "SOCKET_TIMEOUT_SECONDS", 0.3)
    with Store.connect(StoreSettings(redis_url=proxy.url, patience_seconds=10)) as impatient:
        impatient.ping()
        sha1 = hashlib.sha1(source("create").encode(), usedforsecurity=False).hexdigest()
        trap = proxy.trap(sha1.encode(), Fate.HOLD_ANSWER)
        message, created = impatient.diagnoses.create(spec, "request")
        trap.release()
    assert created
    assert [each.id for each in store.diagnoses.page()[0]] == [message.id]
    assert redis_server.running


def test_a_network_that_was_cut(store: Store, proxy: RedisProxy) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    attempt = started(store, message.id)
    proxy.part()
    began = time.monotonic()

    def mend() -> None:
        time.sleep(1.0)
        proxy.mend()

    mending = Thread(target=mend)
    mending.start()
    assert attempt.succeed(result_of())
    mending.join()
    assert time.monotonic() - began < 8.0
    assert store.counters.read().completed["succeeded"] == 1
