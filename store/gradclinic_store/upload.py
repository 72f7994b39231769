"""One upload: pieces come in, are hashed, and go to the blobs a few chunks at a time."""

from __future__ import annotations

import contextlib
import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from gradclinic_store.blobs import chunks_named
from gradclinic_store.errors import HashMismatch, OffsetMismatch, StoreError, TooManyBytes, Truncated

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from gradclinic.v1 import artifact_pb2
    from gradclinic_store.blobs import Piece
    from gradclinic_store.part import Begun, Part

TINY_BYTES = 64 * 1024  # pieces below are put together, for each one that is kept as it came costs memory of its own


class Upload:
    """One stream of bytes on its way into the store. Use it as a context manager, from one thread at a time.

    Memory stays below twice `chunks_at_once` chunks: one batch is on its way while the next one fills. When the block
    ends by an error that is not the bytes' fault, what came so far stays and can be resumed for a while.
    """

    def __init__(
        self,
        part: Part,
        declaration: artifact_pb2.ArtifactDeclaration,
        *,
        begun: Begun | None = None,
        stored: artifact_pb2.Artifact | None = None,
    ) -> None:
        self.stored = stored
        """Set when the artifact is there, also by another upload: `finish` at once, or send for nothing."""
        self._part = part
        self._blobs = part.blobs
        self._declaration = declaration
        self._hash = hashlib.sha256()
        self._position_bytes = declaration.offset_bytes
        self._mark = ""  # of what has been handed over
        self._chunk: list[Piece] = []  # the one that is filled
        self._batch: list[tuple[str, list[Piece]]] = []  # whole ones, each with the mark of its end
        self._thread: ThreadPoolExecutor | None = None
        self._on_its_way: Future[None] | None = None
        self._ended = stored is not None
        if begun is not None:
            self._mark = begun.mark
            self._hash_again(begun.names)

    def write(self, offset_bytes: int, content: bytes | memoryview) -> None:
        """Take the next piece, of any size; it is kept until it is stored and must not change.

        Raises:
            OffsetMismatch: it does not belong where the last one ended.
            TooManyBytes: it goes beyond the declared size; nothing is kept.
            UploadLost: what came before is gone.
        """
        if self.stored is not None:
            return
        if offset_bytes != self._position_bytes:
            raise OffsetMismatch(offset_bytes, self._position_bytes)
        if offset_bytes + len(content) > self._declaration.size_bytes:
            self._drop()
            raise TooManyBytes(f"more bytes came than the {self._declaration.size_bytes:,} that were declared")
        self._gather(memoryview(content))
        if len(self._batch) >= self._blobs.chunks_at_once:
            self._send()

    def finish(self) -> artifact_pb2.Artifact:
        """Verify the bytes and make them an artifact.

        Raises:
            Truncated: bytes are missing; nothing is kept.
            HashMismatch: they are other bytes; nothing is kept.
            OffsetMismatch: those that were stored before, or these ones, are others: send all.
            UploadLost: what came before is gone.
        """
        if self.stored is not None:
            return self.stored
        missing_bytes = self._declaration.size_bytes - self._position_bytes
        if missing_bytes:
            self._drop()
            raise Truncated(f"the upload ended {missing_bytes:,} bytes before the declared size")
        if self._hash.hexdigest() != self._declaration.sha256:
            self._drop()
            raise self._mismatch()
        self._flush()
        if self.stored is None:
            self.stored = self._part.finish()
            self._ended = True
        return self.stored

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with contextlib.suppress(StoreError):  # then a resume begins a little earlier
                if kind is not None and not issubclass(kind, StoreError) and self.stored is None:
                    self._flush()
            with contextlib.suppress(StoreError):
                self._arrive()
        finally:
            if self._thread is not None:
                self._thread.shutdown()
            if not self._ended:
                self._ended = True
                with contextlib.suppress(StoreError):  # then it counts as one that is still at it
                    self._part.keep()

    def _mismatch(self) -> StoreError:
        sha256 = self._hash.hexdigest()
        if self._declaration.offset_bytes:  # the fault may be that of who sent what came before
            why = f"together with what was stored before, the bytes have SHA-256 {sha256}; "
            return OffsetMismatch(self._declaration.offset_bytes, 0, why)
        return HashMismatch(f"the bytes have SHA-256 {sha256}, not {self._declaration.sha256}")

    def _gather(self, content: memoryview) -> None:
        """Hash what came and cut it at the ends of chunks; only tiny pieces are copied."""
        while content:
            piece = content[: self._blobs.chunk_bytes - self._position_bytes % self._blobs.chunk_bytes]
            content = content[len(piece) :]
            self._hash.update(piece)
            self._position_bytes += len(piece)
            last = self._chunk[-1] if self._chunk else None
            if len(piece) >= TINY_BYTES:
                self._chunk.append(piece)
            elif isinstance(last, bytearray):
                last += piece
            else:
                self._chunk.append(bytearray(piece))
            if self._position_bytes % self._blobs.chunk_bytes == 0:
                self._close_chunk()

    def _close_chunk(self) -> None:
        if self._chunk:
            self._batch.append((f"{self._position_bytes}:{self._hash.hexdigest()}", self._chunk))
            self._chunk = []

    def _send(self) -> None:
        """Hand the batch to the upload's own thread, once the one before has arrived."""
        self._arrive()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gradclinic-upload")
        batch, self._batch = self._batch, []
        self._on_its_way = self._thread.submit(self._store, batch)

    def _arrive(self) -> None:
        arrival, self._on_its_way = self._on_its_way, None
        if arrival is not None:
            arrival.result()

    def _flush(self) -> None:
        self._arrive()
        self._close_chunk()
        batch, self._batch = self._batch, []
        if batch and self.stored is None:
            self._store(batch)

    def _store(self, batch: list[tuple[str, list[Piece]]]) -> None:
        if self._part.store(self._mark, batch):
            self._mark = batch[-1][0]
        else:
            self.stored, self._ended = self._part.stat(), True

    def _drop(self) -> None:
        self._arrive()
        self._ended = True
        self._part.drop()

    def _hash_again(self, names: Sequence[str]) -> None:
        """Read back what an earlier stream left: a hash's state cannot be stored."""
        for chunk in chunks_named(self._blobs, names):
            if chunk is None:
                self._drop()
                raise OffsetMismatch(self._declaration.offset_bytes, 0)
            self._hash.update(chunk)
