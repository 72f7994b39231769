"""The way of an upload's bytes from the stream to the store, with one batch written while the next one arrives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gradclinic_service.settings import MIB

if TYPE_CHECKING:
    from gradclinic.v1.artifact_pb2 import Artifact
    from gradclinic_service.threads import StoreThreads
    from gradclinic_service.upload_messages import Piece
    from gradclinic_store.upload import Upload

BATCH_BYTES = 4 * MIB  # at most two batches are in memory: one arriving, one being written
BATCH_PIECES = 1024  # or a batch of tiny pieces would take a hundred times as much memory as they are long


STEP_BYTES = 64 * 1024  # what has to arrive within an upload's idle time


class Pace:
    """Until when the next bytes of an upload have to be here.

    A byte now and then is no sign of life: else a few slow callers could hold every place there is.
    """

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._owed_bytes = STEP_BYTES
        self.deadline = asyncio.get_running_loop().time() + idle_seconds  # by the loop's clock, seconds

    def arrived(self, size_bytes: int) -> None:
        """Counts bytes; a whole step of them buys a whole idle time."""
        self._owed_bytes -= size_bytes
        if self._owed_bytes <= 0:
            self._owed_bytes = STEP_BYTES
            self.deadline = asyncio.get_running_loop().time() + self._idle_seconds


class UploadPipeline:
    """Collects chunks into batches and hands them to a writer thread, never more than one batch ahead.

    No thread is held while a slow caller is waited for.
    """

    def __init__(self, upload: Upload, threads: StoreThreads) -> None:
        self._upload = upload
        self._threads = threads
        self._batch: list[Piece] = []
        self._batch_bytes = 0
        self._writing: asyncio.Future[None] | None = None

    @property
    def stored(self) -> bool:
        """Whether the artifact is there: another caller has sent the same bytes meanwhile."""
        return self._upload.stored is not None

    async def add(self, piece: Piece) -> None:
        """Takes the next piece; waits only while the batch before the last one is still being written.

        Raises:
            StoreError: an earlier chunk did not fit, or could not be written.
        """
        self._batch.append(piece)
        self._batch_bytes += len(piece.content)
        if self._batch_bytes >= BATCH_BYTES or len(self._batch) >= BATCH_PIECES:
            await self._flush()

    async def finish(self) -> Artifact:
        """Writes what is left, has the hash checked, and answers with the stored artifact."""
        await self.settle()
        return await self._threads.run(self._upload.finish)

    async def settle(self) -> None:
        """Writes what has arrived, and waits until it is written."""
        await self._flush()
        await self._written()

    async def _flush(self) -> None:
        await self._written()
        if self._batch:
            batch, self._batch, self._batch_bytes = self._batch, [], 0
            self._writing = self._threads.start(_write, self._upload, batch)

    async def _written(self) -> None:
        writing = self._writing
        if writing is None:
            return
        try:
            # Shielded: a write that has begun must be seen to end, or the next one could overtake it.
            await asyncio.shield(writing)
        finally:
            if writing.done():
                self._writing = None


def _write(upload: Upload, batch: list[Piece]) -> None:
    for piece in batch:
        upload.write(piece.offset_bytes, piece.content)
