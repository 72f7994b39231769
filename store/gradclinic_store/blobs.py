"""Where the bytes of artifacts are: chunks under names, in Redis or at an fsspec URL.

Chunks are written once and never changed. A blob is the chunks of one upload; it is deleted as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from gradclinic_store.record import milliseconds
from gradclinic_store.settings import MEBIBYTE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradclinic_store.connection import Connection

CHUNK_KEY = "gradclinic:chunk:"
CHUNKS_KEY = "gradclinic:chunks:"  # list of the names of a blob's chunks, in order
GARBAGE_KEY = "gradclinic:garbage"  # set of blobs, and of single chunks, that wait to be deleted
CHUNKS_READ_AT_ONCE = 4  # bounds memory while a read still saves round trips
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

    def has(self, names: Sequence[str], size_bytes: int) -> bool:
        """Whether the chunks are all there, so many bytes in all; what is in them is not looked at."""

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
                pipeline.set(CHUNK_KEY + name, memoryview(chunk[0]) if len(chunk) == 1 else b"".join(chunk), px=ttl_ms)
            pipeline.execute()

    def read(self, names: Sequence[str]) -> list[bytes | None]:
        """Return chunks; None for one that is not there."""
        chunks: list[bytes | None] = self._connection.do(
            lambda client: client.mget([CHUNK_KEY + name for name in names])
        )
        return chunks

    def has(self, names: Sequence[str], size_bytes: int) -> bool:  # noqa: ARG002 - a value in Redis is whole
        """Whether the chunks are all there."""
        keys = [CHUNK_KEY + name for name in names]
        return not keys or self._connection.do(lambda client: client.exists(*keys)) == len(keys)

    def discard(self, names: Sequence[str]) -> None:
        """Delete chunks."""
        if names:
            self._connection.do(lambda client: client.unlink(*(CHUNK_KEY + name for name in names)))

    def delete(self, blob: str, names: Sequence[str]) -> None:
        """Delete a chunk, or the noted chunks of a blob; what was not noted expires by itself."""
        self.discard([blob, *names])


def blobs_for(connection: Connection) -> Blobs:
    """Return where the settings say that bytes are.

    Raises:
        ValueError: there can be none at that URL.
    """
    url = connection.settings.blob_url
    if not url:
        return RedisBlobs(connection)
    from gradclinic_store.file_blobs import FilesystemBlobs  # noqa: PLC0415 - only who uses a blob URL needs fsspec

    return FilesystemBlobs(url)


def warm(url: str) -> None:
    """Import now what a blob URL needs, so that no forked child has to.

    Raises:
        ValueError: it cannot be used here.
    """
    if url:
        from gradclinic_store import file_blobs  # noqa: PLC0415 - as above

        file_blobs.warm(url)


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
