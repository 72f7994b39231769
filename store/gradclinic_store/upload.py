"""One upload: pieces come in, are hashed, and go to the blobs a few chunks at a time."""

from __future__ import annotations

import contextlib
import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from gradclinic_store.blobs import chunks_of, collect
from gradclinic_store.errors import (
    HashMismatch,
    OffsetMismatch,
    StoreError,
    TooManyBytes,
    Truncated,
    UploadTakenOver,
)
from gradclinic_store.record import milliseconds, to_artifact

if TYPE_CHECKING:
    from types import TracebackType

    from gradclinic.v1 import artifact_pb2
    from gradclinic_store.blobs import Blobs, Piece
    from gradclinic_store.connection import Connection

TINY_BYTES = 64 * 1024  # pieces below are put together, for each one that is kept as it came costs memory of its own


class Upload:
    """One stream of bytes on its way into the store. Use it as a context manager, from one thread at a time.

    Memory stays below twice `chunks_at_once` chunks: one batch is on its way while the next one fills. When the block
    ends by an error that is not the bytes' fault, what came so far stays and can be resumed for a while.
    """

    def __init__(  # noqa: PLR0913 - `Artifacts.upload` alone constructs it
        self,
        connection: Connection,
        blobs: Blobs,
        tenant: str,
        declaration: artifact_pb2.ArtifactDeclaration,
        *,
        writer: str = "",
        blob: str = "",
        stored: artifact_pb2.Artifact | None = None,
    ) -> None:
        self.stored = stored
        """Set when the artifact is there already: `finish` at once, or send for nothing."""
        self._connection = connection
        self._blobs = blobs
        self._tenant = tenant
        self._declaration = declaration
        self._writer = writer
        self._blob = blob
        self._hash = hashlib.sha256()
        self._position_bytes = declaration.offset_bytes
        self._handed_over_bytes = declaration.offset_bytes
        self._chunk_number = 0
        self._chunk: list[Piece] = []  # the one that is filled
        self._chunk_bytes = 0
        self._batch: list[list[Piece]] = []  # whole ones
        self._thread: ThreadPoolExecutor | None = None
        self._on_its_way: Future[None] | None = None
        if declaration.offset_bytes and stored is None:
            self._hash_again()

    @property
    def position_bytes(self) -> int:
        """Where the next byte belongs."""
        return self._position_bytes

    def write(self, offset_bytes: int, content: bytes | memoryview) -> None:
        """Take the next piece, of any size; it is kept until it is stored and must not change.

        Raises:
            OffsetMismatch: it does not belong where the last one ended.
            TooManyBytes: it goes beyond the declared size; nothing is kept.
            UploadTakenOver: another upload of this artifact goes on instead.
        """
        if self.stored is not None:
            return
        if offset_bytes != self._position_bytes:
            raise OffsetMismatch(offset_bytes, self._position_bytes)
        if offset_bytes + len(content) > self._declaration.size_bytes:
            self._drop()
            raise TooManyBytes(f"more bytes came than the {self._declaration.size_bytes:,} that were declared")
        self._hash.update(content)
        self._position_bytes += len(content)
        self._gather(memoryview(content))
        if len(self._batch) >= self._blobs.chunks_at_once:
            self._send()

    def finish(self) -> artifact_pb2.Artifact:
        """Verify the bytes and make them an artifact.

        Raises:
            Truncated: bytes are missing; nothing is kept.
            HashMismatch: they are other bytes; nothing is kept.
            UploadTakenOver: another upload of this artifact goes on instead.
        """
        if self.stored is not None:
            return self.stored
        missing_bytes = self._declaration.size_bytes - self._position_bytes
        if missing_bytes:
            self._drop()
            raise Truncated(f"the upload ended {missing_bytes:,} bytes before the declared size")
        if self._hash.hexdigest() != self._declaration.sha256:
            self._drop()
            raise HashMismatch(f"the bytes have SHA-256 {self._hash.hexdigest()}, not {self._declaration.sha256}")
        self._flush()
        retention_ms = milliseconds(self._connection.settings.artifact_retention_seconds)
        artifact = to_artifact(
            self._connection.run(
                "upload_finish",
                self._tenant,
                self._declaration.sha256,
                self._writer,
                retention_ms,
                self._blobs.key_prefix,
            )
        )
        if artifact is None:
            raise UploadTakenOver("another upload of this artifact took over, or its time was over")
        self.stored = artifact
        return artifact

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None and not issubclass(kind, StoreError) and self.stored is None:
                with contextlib.suppress(StoreError):  # then a resume begins a little earlier
                    self._flush()
        finally:
            if self._thread is not None:
                self._thread.shutdown()

    def _gather(self, content: memoryview) -> None:
        """Cut what came at the ends of chunks; only tiny pieces are copied."""
        while content:
            piece = content[: self._blobs.chunk_bytes - self._chunk_bytes]
            content = content[len(piece) :]
            last = self._chunk[-1] if self._chunk else None
            if len(piece) >= TINY_BYTES:
                self._chunk.append(piece)
            elif isinstance(last, bytearray):
                last += piece
            else:
                self._chunk.append(bytearray(piece))
            self._chunk_bytes += len(piece)
            if self._chunk_bytes == self._blobs.chunk_bytes:
                self._close_chunk()

    def _close_chunk(self) -> None:
        if self._chunk:
            self._batch.append(self._chunk)
            self._chunk, self._chunk_bytes = [], 0

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
        if batch:
            self._store(batch)

    def _store(self, batch: list[list[Piece]]) -> None:
        names = [f"{self._blob}/{self._writer}-{self._chunk_number + i}" for i in range(len(batch))]
        self._chunk_number += len(batch)
        self._blobs.write(dict(zip(names, batch, strict=True)))
        size_bytes = sum(len(piece) for chunk in batch for piece in chunk)
        noted = self._connection.run(
            "upload_append",
            self._tenant,
            self._declaration.sha256,
            self._writer,
            self._handed_over_bytes,
            size_bytes,
            milliseconds(self._connection.settings.upload_retention_seconds),
            *names,
        )
        if not noted:
            self._blobs.discard(names)
            raise UploadTakenOver("another upload of this artifact took over, or its time was over")
        self._handed_over_bytes += size_bytes

    def _drop(self) -> None:
        self._arrive()
        self._connection.run("upload_drop", f"{self._tenant}:{self._declaration.sha256}", self._writer)
        collect(self._connection, self._blobs)

    def _hash_again(self) -> None:
        """Read back what an earlier stream left: a hash's state cannot be stored."""
        for chunk in chunks_of(self._connection, self._blobs, self._blob):
            if chunk is None:
                self._drop()
                raise OffsetMismatch(self._declaration.offset_bytes, 0)
            self._hash.update(chunk)
