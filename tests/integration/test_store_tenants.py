"""Tenants in the store: what they share costs once and shows to nobody, what is one's own goes with its own time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store import Store, StoreSettings, part
from gradclinic_store.errors import ArtifactNotFound, DiagnosisNotFound, StoreFull
from gradclinic_store.tenants import checked
from store_cases import declaration_of, result_of, sha256_of, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from gradclinic.v1 import artifact_pb2
    from gradclinic_store.artifacts import Artifacts

MIB = 1024 * 1024
CONTENT = bytes(range(256)) * (MIB // 128)  # 2 MiB
NAME = sha256_of(CONTENT)


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    with Store.connect(StoreSettings(redis_url=redis_url)) as connected:
        yield connected


def send(held: Artifacts, content: bytes = CONTENT) -> artifact_pb2.Artifact:
    with held.upload(declaration_of(content)) as upload:
        assert upload.stored is None
        for offset in range(0, len(content), MIB):
            upload.write(offset, content[offset : offset + MIB])
        return upload.finish()


def chunks(store: Store) -> int:
    client: redis.Redis = store.connection.client
    return sum(1 for _ in client.scan_iter("gradclinic:chunk:*"))


def test_bytes_are_kept_once_and_until_the_last_tenant_drops_them(store: Store) -> None:
    red, blue = store.of("red").artifacts, store.of("blue").artifacts
    send(red)
    once = chunks(store)
    send(blue)
    store.reap()
    assert (once, len(CONTENT)) == (chunks(store), store.counters.read().stored_bytes)
    client: redis.Redis = store.connection.client
    assert [str(len(CONTENT)).encode()] * 2 == client.mget(
        "gradclinic:stored_bytes:red", "gradclinic:stored_bytes:blue"
    )
    for tenant, left in (("red", CONTENT), ("blue", b"")):
        client.zadd("gradclinic:artifacts", {f"{tenant}:{NAME}": 1})
        assert [NAME] == store.artifacts.reap()
        assert store.of(tenant).artifacts.stat(NAME) is None
        if left:
            assert left == b"".join(store.artifacts.read(NAME))
    with pytest.raises(ArtifactNotFound):
        list(store.artifacts.read(NAME))
    assert (0, 0) == (chunks(store), store.counters.read().stored_bytes)
    assert [None, None] == client.mget("gradclinic:stored_bytes:red", "gradclinic:stored_bytes:blue")


def test_uploads_of_the_same_bytes_by_two_tenants_do_not_meet(store: Store) -> None:
    red, blue = store.of("red").artifacts, store.of("blue").artifacts
    begun = red.upload(declaration_of(CONTENT))
    begun.write(0, CONTENT[:MIB])
    begun.__exit__(KeyError, KeyError(), None)  # the caller went away: what came stays
    assert (MIB, 0) == (red.received(NAME), blue.received(NAME))
    send(blue)
    assert MIB == red.received(NAME)
    with red.upload(declaration_of(CONTENT, MIB)) as resumed:
        resumed.write(MIB, CONTENT[MIB:])
        resumed.finish()
    assert CONTENT == b"".join(store.artifacts.read(NAME))
    store.reap()
    assert len(CONTENT) == store.counters.read().stored_bytes


def test_what_a_diagnosis_needs_stays_although_another_tenant_has_the_same(redis_url: str) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url, artifact_retention_seconds=0.05)) as store:
        for tenant in ("red", "blue"):
            send(store.of(tenant).artifacts)
        red, _ = store.of("red").diagnoses.create(diagnosis_pb2.DiagnosisSpec(model_sha256=NAME))
        time.sleep(0.1)
        store.reap()
        assert store.of("blue").artifacts.stat(NAME) is None
        assert CONTENT == b"".join(store.artifacts.read(NAME))
        started(store, red.id).succeed(result_of())
        store.reap()
        assert store.of("red").artifacts.stat(NAME) is None
        assert 0 == store.counters.read().stored_bytes


def test_a_tenant_that_is_full_loses_its_own_and_not_anothers(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = StoreSettings(
        redis_url=redis_url, max_artifact_bytes=4 * MIB, max_stored_bytes=64 * MIB, tenant_max_stored_bytes=4 * MIB
    )
    with Store.connect(settings) as store:
        red, blue = store.of("red").artifacts, store.of("blue").artifacts
        send(blue)
        send(red)
        send(red, CONTENT[1:])
        with pytest.raises(StoreFull, match="your 4,194,304 bytes") as full:
            red.upload(declaration_of(CONTENT[2:]))
        assert ("tenant_max_stored_bytes", 4 * MIB, "tenant") == (
            full.value.limit,
            full.value.limit_value,
            full.value.scope,
        )
        monkeypatch.setattr(part, "IDLE_SECONDS", 0.001)
        time.sleep(0.01)
        send(red, CONTENT[2:])
        assert red.stat(NAME) is None
        assert blue.stat(NAME) is not None


def test_room_for_all_is_made_only_by_what_really_goes(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "IDLE_SECONDS", 0.001)
    settings = StoreSettings(redis_url=redis_url, max_artifact_bytes=4 * MIB, max_stored_bytes=4 * MIB)
    with Store.connect(settings) as store:
        red, blue = store.of("red").artifacts, store.of("blue").artifacts
        send(red)
        send(blue)
        store.of("blue").diagnoses.create(diagnosis_pb2.DiagnosisSpec(model_sha256=NAME))
        send(red, CONTENT[1:])
        time.sleep(0.01)
        send(red, CONTENT[2:])  # dropping red's share of CONTENT frees nothing
        assert red.stat(sha256_of(CONTENT[1:])) is None
        assert CONTENT == b"".join(store.artifacts.read(NAME))
        store.reap()
        assert store.counters.read().stored_bytes == len(CONTENT) + len(CONTENT) - 2


def test_nothing_of_another_tenant_can_be_reached(store: Store) -> None:
    red, blue = store.of("red"), store.of("blue")
    send(red.artifacts)
    mine, _ = red.diagnoses.create(diagnosis_pb2.DiagnosisSpec(model_sha256=NAME, run="r"), "request")
    with pytest.raises(ArtifactNotFound):
        blue.diagnoses.create(mine.spec, "request")
    send(blue.artifacts)
    theirs, new = blue.diagnoses.create(mine.spec, "request")
    assert new
    for other in (blue.diagnoses, store.diagnoses):
        for call in (other.get, other.cancel, other.delete):
            with pytest.raises(DiagnosisNotFound):
                call(mine.id)
    assert [theirs] == blue.diagnoses.page()[0]
    started(store, mine.id).succeed(result_of())
    _, reused = blue.diagnoses.create(mine.spec, allow_reuse=True)
    assert reused  # it is a new one, since the result is red's


async def test_events_of_another_tenant_are_not_there(store: Store) -> None:
    send(store.of("red").artifacts)
    mine, _ = store.of("red").diagnoses.create(diagnosis_pb2.DiagnosisSpec(model_sha256=NAME))
    with pytest.raises(DiagnosisNotFound):
        await anext(store.of("blue").events.follow(mine.id))
    assert 1 == (await anext(store.of("red").events.follow(mine.id))).revision


@pytest.mark.parametrize("name", ["", "Red", "a:b", "a b", "-a", "a-", "a" * 64, "é", "a\n"])
def test_what_is_no_tenants_name_is_refused(name: str, store: Store) -> None:
    with pytest.raises(ValueError, match="is no tenant's name"):
        store.of(name)


@pytest.mark.parametrize("name", ["a", "7", "default", "a-b", "a" * 63])
def test_names_of_tenants(name: str) -> None:
    assert name == checked(name)
