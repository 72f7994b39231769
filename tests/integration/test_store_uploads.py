"""Uploads: verified, resumable, bounded, stored once; in Redis and at an fsspec URL."""

from __future__ import annotations

import contextlib
import random
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from gradclinic.v1 import artifact_pb2, diagnosis_pb2
from gradclinic_store import Store, StoreSettings
from gradclinic_store import artifacts as artifacts_module
from gradclinic_store import part as part_module
from gradclinic_store.errors import (
    ArtifactNotFound,
    ArtifactTooLarge,
    HashMismatch,
    OffsetMismatch,
    StoreFull,
    TooManyBytes,
    Truncated,
)
from store_cases import declaration_of, sha256_of, upload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1024 * 1024
CONTENT = random.Random(0).randbytes(11 * MIB + 17)


class Interrupted(Exception):
    """The connection broke."""


@pytest.fixture(params=["redis", "file"])
def store(redis_url: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    blob_url = f"file://{tmp_path}/blobs" if request.param == "file" else ""
    with Store.connect(StoreSettings(redis_url=redis_url, blob_url=blob_url)) as store:
        yield store


def interrupt(store: Store, content: bytes, at_bytes: int) -> None:
    with contextlib.suppress(Interrupted), store.artifacts.upload(declaration_of(content)) as running:
        for offset in range(0, at_bytes, MIB):
            running.write(offset, content[offset : min(offset + MIB, at_bytes)])
        raise Interrupted


def bytes_left(store: Store, tmp_path: Path) -> int:
    client = store.connection.client
    in_redis = sum(client.strlen(key) for key in client.scan_iter("gradclinic:chunk:*"))
    return int(in_redis) + sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())


def noted_bytes(store: Store, tmp_path: Path) -> int:
    """What is left, but for chunks in Redis that expire because nobody has noted them."""
    client = store.connection.client
    expiring = sum(client.strlen(key) for key in client.scan_iter("gradclinic:chunk:*") if client.pttl(key) > 0)
    return bytes_left(store, tmp_path) - int(expiring)


def await_received(store: Store, at_least_bytes: int) -> int:
    deadline = time.monotonic() + 10
    while (received := store.artifacts.received(sha256_of(CONTENT))) < at_least_bytes:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return received


@pytest.mark.parametrize("piece_bytes", [MIB, 300_001, 64 * 1024])
def test_what_goes_in_comes_out(store: Store, piece_bytes: int) -> None:
    artifact = upload(store, CONTENT, piece_bytes)
    assert len(CONTENT) == artifact.size_bytes
    assert artifact.expire_time.seconds - artifact.create_time.seconds == 24 * 3600
    assert artifact == store.artifacts.stat(artifact.sha256)
    assert b"".join(store.artifacts.read(artifact.sha256)) == CONTENT
    totals = store.counters.read()
    assert len(CONTENT) == totals.stored_bytes == totals.upload_bytes


def test_an_empty_artifact(store: Store) -> None:
    artifact = upload(store, b"")
    assert artifact.size_bytes == 0
    assert b"".join(store.artifacts.read(artifact.sha256)) == b""


def test_what_is_not_there(store: Store) -> None:
    assert store.artifacts.stat("0" * 64) is None
    assert store.artifacts.touch("0" * 64) is None
    assert store.artifacts.received("0" * 64) == 0
    with pytest.raises(ArtifactNotFound):
        next(store.artifacts.read("0" * 64))


def test_the_same_bytes_are_stored_once(store: Store, tmp_path: Path) -> None:
    first = upload(store, CONTENT)
    with store.artifacts.upload(declaration_of(CONTENT)) as again:
        assert again.stored is not None
        again.write(0, CONTENT[:MIB])
        assert again.finish().create_time == first.create_time
    assert store.counters.read().stored_bytes == len(CONTENT)
    assert len(CONTENT) == bytes_left(store, tmp_path)


@pytest.mark.parametrize("at_bytes", [1, MIB, 5 * MIB + 123, len(CONTENT)])
def test_an_interrupted_upload_goes_on_where_it_was(store: Store, at_bytes: int) -> None:
    interrupt(store, CONTENT, at_bytes)
    sha256 = sha256_of(CONTENT)
    assert store.artifacts.stat(sha256) is None
    assert store.artifacts.received(sha256) == at_bytes
    with store.artifacts.upload(declaration_of(CONTENT, at_bytes)) as resumed:
        resumed.write(at_bytes, CONTENT[at_bytes:])
        assert resumed.finish().sha256 == sha256
    assert b"".join(store.artifacts.read(sha256)) == CONTENT
    assert store.counters.read().stored_bytes == len(CONTENT)
    assert store.artifacts.received(sha256) == 0


def test_an_interrupted_upload_may_begin_anew(store: Store, tmp_path: Path) -> None:
    interrupt(store, CONTENT, 5 * MIB)
    assert b"".join(store.artifacts.read(upload(store, CONTENT).sha256)) == CONTENT
    store.reap()
    assert store.counters.read().stored_bytes == len(CONTENT)
    assert len(CONTENT) == bytes_left(store, tmp_path)


def test_resuming_elsewhere_tells_where(store: Store) -> None:
    with pytest.raises(OffsetMismatch) as caught:
        store.artifacts.upload(declaration_of(CONTENT, MIB))
    assert caught.value.received_bytes == 0
    interrupt(store, CONTENT, 2 * MIB)
    with pytest.raises(OffsetMismatch) as caught:
        store.artifacts.upload(declaration_of(CONTENT, MIB + 1))
    assert caught.value.received_bytes == 2 * MIB
    with store.artifacts.upload(declaration_of(CONTENT, 2 * MIB)) as resumed, pytest.raises(OffsetMismatch):
        resumed.write(0, CONTENT[:MIB])


def test_wrong_bytes_are_refused_and_dropped(store: Store, tmp_path: Path) -> None:
    wrong = CONTENT[:-1] + b"?"
    with store.artifacts.upload(declaration_of(CONTENT)) as running:
        for offset in range(0, len(wrong), MIB):
            running.write(offset, wrong[offset : offset + MIB])
        with pytest.raises(HashMismatch, match=sha256_of(wrong)):
            running.finish()
    assert store.artifacts.stat(sha256_of(CONTENT)) is None
    assert store.artifacts.received(sha256_of(CONTENT)) == 0
    assert (store.counters.read().stored_bytes, bytes_left(store, tmp_path)) == (0, 0)


def test_wrong_bytes_before_an_interruption_are_found_out(store: Store, tmp_path: Path) -> None:
    wrong = b"?" * 2 * MIB
    with contextlib.suppress(Interrupted), store.artifacts.upload(declaration_of(CONTENT)) as running:
        running.write(0, wrong)
        raise Interrupted
    with store.artifacts.upload(declaration_of(CONTENT, 2 * MIB)) as resumed:
        resumed.write(2 * MIB, CONTENT[2 * MIB :])
        with pytest.raises(OffsetMismatch) as caught:
            resumed.finish()
    assert caught.value.received_bytes == 0
    assert bytes_left(store, tmp_path) == 0


def test_a_truncated_upload_is_refused_and_dropped(store: Store, tmp_path: Path) -> None:
    with store.artifacts.upload(declaration_of(CONTENT)) as running:
        running.write(0, CONTENT[: 9 * MIB])
        with pytest.raises(Truncated, match=f"{len(CONTENT) - 9 * MIB:,} bytes"):
            running.finish()
    assert (store.counters.read().stored_bytes, bytes_left(store, tmp_path)) == (0, 0)


def test_more_bytes_than_declared_are_refused_and_dropped(store: Store, tmp_path: Path) -> None:
    with store.artifacts.upload(declaration_of(CONTENT)) as running:
        running.write(0, CONTENT)
        with pytest.raises(TooManyBytes):
            running.write(len(CONTENT), b"!")
    assert (store.counters.read().stored_bytes, bytes_left(store, tmp_path)) == (0, 0)


def test_two_uploads_of_the_same_bytes_store_them_once(store: Store, tmp_path: Path) -> None:
    with (
        store.artifacts.upload(declaration_of(CONTENT)) as slow,
        store.artifacts.upload(declaration_of(CONTENT)) as fast,
    ):
        slow.write(0, CONTENT[: 5 * MIB])
        fast.write(0, CONTENT[: 9 * MIB])
        assert bytes_left(store, tmp_path) <= 9 * MIB
        slow.write(5 * MIB, CONTENT[5 * MIB : 9 * MIB])
        fast.write(9 * MIB, CONTENT[9 * MIB :])
        stored = fast.finish()
        slow.write(9 * MIB, CONTENT[9 * MIB :])
        assert stored.create_time == slow.finish().create_time
    store.reap()
    assert b"".join(store.artifacts.read(sha256_of(CONTENT))) == CONTENT
    assert len(CONTENT) == bytes_left(store, tmp_path) == store.counters.read().stored_bytes


def test_many_uploads_of_the_same_bytes_all_end_well(store: Store, tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as crowd:
        stored = list(crowd.map(lambda _: upload(store, CONTENT), range(16)))
    assert {sha256_of(CONTENT)} == {artifact.sha256 for artifact in stored}
    assert b"".join(store.artifacts.read(sha256_of(CONTENT))) == CONTENT
    store.reap()
    assert len(CONTENT) == store.counters.read().stored_bytes
    assert len(CONTENT) == noted_bytes(store, tmp_path)


def test_who_dies_leaves_a_part_of_the_way_to_the_others(store: Store, tmp_path: Path) -> None:
    died = store.artifacts.upload(declaration_of(CONTENT))
    died.write(0, CONTENT[: 8 * MIB])
    del died  # its process was killed: nobody says goodbye
    upload(store, CONTENT)
    store.reap()
    assert b"".join(store.artifacts.read(sha256_of(CONTENT))) == CONTENT
    assert len(CONTENT) == bytes_left(store, tmp_path) == store.counters.read().stored_bytes


@pytest.mark.parametrize("right_bytes", [0, 1, 4 * MIB, 7 * MIB])
@pytest.mark.parametrize("first", ["the wrong one", "the right one"])
def test_wrong_bytes_do_not_disturb_the_right_ones(store: Store, tmp_path: Path, first: str, right_bytes: int) -> None:
    wrong = CONTENT[:right_bytes] + bytes(len(CONTENT) - right_bytes)
    with (
        store.artifacts.upload(declaration_of(CONTENT)) as honest,
        store.artifacts.upload(declaration_of(CONTENT)) as bad,
    ):
        for writer, content in ((bad, wrong), (honest, CONTENT))[:: 1 if first == "the wrong one" else -1]:
            writer.write(0, content[: 8 * MIB])
        bad.write(8 * MIB, wrong[8 * MIB :])
        with pytest.raises(HashMismatch):
            bad.finish()
        honest.write(8 * MIB, CONTENT[8 * MIB :])
        honest.finish()
    assert b"".join(store.artifacts.read(sha256_of(CONTENT))) == CONTENT
    store.reap()
    assert len(CONTENT) == noted_bytes(store, tmp_path) == store.counters.read().stored_bytes


def test_who_brings_wrong_bytes_takes_only_his_own_with_him(store: Store, tmp_path: Path) -> None:
    interrupt(store, CONTENT, 5 * MIB)
    wrong = CONTENT[:-1] + b"?"
    with store.artifacts.upload(declaration_of(CONTENT)) as bad:
        bad.write(0, wrong)
        with pytest.raises(HashMismatch):
            bad.finish()
    assert 5 * MIB == store.artifacts.received(sha256_of(CONTENT)) == bytes_left(store, tmp_path)
    with store.artifacts.upload(declaration_of(CONTENT, 5 * MIB)) as resumed:
        resumed.write(5 * MIB, CONTENT[5 * MIB :])
        resumed.finish()
    assert b"".join(store.artifacts.read(sha256_of(CONTENT))) == CONTENT


def test_a_resume_that_went_wrong_is_not_offered_again(store: Store) -> None:
    liar = store.artifacts.upload(declaration_of(CONTENT))  # goes on and on
    liar.write(0, bytes(8 * MIB))
    at_bytes = await_received(store, 4 * MIB)
    with store.artifacts.upload(declaration_of(CONTENT, at_bytes)) as resumed:
        resumed.write(at_bytes, CONTENT[at_bytes:])
        with pytest.raises(OffsetMismatch, match="together with what was stored before") as caught:
            resumed.finish()
    assert 0 == caught.value.received_bytes == store.artifacts.received(sha256_of(CONTENT))
    with pytest.raises(OffsetMismatch):
        store.artifacts.upload(declaration_of(CONTENT, at_bytes))
    upload(store, CONTENT)
    assert b"".join(store.artifacts.read(sha256_of(CONTENT))) == CONTENT
    with liar, pytest.raises(Truncated):
        liar.finish()
    assert b"".join(store.artifacts.read(sha256_of(CONTENT))) == CONTENT


def test_wrong_bytes_need_room_of_their_own(redis_url: str, tmp_path: Path) -> None:
    settings = StoreSettings(redis_url=redis_url, max_artifact_bytes=12 * MIB, max_stored_bytes=14 * MIB)
    with Store.connect(settings) as store:
        honest, bad = (store.artifacts.upload(declaration_of(CONTENT)) for _ in range(2))
        with honest, bad:
            honest.write(0, CONTENT[: 8 * MIB])
            bad.write(0, bytes(8 * MIB))
            with pytest.raises(StoreFull):
                bad.finish()
            honest.write(8 * MIB, CONTENT[8 * MIB :])
            honest.finish()
        store.reap()
        assert len(CONTENT) == store.counters.read().stored_bytes == noted_bytes(store, tmp_path)


def test_too_large_and_full(redis_url: str) -> None:
    settings = StoreSettings(redis_url=redis_url, max_artifact_bytes=4 * MIB, max_stored_bytes=6 * MIB)
    with Store.connect(settings) as store:
        with pytest.raises(ArtifactTooLarge) as too_large:
            store.artifacts.upload(declaration_of(CONTENT))
        assert too_large.value.limit_value == 4 * MIB
        upload(store, CONTENT[: 4 * MIB])
        with pytest.raises(StoreFull, match="the server's 6,291,456 bytes") as full:
            store.artifacts.upload(declaration_of(CONTENT[: 3 * MIB]))
        assert full.value.retry_seconds
        upload(store, CONTENT[: 2 * MIB])


def test_room_is_made_from_what_nobody_uses(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = StoreSettings(redis_url=redis_url, max_artifact_bytes=6 * MIB, max_stored_bytes=6 * MIB)
    with Store.connect(settings) as store:
        needed, oldest, newer = (CONTENT[i : i + 2 * MIB] for i in range(3))
        for content in (needed, oldest, newer):
            upload(store, content)
            time.sleep(0.01)
        message, _ = store.diagnoses.create(diagnosis_pb2.DiagnosisSpec(model_sha256=sha256_of(needed)))
        with pytest.raises(StoreFull):  # all were used a moment ago
            upload(store, CONTENT[5 : 5 + MIB])
        monkeypatch.setattr(part_module, "IDLE_SECONDS", 0.001)
        upload(store, CONTENT[5 : 5 + MIB])
        assert store.artifacts.stat(sha256_of(oldest)) is None
        assert store.artifacts.stat(sha256_of(newer)) is not None
        assert (store.counters.read().evictions, store.counters.read().stored_bytes) == (1, 5 * MIB)
        large = CONTENT[6 : 6 + 5 * MIB]
        with pytest.raises(StoreFull):  # what a waiting diagnosis needs stays, and nothing goes in vain
            upload(store, large)
        assert store.artifacts.stat(sha256_of(newer)) is not None
        store.diagnoses.cancel(message.id)
        upload(store, large)
        assert store.artifacts.stat(sha256_of(needed)) is None


@pytest.mark.parametrize(
    ("sha256", "size_bytes", "offset_bytes"), [("", 1, 0), ("A" * 64, 1, 0), ("0" * 64, -1, 0), ("0" * 64, 1, -1)]
)
def test_a_declaration_that_makes_no_sense(store: Store, sha256: str, size_bytes: int, offset_bytes: int) -> None:
    declaration = declaration_of(b"")
    declaration.sha256, declaration.size_bytes, declaration.offset_bytes = sha256, size_bytes, offset_bytes
    with pytest.raises(ValueError, match=r"must (not )?be"):
        store.artifacts.upload(declaration)


def test_memory_stays_flat(store: Store) -> None:
    piece, count = random.Random(1).randbytes(MIB), 64
    content_sha256 = sha256_of(piece * count)
    declaration = declaration_of(b"")
    declaration.sha256, declaration.size_bytes = content_sha256, count * MIB
    tracemalloc.start()
    with store.artifacts.upload(declaration) as running:
        for number in range(count):
            running.write(number * MIB, bytes(bytearray(piece)))
        running.finish()
    assert sum(map(len, store.artifacts.read(content_sha256))) == count * MIB
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 48 * MIB


def test_memory_stays_flat_with_tiny_pieces(store: Store) -> None:
    content = CONTENT[:MIB]
    tracemalloc.start()
    with store.artifacts.upload(declaration_of(content)) as running:
        for offset in range(0, MIB, 16):
            running.write(offset, content[offset : offset + 16])
        running.finish()
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert content == b"".join(store.artifacts.read(sha256_of(content)))
    assert peak_bytes < 8 * MIB


@pytest.mark.parametrize("piece_bytes", [100 * 1024, MIB - 1, MIB, 3 * MIB, 11 * MIB])
def test_pieces_of_any_size(store: Store, piece_bytes: int) -> None:
    with store.artifacts.upload(declaration_of(CONTENT)) as running:
        for offset in range(0, len(CONTENT), piece_bytes):
            running.write(offset, memoryview(CONTENT)[offset : offset + piece_bytes])
        running.finish()
    assert CONTENT == b"".join(store.artifacts.read(sha256_of(CONTENT)))


def test_small_artifacts_are_read_together(store: Store) -> None:
    small, large = upload(store, b"small").sha256, upload(store, b"x" * (artifacts_module.SMALL_BYTES + 1)).sha256
    together = store.connection.settings.blob_url == ""
    assert ({small: b"small"} if together else {}) == store.artifacts.read_small([small, large, "0" * 64])
    assert [artifact_pb2.ARTIFACT_KIND_MODEL, None] == store.artifacts.kinds([small, "0" * 64])
