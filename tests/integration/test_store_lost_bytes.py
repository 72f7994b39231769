"""Bytes that vanish from the store or change in it: found out, told, and repaired by the next upload."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, cast

import pytest

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store import Store, StoreSettings
from gradclinic_store.artifacts import BYTES_KEY, SMALL_BYTES
from gradclinic_store.blobs import CHUNK_KEY
from gradclinic_store.errors import ArtifactNotFound
from store_cases import sha256_of, upload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1024 * 1024
CONTENT = random.Random(0).randbytes(9 * MIB + 17)
NAME = sha256_of(CONTENT)


@pytest.fixture(params=["redis", "file"])
def store(redis_url: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    blob_url = f"file://{tmp_path}/blobs" if request.param == "file" else ""
    with Store.connect(StoreSettings(redis_url=redis_url, blob_url=blob_url)) as store:
        yield store


def harm(store: Store, tmp_path: Path, how: str) -> None:
    """Delete, change or shorten one chunk of what is stored."""
    client = store.connection.client
    # Where two tenants have sent the same, what the second one sent lies beside it until the next collection.
    (stored,) = client.scan_iter(f"{BYTES_KEY}*")
    blob = cast("bytes", client.hget(stored, "blob")).decode()
    files = sorted(tmp_path.rglob(f"{blob}/*"))
    keys = sorted(client.scan_iter(f"{CHUNK_KEY}{blob}/*"))
    content = files[-1].read_bytes() if files else cast("bytes", client.get(keys[-1]))
    harmed = {"changed": bytes([content[0] ^ 1]) + content[1:], "shortened": content[:-1], "gone": b""}[how]
    if how == "gone":
        files[-1].unlink() if files else client.delete(keys[-1])
    else:
        files[-1].write_bytes(harmed) if files else client.set(keys[-1], harmed)


def read(store: Store) -> bytes:
    return b"".join(store.artifacts.read(NAME))


@pytest.mark.parametrize("how", ["gone", "changed", "shortened"])
def test_a_reader_finds_out_and_the_next_upload_repairs_it(store: Store, tmp_path: Path, how: str) -> None:
    upload(store, CONTENT)
    harm(store, tmp_path, how)
    with pytest.raises(ArtifactNotFound):
        read(store)
    assert store.artifacts.stat(NAME) is None
    assert store.artifacts.touch(NAME) is None
    assert 0 == store.artifacts.received(NAME) == store.counters.read().stored_bytes
    with pytest.raises(ArtifactNotFound):
        store.diagnoses.create(diagnosis_pb2.DiagnosisSpec(model_sha256=NAME))
    upload(store, CONTENT)
    assert CONTENT == read(store)
    assert store.artifacts.stat(NAME) is not None
    assert len(CONTENT) == store.counters.read().stored_bytes == store.usage("default").stored_bytes


def test_who_asks_for_bytes_that_are_gone_is_told_to_send_them(store: Store, tmp_path: Path) -> None:
    upload(store, CONTENT)
    assert store.artifacts.touch(NAME) is not None
    harm(store, tmp_path, "gone")
    assert store.artifacts.touch(NAME) is None
    upload(store, CONTENT)
    assert CONTENT == read(store)


def test_who_sends_bytes_that_are_gone_without_asking_repairs_them(store: Store, tmp_path: Path) -> None:
    upload(store, CONTENT)
    harm(store, tmp_path, "gone")
    upload(store, CONTENT)
    assert CONTENT == read(store)


def test_one_tenant_repairs_it_for_all(store: Store, tmp_path: Path) -> None:
    tenants = [store.of("red"), store.of("blue")]
    for tenant in tenants:
        upload(tenant, CONTENT)
    harm(store, tmp_path, "changed")
    with pytest.raises(ArtifactNotFound):
        read(store)
    assert [None, None] == [tenant.artifacts.stat(NAME) for tenant in tenants]
    upload(tenants[1], CONTENT)
    for tenant in tenants:
        assert tenant.artifacts.touch(NAME) is not None
    assert CONTENT == read(store)
    assert [len(CONTENT)] * 2 == [store.usage(tenant).stored_bytes for tenant in ("red", "blue")]
    assert len(CONTENT) == store.counters.read().stored_bytes


def test_what_was_lost_expires_without_a_trace(store: Store, tmp_path: Path) -> None:
    upload(store, CONTENT)
    harm(store, tmp_path, "gone")
    with pytest.raises(ArtifactNotFound):
        read(store)
    store.connection.client.zadd("gradclinic:artifacts", {f"default:{NAME}": 1})
    store.reap()
    assert (0, 0) == (store.counters.read().stored_bytes, store.usage("default").stored_bytes)
    assert [] == list(store.connection.client.scan_iter(f"*{NAME}*"))
    assert [] == [path for path in tmp_path.rglob("*") if path.is_file()]


def test_small_bytes_that_changed_are_not_read(redis_url: str, tmp_path: Path) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url)) as store:
        small = upload(store, b"x" * SMALL_BYTES).sha256
        assert {small: b"x" * SMALL_BYTES} == store.artifacts.read_small([small])
        harm(store, tmp_path, "changed")
        assert {} == store.artifacts.read_small([small])
        with pytest.raises(ArtifactNotFound):
            list(store.artifacts.read(small))
