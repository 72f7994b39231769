"""A crowd for the load benchmark: watches diagnoses and uploads at a pace, until it is ended."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from typing import TYPE_CHECKING, Any

import grpc.aio

from gradclinic.v1 import artifact_pb2, artifact_pb2_grpc, diagnosis_pb2, diagnosis_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CHUNK_BYTES = 1 << 17
SIZE_BYTES = 48 << 20
COMING_SECONDS = 8.0  # within which all uploads begin


async def watch(channel: grpc.aio.Channel, diagnosis_id: str, seen: asyncio.Semaphore) -> None:
    """Follow a diagnosis to its end, which does not come."""
    stub: Any = diagnosis_pb2_grpc.DiagnosisServiceStub(channel)
    async for _ in stub.WatchDiagnosis(diagnosis_pb2.WatchDiagnosisRequest(id=diagnosis_id)):
        seen.release()


async def upload(channel: grpc.aio.Channel, bytes_per_second: int, begin_seconds: float) -> None:
    """Send bytes of its own, chunk after chunk at a pace, again and again."""
    await asyncio.sleep(begin_seconds)  # not all in step
    stub: Any = artifact_pb2_grpc.ArtifactServiceStub(channel)
    while True:
        await stub.UploadArtifact(paced(os.urandom(CHUNK_BYTES), bytes_per_second))


async def paced(chunk: bytes, bytes_per_second: int) -> AsyncIterator[artifact_pb2.UploadArtifactRequest]:
    """Yield the messages of one upload."""
    digest = hashlib.sha256()
    for _ in range(SIZE_BYTES // CHUNK_BYTES):
        digest.update(chunk)
    declaration = artifact_pb2.ArtifactDeclaration(
        kind=artifact_pb2.ARTIFACT_KIND_MODEL,
        format=artifact_pb2.ARTIFACT_FORMAT_TORCHSCRIPT,
        size_bytes=SIZE_BYTES,
        sha256=digest.hexdigest(),
    )
    yield artifact_pb2.UploadArtifactRequest(declaration=declaration)
    for offset in range(0, SIZE_BYTES, CHUNK_BYTES):
        await asyncio.sleep(CHUNK_BYTES / bytes_per_second)
        piece = artifact_pb2.ArtifactChunk(offset_bytes=offset, content=chunk)
        yield artifact_pb2.UploadArtifactRequest(chunk=piece)


async def main() -> None:
    """Come, say so, and stay."""
    target, uploads, bytes_per_second, *ids = sys.argv[1:]
    seen = asyncio.Semaphore(0)
    async with grpc.aio.insecure_channel(target) as watching, grpc.aio.insecure_channel(target) as sending:
        tasks = [asyncio.create_task(watch(watching, each, seen)) for each in ids]
        for number in range(int(uploads)):
            begin_seconds = COMING_SECONDS * number / int(uploads)
            tasks.append(asyncio.create_task(upload(sending, int(bytes_per_second), begin_seconds)))
        for _ in ids:
            await seen.acquire()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.gather(*tasks)


if __name__ == "__main__":
    asyncio.run(main())
