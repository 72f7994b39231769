"""Where the bytes of artifacts are: chunks under names, in Redis or at an fsspec URL.

Chunks are written once and never changed. A blob is the chunks of one upload; it is deleted as a whole.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from gradclinic_store.errors import StoreFull, StoreUnavailable
from gradclinic_store.record import milliseconds
from gradclinic_store.settings import MEBIBYTE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradclinic_store.connection import Connection

CHUNK_KEY = "gradclinic:chunk:"
CHUNKS_KEY = "gradclinic:chunks:"  # list of the names of a blob's chunks, in order
GARBAGE_KEY = "gradclinic:garbage"  # set of blobs, and of single chunks, that wait to be deleted
CHUNKS_READ_AT_ONCE = 4  # bounds memory while a read still saves round trips
LOCAL_CHUNK_BYTES = 4 * MEBIBYTE_BYTES
REMOTE_CHUNK_BYTES = 8 * MEBIBYTE_BYTES  # each costs a round trip
WRITTEN_AT_ONCE_BYTES = 256 * 1024  # to a local file; a whole megabyte took the kernel six times as long
ORPHAN_TTL_SECONDS = 24 * 3600.0  # a chunk whose writer died before it was noted goes by itself

Piece: TypeAlias = bytes | bytearray | memoryview
Chunk: TypeAlias = "Sequence[Piece]"  # in order, as they came: joining a megabyte costs as much as sending it


class Blobs(Protocol):
    """Keeps chunks."""

    chunk_bytes: int
    """The size in which chunks are best written."""
    chunks_at_once: int
    """How many are best written in one go; bounds the memory of an upload."""
    key_prefix: str
    """What stands before a chunk's name in its Redis key; empty when chunks are not in Redis."""

    def write(self, chunks: Mapping[str, Chunk]) -> None:
        """Store chunks by name, ``BLOB/NAME``.

        Raises:
            StoreFull: there is no room for them.
            StoreUnavailable: they cannot be written now.
        """

    def read(self, names: Sequence[str]) -> list[bytes | None]:
        """Return chunks; None for one that is not there."""

    def discard(self, names: Sequence[str]) -> None:
        """Delete chunks that were written in vain."""

    def delete(self, blob: str, names: Sequence[str]) -> None:
        """Delete a single chunk, or all chunks of a blob; ``names`` are those that were noted."""


class RedisBlobs:
    """Chunks as single values in Redis."""

    chunk_bytes = MEBIBYTE_BYTES
    chunks_at_once = 4  # pipelined: twice the rate of one at a time where an append-only file is on
    key_prefix = CHUNK_KEY

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def write(self, chunks: Mapping[str, Chunk]) -> None:
        """Store chunks by name."""
        ttl_ms = milliseconds(ORPHAN_TTL_SECONDS)
        with self._connection.translated(), self._connection.client.pipeline(transaction=False) as pipeline:
            for name, chunk in chunks.items():
                pipeline.set(CHUNK_KEY + name, _joined(chunk), px=ttl_ms)
            pipeline.execute()

    def read(self, names: Sequence[str]) -> list[bytes | None]:
        """Return chunks; None for one that is not there."""
        chunks: list[bytes | None] = self._connection.do(
            lambda client: client.mget([CHUNK_KEY + name for name in names])
        )
        return chunks

    def discard(self, names: Sequence[str]) -> None:
        """Delete chunks."""
        if names:
            self._connection.do(lambda client: client.unlink(*(CHUNK_KEY + name for name in names)))

    def delete(self, blob: str, names: Sequence[str]) -> None:
        """Delete a chunk, or the noted chunks of a blob; what was not noted expires by itself."""
        self.discard([blob, *names])


class FilesystemBlobs:
    """Chunks as objects at an fsspec URL, one folder per blob."""

    chunks_at_once = 1
    key_prefix = ""

    def __init__(self, url: str) -> None:
        import fsspec  # noqa: PLC0415 - only who uses a blob URL needs it
        from fsspec.implementations.local import LocalFileSystem  # noqa: PLC0415 - as above

        filesystem, root = fsspec.core.url_to_fs(url)
        self._filesystem: Any = filesystem
        self._root: str = root.rstrip("/")
        self._local = isinstance(filesystem, LocalFileSystem)
        self.chunk_bytes = LOCAL_CHUNK_BYTES if self._local else REMOTE_CHUNK_BYTES

    def write(self, chunks: Mapping[str, Chunk]) -> None:
        """Store chunks by name."""
        try:
            for name, chunk in chunks.items():
                self._put(f"{self._root}/{name}", chunk)
        except OSError as error:
            with contextlib.suppress(StoreUnavailable):  # what there is of them takes room
                self.discard(tuple(chunks))
            if self._local and error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise _disk_full(self._root) from error
            raise StoreUnavailable(f"the blob store takes no bytes: {error}") from error

    def read(self, names: Sequence[str]) -> list[bytes | None]:
        """Return chunks; None for one that is not there."""
        return [self._read(f"{self._root}/{name}") for name in names]

    def discard(self, names: Sequence[str]) -> None:
        """Delete chunks."""
        for name in names:
            self._remove(name)

    def delete(self, blob: str, names: Sequence[str]) -> None:  # noqa: ARG002 - the folder holds them all
        """Delete a chunk, or the folder of a blob."""
        self._remove(blob)

    def _put(self, path: str, chunk: Chunk) -> None:
        self._filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
        if not self._local:
            self._filesystem.pipe_file(path, _joined(chunk))  # one request
            return
        with self._filesystem.open(path, "wb") as file:
            for piece in chunk:
                view = memoryview(piece)
                for start in range(0, len(view), WRITTEN_AT_ONCE_BYTES):
                    file.write(view[start : start + WRITTEN_AT_ONCE_BYTES])

    def _remove(self, name: str) -> None:
        try:
            self._filesystem.rm(f"{self._root}/{name}", recursive=True)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreUnavailable(f"the blob store deletes nothing: {error}") from error

    def _read(self, path: str) -> bytes | None:
        try:
            content: bytes = self._filesystem.cat_file(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailable(f"the blob store gives no bytes: {error}") from error
        return content


def _disk_full(root: str) -> StoreFull:
    return StoreFull(
        "the disk of the blob store is full; its operator has to make room",
        limit="blob_disk_bytes",
        limit_value=shutil.disk_usage(root).total,
    )


def _joined(chunk: Chunk) -> Piece:
    return memoryview(chunk[0]) if len(chunk) == 1 else b"".join(chunk)


def blobs_for(connection: Connection) -> Blobs:
    """Return where the settings say that bytes are."""
    url = connection.settings.blob_url
    return FilesystemBlobs(url) if url else RedisBlobs(connection)


def chunks_of(connection: Connection, blobs: Blobs, blob: str) -> Iterator[bytes | None]:
    """Yield the chunks of a blob in order; None for one that is not there any more."""
    return chunks_named(blobs, _names(connection, blob))


def chunks_named(blobs: Blobs, names: Sequence[str]) -> Iterator[bytes | None]:
    """Yield chunks in order; None for one that is not there any more."""
    for start in range(0, len(names), CHUNKS_READ_AT_ONCE):
        yield from blobs.read(names[start : start + CHUNKS_READ_AT_ONCE])


def collect(connection: Connection, blobs: Blobs) -> None:
    """Delete the bytes of dropped blobs; may be interrupted anywhere, and run by many at once."""
    for garbage in connection.do(lambda client: client.smembers(GARBAGE_KEY)):
        blob = garbage.decode()
        blobs.delete(blob, _names(connection, blob))
        with connection.translated(), connection.client.pipeline(transaction=True) as pipeline:
            pipeline.delete(CHUNKS_KEY + blob)
            pipeline.srem(GARBAGE_KEY, blob)
            pipeline.execute()


def _names(connection: Connection, blob: str) -> list[str]:
    return [name.decode() for name in connection.do(lambda client: client.lrange(CHUNKS_KEY + blob, 0, -1))]
