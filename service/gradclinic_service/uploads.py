"""The way of an upload's bytes from the stream to the store, with one batch written while the next one arrives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gradclinic_service.errors import InvalidRequest, Violation
from gradclinic_service.settings import MIB

if TYPE_CHECKING:
    from gradclinic_store.artifacts import Upload

    from gradclinic.v1.artifact_pb2 import Artifact, ArtifactChunk
    from gradclinic_service.threads import StoreThreads

BATCH_BYTES = 4 * MIB  # at most two batches are in memory: one arriving, one being written


class UploadPipeline:
    """Collects chunks into batches and hands them to a writer thread, never more than one batch ahead.

    No thread is held while a slow caller is waited for.
    """

    def __init__(self, upload: Upload, offset_bytes: int, size_bytes: int, threads: StoreThreads) -> None:
        self._upload = upload
        self._threads = threads
        self._size_bytes = size_bytes
        self._next_offset = offset_bytes  # where the next chunk belongs
        self._batch_offset = offset_bytes  # where the batch belongs
        self._batch: list[bytes] = []
        self._writing: asyncio.Future[None] | None = None

    async def add(self, chunk: ArtifactChunk) -> None:
        """Takes the next chunk; waits only while the batch before the last one is still being written.

        Raises:
            InvalidRequest: the chunk does not go on where the last one ended, or exceeds the declared size.
        """
        content = chunk.content
        if chunk.offset_bytes != self._next_offset:
            raise InvalidRequest([_out_of_order(chunk.offset_bytes, self._next_offset)])
        self._next_offset += len(content)
        if self._next_offset > self._size_bytes:
            raise InvalidRequest([_too_much(self._next_offset, self._size_bytes)])
        self._batch.append(content)
        if self._next_offset - self._batch_offset >= BATCH_BYTES:
            await self._flush()

    async def finish(self) -> Artifact:
        """Writes what is left, has the hash checked, and answers with the stored artifact."""
        await self._flush()
        await self._written()
        return await self._threads.run(self._upload.finish)

    async def settle(self) -> None:
        """Writes what has arrived, after the caller has gone, so that it can resume from there."""
        await self._flush()
        await self._written()

    async def _flush(self) -> None:
        await self._written()
        if self._batch:
            batch, offset = self._batch, self._batch_offset
            self._batch, self._batch_offset = [], self._next_offset
            self._writing = self._threads.start(self._upload.write, offset, b"".join(batch))

    async def _written(self) -> None:
        if self._writing is not None:
            # Shielded: a write that has begun must be seen to end, or the next one could overtake it.
            await asyncio.shield(self._writing)
            self._writing = None


def _out_of_order(offset: int, expected: int) -> Violation:
    return Violation(
        "chunk.offset_bytes", f"is {offset}, but the next byte is {expected}; send chunks in order, without gaps"
    )


def _too_much(end: int, size_bytes: int) -> Violation:
    return Violation(
        "chunk.content", f"ends at byte {end}, but {size_bytes} were declared; declare the size of the whole artifact"
    )
