"""Artifacts: content-addressed bytes, uploaded in pieces, verified, kept while they are used."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import TYPE_CHECKING

from gradclinic.v1 import artifact_pb2
from gradclinic_store.blobs import Blobs, blobs_for
from gradclinic_store.errors import (
    ArtifactNotFound,
    ArtifactTooLarge,
    HashMismatch,
    OffsetMismatch,
    StoreFull,
    StoreError,
    TooManyBytes,
    Truncated,
    UploadTakenOver,
)
from gradclinic_store.record import fields_of, milliseconds, set_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from gradclinic_store.connection import Connection

ARTIFACT_KEY = "gradclinic:artifact:"
PART_KEY = "gradclinic:part:"
CHUNKS_KEY = "gradclinic:chunks:"
GARBAGE_KEY = "gradclinic:garbage"
ARTIFACTS_KEY = "gradclinic:artifacts"
PARTS_KEY = "gradclinic:parts"
SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
CHUNKS_READ_AT_ONCE = 4  # bounds memory while a read still overlaps its round trips


class Artifacts:
    """All artifacts of this store, by SHA-256."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._blobs = blobs_for(connection)

    def stat(self, sha256: str) -> artifact_pb2.Artifact | None:
        """Describe an artifact, None when there is none; its retention time stays."""
        return _artifact(self._connection.run("artifact_touch", sha256, 0))

    def touch(self, sha256: str) -> artifact_pb2.Artifact | None:
        """Describe an artifact, None when there is none; it is kept for a whole retention time from now."""
        retention_ms = milliseconds(self._connection.settings.artifact_retention_seconds)
        return _artifact(self._connection.run("artifact_touch", sha256, retention_ms))

    def received(self, sha256: str) -> int:
        """Return from where an interrupted upload can go on, in bytes; 0 when there is nothing to resume."""
        return int(self._connection.do(lambda client: client.hget(PART_KEY + sha256, "received_bytes")) or 0)

    def upload(self, declaration: artifact_pb2.ArtifactDeclaration) -> Upload:
        """Begin an upload, or go on with an interrupted one at its `offset_bytes`.

        Raises:
            ArtifactTooLarge: its declared size is above the limit.
            StoreFull: there is no room for it.
            OffsetMismatch: it cannot be resumed there.
            ValueError: no SHA-256, a negative size or offset.
        """
        settings = self._connection.settings
        if not SHA256_PATTERN.fullmatch(declaration.sha256):
            raise ValueError("sha256 must be 64 lower-case hexadecimal digits")
        if declaration.size_bytes < 0 or declaration.offset_bytes < 0:
            raise ValueError("size_bytes and offset_bytes must not be negative")
        if declaration.size_bytes > settings.max_artifact_bytes:
            raise ArtifactTooLarge(declaration.size_bytes, settings.max_artifact_bytes)
        writer = secrets.token_hex(8)
        outcome, *rest = self._connection.run(
            "upload_begin",
            declaration.sha256,
            declaration.kind,
            declaration.format,
            declaration.size_bytes,
            declaration.offset_bytes,
            writer,
            secrets.token_hex(16),
            milliseconds(settings.upload_retention_seconds),
            settings.max_stored_bytes,
        )
        if outcome == b"full":
            raise StoreFull(
                f"{rest[0]:,} of {settings.max_stored_bytes:,} bytes are taken; "
                f"there is no room for {declaration.size_bytes:,} more until unused artifacts expire",
                settings.max_stored_bytes,
            )
        if outcome == b"offset":
            raise OffsetMismatch(declaration.offset_bytes, rest[0])
        if outcome == b"stored":
            return Upload(self._connection, self._blobs, declaration, writer, "", stored=self.touch(declaration.sha256))
        return Upload(self._connection, self._blobs, declaration, writer, rest[0].decode())

    def read(self, sha256: str) -> Iterator[bytes]:
        """Yield an artifact's bytes in order, a chunk at a time.

        Raises:
            ArtifactNotFound: it is not there, or goes while it is read.
        """
        blob = self._connection.do(lambda client: client.hget(ARTIFACT_KEY + sha256, "blob"))
        if blob is None:
            raise ArtifactNotFound(sha256)
        for chunk in _chunks(self._connection, self._blobs, blob.decode()):
            if chunk is None:
                raise ArtifactNotFound(sha256)
            yield chunk

    def reap(self) -> list[str]:
        """Forget artifacts and interrupted uploads whose time is over, and delete bytes that nobody needs."""
        dropped = []
        for sha256 in self._connection.run("over", ARTIFACTS_KEY, 100):
            if self._connection.run("artifact_drop", sha256):
                dropped.append(sha256.decode())
        for sha256 in self._connection.run("over", PARTS_KEY, 100):
            self._connection.run("upload_drop", sha256, "")
        _collect(self._connection, self._blobs)
        return dropped


class Upload:
    """One stream of bytes on its way into the store. Use it as a context manager, from one thread at a time.

    When the block ends by an error, what came so far stays and can be resumed for a while; wrong bytes are dropped.
    """

    def __init__(
        self,
        connection: Connection,
        blobs: Blobs,
        declaration: artifact_pb2.ArtifactDeclaration,
        writer: str,
        blob: str,
        *,
        stored: artifact_pb2.Artifact | None = None,
    ) -> None:
        self._connection = connection
        self._blobs = blobs
        self._declaration = declaration
        self._writer = writer
        self._blob = blob
        self._chunk_number = 0
        self._hash = hashlib.sha256()
        self._noted_bytes = declaration.offset_bytes  # in the store
        self._buffer = bytearray()
        self.stored = stored
        """Set when the artifact is there already: `finish` at once, or send for nothing."""
        if declaration.offset_bytes and stored is None:
            self._hash_again()

    @property
    def position_bytes(self) -> int:
        """Where the next byte belongs."""
        return self._noted_bytes + len(self._buffer)

    def write(self, offset_bytes: int, content: bytes) -> None:
        """Take the next piece, of any size.

        Raises:
            OffsetMismatch: it does not belong where the last one ended.
            TooManyBytes: it goes beyond the declared size; nothing is kept.
            UploadTakenOver: another upload of this artifact goes on instead.
        """
        if self.stored is not None:
            return
        if offset_bytes != self.position_bytes:
            raise OffsetMismatch(offset_bytes, self.position_bytes)
        if offset_bytes + len(content) > self._declaration.size_bytes:
            self._drop()
            raise TooManyBytes(f"more bytes came than the {self._declaration.size_bytes:,} that were declared")
        self._hash.update(content)
        if not self._buffer and len(content) == self._blobs.chunk_bytes:
            self._store(content)
            return
        self._buffer += content
        while len(self._buffer) >= self._blobs.chunk_bytes:
            self._store(bytes(memoryview(self._buffer)[: self._blobs.chunk_bytes]))
            del self._buffer[: self._blobs.chunk_bytes]

    def finish(self) -> artifact_pb2.Artifact:
        """Verify the bytes and make them an artifact.

        Raises:
            Truncated: bytes are missing; nothing is kept.
            HashMismatch: they are other bytes; nothing is kept.
            UploadTakenOver: another upload of this artifact goes on instead.
        """
        if self.stored is not None:
            return self.stored
        missing_bytes = self._declaration.size_bytes - self.position_bytes
        if missing_bytes:
            self._drop()
            raise Truncated(f"the upload ended {missing_bytes:,} bytes before the declared size")
        if self._hash.hexdigest() != self._declaration.sha256:
            self._drop()
            raise HashMismatch(f"the bytes have SHA-256 {self._hash.hexdigest()}, not {self._declaration.sha256}")
        self._flush()
        retention_ms = milliseconds(self._connection.settings.artifact_retention_seconds)
        self.stored = _artifact(
            self._connection.run(
                "upload_finish", self._declaration.sha256, self._writer, retention_ms, self._blobs.key_prefix
            )
        )
        if self.stored is None:
            raise UploadTakenOver("another upload of this artifact took over, or its time was over")
        return self.stored

    def __enter__(self) -> Upload:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.stored is None and kind is not None and not issubclass(kind, StoreError):
            self._flush()

    def _store(self, content: bytes) -> None:
        name = f"{self._blob}/{self._writer}-{self._chunk_number}"
        self._chunk_number += 1
        self._blobs.write(name, content)
        noted = self._connection.run(
            "upload_append",
            self._declaration.sha256,
            self._writer,
            self._noted_bytes,
            name,
            len(content),
            milliseconds(self._connection.settings.upload_retention_seconds),
        )
        if not noted:
            raise UploadTakenOver("another upload of this artifact took over, or its time was over")
        self._noted_bytes += len(content)

    def _flush(self) -> None:
        if self._buffer:
            content = bytes(self._buffer)
            self._buffer.clear()
            self._store(content)

    def _drop(self) -> None:
        self._buffer.clear()
        self._connection.run("upload_drop", self._declaration.sha256, self._writer)
        _collect(self._connection, self._blobs)

    def _hash_again(self) -> None:
        """A hash's state cannot be stored: read back what an earlier stream left."""
        for chunk in _chunks(self._connection, self._blobs, self._blob):
            if chunk is None:
                self._drop()
                raise OffsetMismatch(self._declaration.offset_bytes, 0)
            self._hash.update(chunk)


def _chunks(connection: Connection, blobs: Blobs, blob: str) -> Iterator[bytes | None]:
    names = [name.decode() for name in connection.do(lambda client: client.lrange(CHUNKS_KEY + blob, 0, -1))]
    for start in range(0, len(names), CHUNKS_READ_AT_ONCE):
        yield from blobs.read(names[start : start + CHUNKS_READ_AT_ONCE])


def _collect(connection: Connection, blobs: Blobs) -> None:
    """Delete the bytes of blobs that were dropped; safe to be interrupted anywhere."""
    for garbage in connection.do(lambda client: client.smembers(GARBAGE_KEY)):
        blob = garbage.decode()
        names = connection.do(lambda client, blob=blob: client.lrange(CHUNKS_KEY + blob, 0, -1))
        blobs.delete(blob, [name.decode() for name in names])
        connection.do(
            lambda client, blob=blob: client.pipeline().delete(CHUNKS_KEY + blob).srem(GARBAGE_KEY, blob).execute()
        )


def _artifact(answer: list[list[bytes] | bytes] | None) -> artifact_pb2.Artifact | None:
    if answer is None:
        return None
    flat, expire_ms = answer
    fields = fields_of(flat)  # type: ignore[arg-type]  # the first is the hash, the second its expiry
    artifact = artifact_pb2.Artifact(
        sha256=fields[b"sha256"].decode(),
        kind=artifact_pb2.ArtifactKind.ValueType(int(fields[b"kind"])),
        format=artifact_pb2.ArtifactFormat.ValueType(int(fields[b"format"])),
        size_bytes=int(fields[b"size_bytes"]),
    )
    set_time(artifact.create_time, fields[b"create_ms"])
    set_time(artifact.expire_time, expire_ms)  # type: ignore[arg-type]
    return artifact
