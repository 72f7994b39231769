"""Limits of the store: which one refuses, whose it is, when to come back, and that one tenant's are not another's."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store import Store, StoreSettings, memory
from gradclinic_store.errors import LimitReached, QueueFull, StoreFull, TooManySubmissions
from store_cases import MODEL, declaration_of, result_of, sha256_of, spec_of, started, upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from real_redis import RedisServer

MIB = 1024 * 1024
SPEC = diagnosis_pb2.DiagnosisSpec(model_sha256=sha256_of(MODEL), device="cpu")


def ready(store: Store, tenant: str) -> None:
    with store.of(tenant).artifacts.upload(declaration_of(MODEL)) as sending:
        sending.write(0, MODEL)
        sending.finish()


def create(store: Store, tenant: str, request_id: str = "") -> str:
    return store.of(tenant).diagnoses.create(SPEC, request_id)[0].id


def refusal(store: Store, tenant: str, kind: type[LimitReached]) -> tuple[str, float, str]:
    with pytest.raises(kind) as caught:
        create(store, tenant)
    assert caught.value.retry_seconds
    return caught.value.limit, caught.value.limit_value, caught.value.scope


def test_one_tenant_fills_its_share_of_the_queue_and_no_more(redis_url: str) -> None:
    settings = StoreSettings(redis_url=redis_url, max_queued=4, tenant_max_queued=2)
    with Store.connect(settings) as store:
        for tenant in ("red", "blue", "green"):
            ready(store, tenant)
        first = create(store, "red", "request")
        create(store, "red")
        assert refusal(store, "red", QueueFull) == ("tenant_max_queued", 2, "tenant")
        assert create(store, "red", "request") == first  # the same request again is none more
        create(store, "blue")
        create(store, "blue")
        assert refusal(store, "green", QueueFull) == ("max_queued", 4, "all")
        store.of("red").diagnoses.cancel(first)
        create(store, "green")
        totals = store.counters.read()
        assert totals.submitted == totals.in_flight + sum(totals.completed.values()) == 5


def test_what_runs_does_not_wait(redis_url: str) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url, tenant_max_queued=1, max_queued=10)) as store:
        ready(store, "red")
        started(store, create(store, "red"))
        create(store, "red")
        assert store.usage("red").queued == store.usage("red").running == 1
        assert store.usage("red").stored_bytes == len(MODEL)
        assert store.usage("blue").queued == 0


def test_submissions_come_in_bursts_and_then_at_their_rate(redis_url: str) -> None:
    settings = StoreSettings(
        redis_url=redis_url, tenant_submissions_per_second=5.0, submission_burst_seconds=1.0, max_queued=1000
    )
    with Store.connect(settings) as store:
        for tenant in ("red", "blue"):
            ready(store, tenant)
        began = time.monotonic()
        accepted = 0
        refused: list[TooManySubmissions] = []
        while time.monotonic() - began < 1.5:
            try:
                create(store, "red")
                accepted += 1
            except TooManySubmissions as error:
                refused.append(error)
                time.sleep(error.retry_seconds or 0)
        for told in refused:
            assert (told.limit, told.limit_value, told.scope) == ("tenant_submissions_per_second", 5.0, "tenant")
            assert told.retry_seconds is not None
            assert 0 < told.retry_seconds <= 0.2
        # Five at once, then five per second; the last one may be cut off, and the clock goes on while we count.
        assert 5 + 5 <= accepted <= 5 + 8 + 1
        create(store, "blue")  # has a bucket of its own


def test_the_rate_of_all_is_of_all(redis_url: str) -> None:
    settings = StoreSettings(
        redis_url=redis_url,
        submissions_per_second=0.1,
        tenant_submissions_per_second=0.0,
        submission_burst_seconds=20.0,
    )
    with Store.connect(settings) as store:
        for tenant in ("red", "blue", "green"):
            ready(store, tenant)
        create(store, "red", "request")
        create(store, "blue")
        assert refusal(store, "green", TooManySubmissions) == ("submissions_per_second", 0.1, "all")
        create(store, "red", "request")  # a retry of what was accepted takes nothing
        rates = store.connection.client.keys("gradclinic:rate*")
        assert rates == [b"gradclinic:rate"]
        assert 0 < store.connection.client.pttl(rates[0]) <= 30_000


def test_a_refusal_takes_no_token(redis_url: str) -> None:
    settings = StoreSettings(
        redis_url=redis_url,
        max_queued=1,
        submissions_per_second=0.001,
        tenant_submissions_per_second=0.001,
        submission_burst_seconds=2000.0,
    )
    with Store.connect(settings) as store:
        ready(store, "red")
        first = create(store, "red")
        for _ in range(5):
            assert refusal(store, "red", QueueFull) == ("max_queued", 1, "all")
        store.of("red").diagnoses.cancel(first)
        create(store, "red")


def test_reused_answers_count_as_submissions(redis_url: str) -> None:
    settings = StoreSettings(redis_url=redis_url, tenant_submissions_per_second=0.001, submission_burst_seconds=2000.0)
    with Store.connect(settings) as store:
        spec = spec_of(store)
        first, _ = store.diagnoses.create(spec)
        started(store, first.id).succeed(result_of())
        again, _ = store.diagnoses.create(spec, allow_reuse=True)
        assert again.reused
        with pytest.raises(TooManySubmissions):
            store.diagnoses.create(spec, allow_reuse=True)


def test_near_its_limit_redis_takes_no_new_work_and_still_ends_the_old(
    private_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "LOOK_EVERY_SECONDS", 0.0)
    server = private_redis("--maxmemory", f"{24 * MIB}", "--maxmemory-policy", "noeviction")
    with Store.connect(StoreSettings(redis_url=server.url, memory_reserve_share=0.5)) as store:
        spec = spec_of(store)
        done, _ = store.diagnoses.create(spec)
        started(store, done.id).succeed(result_of())
        running, _ = store.diagnoses.create(spec)
        attempt = started(store, running.id)
        ballast = [f"ballast:{number}" for number in range(13)]
        for key in ballast:
            store.connection.client.set(key, b"x" * MIB)
        with pytest.raises(StoreFull, match="near its limit of 25,165,824 bytes") as refused:
            store.diagnoses.create(spec)
        assert (refused.value.limit, refused.value.limit_value) == ("redis_memory", 24 * MIB)
        assert (refused.value.scope, refused.value.retry_seconds) == ("all", 10.0)
        with pytest.raises(StoreFull, match="near its limit"):
            upload(store, b"another model")
        assert store.diagnoses.create(spec, allow_reuse=True)[0].reused  # takes next to nothing
        assert attempt.succeed(result_of())
        store.connection.client.delete(*ballast)
        store.diagnoses.create(spec)


def test_artifacts_make_room_for_records(
    private_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "LOOK_EVERY_SECONDS", 0.0)
    server = private_redis("--maxmemory", f"{40 * MIB}", "--maxmemory-policy", "noeviction")
    settings = StoreSettings(redis_url=server.url, max_artifact_bytes=32 * MIB, max_stored_bytes=32 * MIB)
    with Store.connect(settings) as store:
        client: Any = store.connection.client
        needed = spec_of(store)
        store.diagnoses.create(needed)
        unused = [upload(store, bytes([number]) * MIB).sha256 for number in range(24)]
        for held in client.zrange("gradclinic:artifacts", 0, -1):
            client.zincrby("gradclinic:artifacts", -600_000, held)  # all were used ten minutes ago
        for number in range(10):
            client.set(f"records:{number}", b"x" * MIB)
        with pytest.raises(StoreFull, match="near its limit"):
            store.diagnoses.create(needed)
        store.reap()
        store.diagnoses.create(needed)
        gone = [sha256 for sha256 in unused if store.artifacts.stat(sha256) is None]
        assert store.artifacts.stat(needed.model_sha256) is not None
        assert len(gone) == store.counters.read().evictions >= 1
        for _ in range(5):
            store.reap()
        assert store.counters.read().evictions <= 8  # no more than needed


def test_a_redis_without_a_limit_is_never_short(redis_url: str) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url, memory_reserve_share=0.99)) as store:
        assert store.memory().limit_bytes == 0
        store.diagnoses.create(spec_of(store))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"tenant_max_queued": 1001}, "tenant_max_queued must not be above max_queued"),
        ({"tenant_max_stored_bytes": 1 << 40}, "tenant_max_stored_bytes must not be above max_stored_bytes"),
        ({"tenant_max_running": -1}, "tenant_max_running: -1 is not in the range"),
        ({"submissions_per_second": -0.5}, "submissions_per_second: -0.5 is not in the range"),
        ({"submission_burst_seconds": 0.0}, "submission_burst_seconds: 0.0 is not in the range"),
        ({"memory_reserve_share": 1.0}, "memory_reserve_share: 1.0 is not in the range"),
    ],
)
def test_what_cannot_work_is_refused(changed: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        StoreSettings(redis_url="redis://x", **changed)  # type: ignore[arg-type]  # one test for all types
