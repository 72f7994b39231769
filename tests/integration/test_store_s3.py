"""Artifacts in a real S3-compatible object store: stored, shared, lost, dropped, and refused while it is away."""

from __future__ import annotations

import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import fsspec
import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo

from api_under_test import detail, reason, running_api, stream_of
from gradclinic.v1 import artifact_pb2
from gradclinic_store import Store, StoreSettings
from gradclinic_store.errors import ArtifactNotFound, StoreUnavailable
from store_cases import declaration_of, sha256_of, upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from real_s3 import S3Server

MIB = 1024 * 1024
CONTENT = random.Random(0).randbytes(20 * MIB + 17)
NAME = sha256_of(CONTENT)


@pytest.fixture
def blob_url(s3_server: S3Server) -> str:
    return f"{s3_server.url}/{uuid.uuid4().hex}"


@pytest.fixture
def store(redis_url: str, blob_url: str) -> Iterator[Store]:
    with Store.connect(StoreSettings(redis_url=redis_url, blob_url=blob_url)) as store:
        yield store


def objects(blob_url: str) -> dict[str, int]:
    """The size of each object; this server shows an empty folder as one that has none."""
    filesystem, root = fsspec.core.url_to_fs(blob_url, use_listings_cache=False, skip_instance_cache=True)
    return {path: entry["size"] for path, entry in filesystem.find(root, detail=True).items() if entry["size"]}


def test_what_goes_in_comes_out_and_goes_at_its_time(store: Store, blob_url: str) -> None:
    upload(store, CONTENT)
    assert store.artifacts.touch(NAME) is not None
    assert CONTENT == b"".join(store.artifacts.read(NAME))
    assert len(CONTENT) == sum(objects(blob_url).values())
    store.connection.client.zadd("gradclinic:artifacts", {f"default:{NAME}": 1})
    store.reap()
    assert {} == objects(blob_url)


def test_pieces_of_any_kind(store: Store) -> None:
    with store.artifacts.upload(declaration_of(CONTENT)) as running:
        for offset in range(0, len(CONTENT), 100_003):
            running.write(offset, memoryview(CONTENT)[offset : offset + 100_003])
        running.finish()
    assert CONTENT == b"".join(store.artifacts.read(NAME))


def test_uploads_of_the_same_bytes_share_their_objects(store: Store, blob_url: str) -> None:
    with ThreadPoolExecutor(4) as crowd:
        assert {NAME} == {artifact.sha256 for artifact in crowd.map(lambda _: upload(store, CONTENT), range(4))}
    store.reap()
    assert CONTENT == b"".join(store.artifacts.read(NAME))
    assert len(CONTENT) == sum(objects(blob_url).values())


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_an_object_that_is_gone_or_changed_is_repaired(store: Store, blob_url: str, how: str) -> None:
    upload(store, CONTENT)
    filesystem, _ = fsspec.core.url_to_fs(blob_url)
    first = min(objects(blob_url))
    filesystem.rm(first) if how == "gone" else filesystem.pipe_file(first, bytes(8 * MIB))
    with pytest.raises(ArtifactNotFound):
        list(store.artifacts.read(NAME))
    assert store.artifacts.touch(NAME) is None
    upload(store, CONTENT)
    assert CONTENT == b"".join(store.artifacts.read(NAME))


def test_while_it_is_away_everything_says_so_and_goes_on_later(
    redis_url: str, s3_server: S3Server, blob_url: str
) -> None:
    with Store.connect(StoreSettings(redis_url=redis_url, blob_url=blob_url)) as store:
        upload(store, CONTENT)
        other = CONTENT[: 9 * MIB]
        interrupted = store.artifacts.upload(declaration_of(other))
        interrupted.write(0, other[: 8 * MIB])
        interrupted.__exit__(None, None, None)
        s3_server.stop()
        try:
            with pytest.raises(StoreUnavailable, match="the blob store gives no bytes") as caught:
                list(store.artifacts.read(NAME))
            assert caught.value.retry_seconds > 0
            with pytest.raises(StoreUnavailable):
                store.artifacts.touch(NAME)
            with pytest.raises(StoreUnavailable, match="takes no bytes"):
                upload(store, b"something new")
        finally:
            s3_server.start()
        assert CONTENT == b"".join(store.artifacts.read(NAME))
        with store.artifacts.upload(declaration_of(other, 8 * MIB)) as resumed:
            resumed.write(8 * MIB, other[8 * MIB :])
            resumed.finish()
        assert other == b"".join(store.artifacts.read(sha256_of(other)))


async def test_callers_hear_that_it_is_away_and_when_to_come_again(
    redis_url: str, s3_server: S3Server, blob_url: str
) -> None:
    async with running_api(redis_url, store={"blob_url": blob_url}) as api:
        stored = await api.upload(CONTENT)
        s3_server.stop()
        try:
            for call in (
                api.artifacts.GetArtifact(artifact_pb2.GetArtifactRequest(sha256=stored.sha256), timeout=30),
                api.artifacts.UploadArtifact(stream_of(b"something new"), timeout=30),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call
                assert (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE") == (caught.value.code(), reason(caught.value))
                assert detail(caught.value, RetryInfo).HasField("retry_delay")
        finally:
            s3_server.start()
        await api.upload(b"something new")


def test_a_url_that_needs_a_package_names_it(redis_url: str) -> None:
    with pytest.raises(ValueError, match="blob_url: gs:// needs a package that is not installed"):
        Store.connect(StoreSettings(redis_url=redis_url, blob_url="gs://bucket/blobs"))
