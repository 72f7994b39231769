"""Where the bytes of artifacts are: chunks under names, in Redis or at an fsspec URL.

Chunks are written once and never changed. A blob is the chunks of one upload; it is deleted as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from gradclinic_store.errors import StoreUnavailable
from gradclinic_store.record import milliseconds
from gradclinic_store.settings import MEBIBYTE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradclinic_store.connection import Connection

CHUNK_KEY = "gradclinic:chunk:"
ORPHAN_TTL_SECONDS = 24 * 3600.0  # a chunk whose writer died before it was noted goes by itself


class Blobs(Protocol):
    """Keeps chunks."""

    chunk_bytes: int
    """The size in which chunks are best written."""
    key_prefix: str
    """What stands before a chunk's name in its Redis key; empty when chunks are not in Redis."""

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Store one chunk under ``BLOB/NUMBER``."""

    def read(self, names: Sequence[str]) -> list[bytes | None]:
        """Return chunks; None for one that is not there."""

    def delete(self, blob: str, names: Sequence[str]) -> None:
        """Delete all chunks of a blob; ``names`` are those that were noted."""


class RedisBlobs:
    """Chunks as single values in Redis."""

    chunk_bytes = MEBIBYTE_BYTES
    key_prefix = CHUNK_KEY

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Store one chunk."""
        ttl_ms = milliseconds(ORPHAN_TTL_SECONDS)
        self._connection.do(lambda client: client.set(CHUNK_KEY + name, content, px=ttl_ms))

    def read(self, names: Sequence[str]) -> list[bytes | None]:
        """Return chunks; None for one that is not there."""
        chunks: list[bytes | None] = self._connection.do(
            lambda client: client.mget([CHUNK_KEY + name for name in names])
        )
        return chunks

    def delete(self, blob: str, names: Sequence[str]) -> None:  # noqa: ARG002 - what was not noted expires by itself
        """Delete the noted chunks of a blob."""
        if names:
            self._connection.do(lambda client: client.unlink(*(CHUNK_KEY + name for name in names)))


class FilesystemBlobs:
    """Chunks as objects at an fsspec URL, one folder per blob."""

    chunk_bytes = 8 * MEBIBYTE_BYTES
    key_prefix = ""

    def __init__(self, url: str) -> None:
        import fsspec  # noqa: PLC0415 - only who uses a blob URL needs it

        filesystem, root = fsspec.core.url_to_fs(url)
        self._filesystem: Any = filesystem
        self._root: str = root.rstrip("/")

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Store one chunk."""
        path = f"{self._root}/{name}"
        try:
            self._filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._filesystem.pipe_file(path, bytes(content))
        except OSError as error:
            raise StoreUnavailable(f"the blob store takes no bytes: {error}") from error

    def read(self, names: Sequence[str]) -> list[bytes | None]:
        """Return chunks; None for one that is not there."""
        return [self._read(f"{self._root}/{name}") for name in names]

    def delete(self, blob: str, names: Sequence[str]) -> None:  # noqa: ARG002 - the folder holds them all
        """Delete the folder of a blob."""
        try:
            self._filesystem.rm(f"{self._root}/{blob}", recursive=True)
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


def blobs_for(connection: Connection) -> Blobs:
    """Return where the settings say that bytes are."""
    url = connection.settings.blob_url
    return FilesystemBlobs(url) if url else RedisBlobs(connection)
