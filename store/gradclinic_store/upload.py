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
    from gradclinic_store.blobs import Blobs
    from gradclinic_store.connection import Connection


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
        self._partial = bytearray()  # less than a chunk
        self._batch: list[bytes] = []  # whole chunks
        self._thread: ThreadPoolExecutor | None = None
        self._on_its_way: Future[None] | None = None
        if declaration.offset_bytes and stored is None:
            self._hash_again()

    @property
    def position_bytes(self) -> int:
        """Where the next byte belongs."""
        return self._position_bytes

    def write(self, offset_bytes: int, content: bytes) -> None:
        """Take the next piece, of any size.

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
        chunk_bytes = self._blobs.chunk_bytes
        if not self._partial and len(content) == chunk_bytes:
            self._batch.append(content)
        else:
            self._partial += content
            while len(self._partial) >= chunk_bytes:
                self._batch.append(bytes(memoryview(self._partial)[:chunk_bytes]))
                del self._partial[:chunk_bytes]
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
        if self._partial:
            self._batch.append(bytes(self._partial))
            self._partial.clear()
        batch, self._batch = self._batch, []
        if batch:
            self._store(batch)

    def _store(self, batch: list[bytes]) -> None:
        names = [f"{self._blob}/{self._writer}-{self._chunk_number + i}" for i in range(len(batch))]
        self._chunk_number += len(batch)
        self._blobs.write(dict(zip(names, batch, strict=True)))
        size_bytes = sum(map(len, batch))
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
