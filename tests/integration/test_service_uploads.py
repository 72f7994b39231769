"""Uploads over the wire: kept, refused, interrupted, resumed, and of any size with little memory."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from api_under_test import (
    LOSS,
    MIB,
    TENSORS,
    Api,
    chunk,
    declaration,
    detail,
    eventually,
    fields,
    metric,
    reason,
    running_api,
    sha256,
    stream_of,
)
from gradclinic.v1 import artifact_pb2, artifact_pb2_grpc
from gradclinic_service.uploads import STEP_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

CONTENT = random.Random(1).randbytes(10 * MIB + 12_345)


async def refused(api: Api, messages: Iterable[artifact_pb2.UploadArtifactRequest]) -> grpc.Call:
    """How an upload is refused. Not asked through grpc.aio: its client may say INTERNAL if told while it sends."""

    def upload() -> grpc.Call:
        with grpc.insecure_channel(str(api.address)) as channel:
            stub = artifact_pb2_grpc.ArtifactServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                stub.UploadArtifact(iter(messages), timeout=20)
            error = caught.value
            assert isinstance(error, grpc.Call)
            return error

    return await asyncio.to_thread(upload)


async def received_bytes(api: Api, content: bytes) -> int:
    """How much of an artifact the server says it has."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await api.artifacts.GetArtifact(artifact_pb2.GetArtifactRequest(sha256=sha256(content)), timeout=5)
    assert grpc.StatusCode.NOT_FOUND == caught.value.code()
    told = detail(caught.value, ErrorInfo)
    assert "ARTIFACT_NOT_FOUND" == told.reason
    return int(told.metadata["received_bytes"])


@pytest.mark.parametrize("chunk_bytes", [MIB, 300_000])
async def test_what_is_uploaded_is_stored(redis_url: str, chunk_bytes: int) -> None:
    async with running_api(redis_url) as api:
        stored = await api.artifacts.UploadArtifact(stream_of(CONTENT, chunk_bytes=chunk_bytes), timeout=30)
        assert (sha256(CONTENT), len(CONTENT)) == (stored.sha256, stored.size_bytes)
        assert CONTENT == b"".join(api.store.artifacts.read(stored.sha256))
        read = await api.artifacts.GetArtifact(artifact_pb2.GetArtifactRequest(sha256=stored.sha256), timeout=5)
        assert stored.create_time == read.create_time
        assert len(CONTENT) == metric(api.metrics, "gradclinic_upload_bytes_total")


async def test_the_same_bytes_are_not_taken_twice(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        first = await api.upload(CONTENT)
        again = await api.artifacts.UploadArtifact(iter([declaration(CONTENT)]), timeout=5)
        assert first.create_time == again.create_time
        error = await refused(api, stream_of(CONTENT, LOSS))
        assert ["declaration.kind"] == fields(error)


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([], "declaration"),
        ([chunk(b"x")], "declaration"),
        ([declaration(b"")], "declaration.size_bytes"),
        ([declaration(b"x", sha256="x")], "declaration.sha256"),
        ([declaration(b"x", TENSORS, format=1)], "declaration.format"),
        ([declaration(b"x"), declaration(b"x")], "chunk"),
        ([declaration(b"x"), chunk(b"")], "chunk.content"),
        ([declaration(b"x" * 2 * MIB), chunk(b"x" * 2 * MIB)], "chunk.content"),
    ],
)
async def test_a_wrong_message_is_a_wrong_field(
    redis_url: str, messages: list[artifact_pb2.UploadArtifactRequest], field: str
) -> None:
    async with running_api(redis_url) as api:
        error = await refused(api, messages)
        assert grpc.StatusCode.INVALID_ARGUMENT == error.code()
        assert [field] == fields(error)


async def test_a_message_above_four_mebibytes_is_refused_by_grpc(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        error = await refused(api, [declaration(b"x" * 5 * MIB), chunk(b"x" * 5 * MIB)])
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == error.code()


async def test_too_large_is_refused_before_a_byte_is_sent(redis_url: str) -> None:
    async with running_api(redis_url) as api:

        async def declares_and_waits() -> AsyncIterator[artifact_pb2.UploadArtifactRequest]:
            yield declaration(b"x", size_bytes=3 << 30)
            await asyncio.sleep(60)

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await api.artifacts.UploadArtifact(declares_and_waits(), timeout=5)
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == caught.value.code()
        told = detail(caught.value, ErrorInfo)
        assert "ARTIFACT_TOO_LARGE" == told.reason
        assert str(2 << 30) == told.metadata["limit_value"]
        with pytest.raises(LookupError):
            detail(caught.value, RetryInfo)


async def test_a_full_store_says_when_to_try_again(redis_url: str) -> None:
    limits = {"max_artifact_bytes": MIB, "max_stored_bytes": MIB}
    async with running_api(redis_url, store=limits) as api:
        await api.upload(b"x" * MIB)
        error = await refused(api, stream_of(b"y" * MIB))
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == error.code()
        assert "STORE_FULL" == reason(error)
        assert 0 < detail(error, RetryInfo).retry_delay.seconds


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([declaration(CONTENT), chunk(CONTENT[:MIB])], "UPLOAD_TRUNCATED"),
        ([declaration(CONTENT)], "UPLOAD_TRUNCATED"),
        ([declaration(b"abc", sha256=sha256(b"abd")), chunk(b"abc")], "HASH_MISMATCH"),
        ([declaration(b"abc"), chunk(b"abcd")], "TOO_MANY_BYTES"),
    ],
)
async def test_wrong_bytes_leave_nothing_behind(
    redis_url: str, messages: list[artifact_pb2.UploadArtifactRequest], expected: str
) -> None:
    async with running_api(redis_url) as api:
        error = await refused(api, messages)
        assert grpc.StatusCode.INVALID_ARGUMENT == error.code()
        assert expected == reason(error)
        assert 0 == api.store.artifacts.received(messages[0].declaration.sha256)
        assert 0 == api.store.counters.read().stored_bytes


async def test_a_gap_between_chunks_says_where_to_go_on(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        error = await refused(api, [declaration(CONTENT), chunk(CONTENT[:MIB]), chunk(CONTENT[MIB : 2 * MIB], 5)])
        assert grpc.StatusCode.FAILED_PRECONDITION == error.code()
        assert str(MIB) == detail(error, ErrorInfo).metadata["received_bytes"]


async def test_a_broken_upload_goes_on_where_it_stopped(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        sent = 7 * MIB + 100_000

        async def breaks() -> AsyncIterator[artifact_pb2.UploadArtifactRequest]:
            yield declaration(CONTENT)
            for offset in range(0, sent, 100_000):
                yield chunk(CONTENT[offset : min(offset + 100_000, sent)], offset)
            await asyncio.sleep(60)

        call = api.artifacts.UploadArtifact(breaks(), timeout=60)
        await eventually(lambda: sent == metric(api.metrics, "gradclinic_upload_bytes_total"))
        call.cancel()
        # What had arrived is written after the caller has gone, also the part of a chunk.
        await eventually(lambda: sent == api.store.artifacts.received(sha256(CONTENT)))
        assert sent == await received_bytes(api, CONTENT)

        error = await refused(api, stream_of(CONTENT, start_bytes=MIB + 1))
        assert "OFFSET_MISMATCH" == reason(error)
        stored = await api.artifacts.UploadArtifact(stream_of(CONTENT, start_bytes=sent), timeout=30)
        assert CONTENT == b"".join(api.store.artifacts.read(stored.sha256))


async def test_an_upload_cut_off_by_a_stop_can_be_resumed_at_another_replica(redis_url: str) -> None:
    async with running_api(redis_url) as api:

        async def stalls() -> AsyncIterator[artifact_pb2.UploadArtifactRequest]:
            yield declaration(CONTENT)
            yield chunk(CONTENT[:MIB])
            await asyncio.sleep(60)

        call = api.artifacts.UploadArtifact(stalls(), timeout=60)
        await eventually(lambda: MIB == metric(api.metrics, "gradclinic_upload_bytes_total"))
        await api.server.stop(0.1)
        with pytest.raises(grpc.aio.AioRpcError):
            await call
    async with running_api(redis_url) as other:
        assert MIB == await received_bytes(other, CONTENT)
        await other.artifacts.UploadArtifact(stream_of(CONTENT, start_bytes=MIB), timeout=30)


async def test_an_upload_that_stalls_is_dropped_and_can_be_resumed(redis_url: str) -> None:
    async with running_api(redis_url, upload_idle_seconds=0.3) as api:

        async def stalls() -> AsyncIterator[artifact_pb2.UploadArtifactRequest]:
            yield declaration(CONTENT)
            yield chunk(CONTENT[:MIB])
            await asyncio.sleep(60)

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await api.artifacts.UploadArtifact(stalls(), timeout=10)
        assert grpc.StatusCode.ABORTED == caught.value.code()
        assert "UPLOAD_STALLED" == reason(caught.value)
        assert MIB == await received_bytes(api, CONTENT)


async def test_a_byte_now_and_then_does_not_hold_a_place(redis_url: str) -> None:
    async with running_api(redis_url, upload_idle_seconds=0.5) as api:

        async def drips() -> AsyncIterator[artifact_pb2.UploadArtifactRequest]:
            yield declaration(CONTENT)
            for offset in range(1000):
                yield chunk(CONTENT[offset : offset + 1], offset)
                await asyncio.sleep(0.2)  # not just when it is dropped: grpc.aio would tell of its own write instead

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await api.artifacts.UploadArtifact(drips(), timeout=10)
        assert "UPLOAD_STALLED" == reason(caught.value)
        assert await received_bytes(api, CONTENT) > 0


async def test_a_slow_upload_that_keeps_its_pace_arrives(redis_url: str) -> None:
    content = CONTENT[: 8 * STEP_BYTES + 1]
    async with running_api(redis_url, upload_idle_seconds=0.5) as api:

        async def walks() -> AsyncIterator[artifact_pb2.UploadArtifactRequest]:
            yield declaration(content)
            for offset in range(0, len(content), STEP_BYTES):
                await asyncio.sleep(0.2)
                yield chunk(content[offset : offset + STEP_BYTES], offset)

        assert len(content) == (await api.artifacts.UploadArtifact(walks(), timeout=30)).size_bytes


async def test_the_number_of_uploads_at_once_is_bounded(redis_url: str) -> None:
    async with running_api(redis_url, max_concurrent_uploads=1) as api:
        go_on = asyncio.Event()

        async def waits() -> AsyncIterator[artifact_pb2.UploadArtifactRequest]:
            yield declaration(b"abc")
            await go_on.wait()
            yield chunk(b"abc")

        first = api.artifacts.UploadArtifact(waits(), timeout=30)
        first_done = asyncio.ensure_future(collect(first))
        await eventually(
            lambda: (
                1
                == metric(
                    api.metrics,
                    "grpc_server_msg_received_total",
                    grpc_type="client_stream",
                    grpc_service="gradclinic.v1.ArtifactService",
                    grpc_method="UploadArtifact",
                )
            )
        )
        error = await refused(api, stream_of(b"other"))
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == error.code()
        assert "TOO_MANY_UPLOADS" == reason(error)
        assert detail(error, RetryInfo).HasField("retry_delay")
        go_on.set()
        assert sha256(b"abc") == (await first_done).sha256
        await api.upload(b"other")


def outcome_of(address: str, content: bytes, name: str) -> str:
    """What becomes of an upload over a connection of its own: the hash that is stored, or why it was refused."""
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = artifact_pb2_grpc.ArtifactServiceStub(channel)
        try:
            return stub.UploadArtifact(stream_of(content, sha256=name), timeout=60).sha256
        except grpc.RpcError as error:
            if not isinstance(error, grpc.Call):
                raise
            return reason(error)


@pytest.mark.parametrize("blobs", ["redis", "file"])
@pytest.mark.parametrize(
    ("callers", "size_bytes"), [(2, 1024), (16, 1024), (4, MIB + 1), (16, 10 * MIB + 7), (4, 64 * MIB)]
)
async def test_callers_that_send_the_same_bytes_at_once_all_succeed(
    redis_url: str, tmp_path: Path, blobs: str, callers: int, size_bytes: int
) -> None:
    content = random.Random(size_bytes).randbytes(size_bytes)
    name, wrong = sha256(content), content[: size_bytes // 2] + bytes(size_bytes - size_bytes // 2)
    blob_url = f"file://{tmp_path}" if blobs == "file" else ""
    async with running_api(redis_url, store={"blob_url": blob_url}) as api:
        address = str(api.address)

        async def dies_in_the_middle() -> None:
            messages = itertools.islice(stream_of(content, chunk_bytes=max(1, size_bytes // 10)), 6)
            call = api.artifacts.UploadArtifact(slowly(messages, 0.02), timeout=60)
            await asyncio.sleep(0.1)
            call.cancel()

        async def is_slow() -> str:
            messages = slowly(stream_of(content, chunk_bytes=max(1, min(MIB, size_bytes // 10))), 0.02)
            return (await api.artifacts.UploadArtifact(messages, timeout=60)).sha256

        slow, liar, _, *outcomes = await asyncio.gather(
            is_slow(),
            asyncio.to_thread(outcome_of, address, wrong, name),
            dies_in_the_middle(),
            *(asyncio.to_thread(outcome_of, address, content, name) for _ in range(callers)),
        )
        assert [name] * (callers + 1) == [slow, *outcomes]
        assert liar in {"HASH_MISMATCH", name}  # the latter where the right bytes were there before
        assert content == b"".join(api.store.artifacts.read(name))
        assert len(content) == api.store.counters.read().stored_bytes


async def slowly(
    messages: Iterable[artifact_pb2.UploadArtifactRequest], pause_seconds: float
) -> AsyncIterator[artifact_pb2.UploadArtifactRequest]:
    for message in messages:
        yield message
        await asyncio.sleep(pause_seconds)


async def test_get_artifact_wants_a_sha256(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        for wrong in ("", "abc"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await api.artifacts.GetArtifact(artifact_pb2.GetArtifactRequest(sha256=wrong), timeout=5)
            assert ["sha256"] == fields(caught.value)
        assert 0 == await received_bytes(api, b"unknown")


async def collect(call: Any) -> artifact_pb2.Artifact:
    return await call
