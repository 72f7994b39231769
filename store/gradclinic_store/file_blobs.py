"""Chunks as files or objects at an fsspec URL: `file:///…`, `s3://BUCKET/…`."""

from __future__ import annotations

import contextlib
import errno
import shutil
from typing import TYPE_CHECKING, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from gradclinic_store.errors import StoreFull, StoreUnavailable
from gradclinic_store.settings import MEBIBYTE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradclinic_store.blobs import Chunk

LOCAL_CHUNK_BYTES = 4 * MEBIBYTE_BYTES
REMOTE_CHUNK_BYTES = 8 * MEBIBYTE_BYTES  # each costs a round trip
WRITTEN_AT_ONCE_BYTES = 128 * 1024  # to a local file; a whole megabyte took the kernel six times as long

OPTIONS: dict[str, dict[str, Any]] = {
    # Without them a call to a server that is away takes minutes. Listings are kept by no process: others write too.
    "s3": {
        "config_kwargs": {"connect_timeout": 2, "read_timeout": 5, "retries": {"total_max_attempts": 1}},
        "use_listings_cache": False,
    }
}
EXTRAS = {"s3": "pip install 'gradclinic[s3]'"}
TRIES = 2  # of a request; whoever calls the store tries again for longer
DEFECTS = (TypeError, AttributeError, AssertionError, NotImplementedError)  # of ours, which no later try mends


def warm(url: str) -> None:
    """Import the file system of a URL. Makes none: that would start a thread, and forked children would miss it.

    Raises:
        ValueError: there is no such file system, or it is not installed.
    """
    protocol = url.partition("://")[0]
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        remedy = EXTRAS.get(protocol, "install the fsspec package for it")
        raise ValueError(f"blob_url: {protocol}:// needs a package that is not installed: {remedy}") from error


def filesystem_of(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path there; connects to nothing.

    Raises:
        ValueError: there is no such file system, or it is not installed.
    """
    warm(url)
    protocol = url.partition("://")[0]
    filesystem, root = fsspec.core.url_to_fs(url, **OPTIONS.get(protocol, {}))
    if protocol == "s3":
        filesystem.retries = TRIES
    return filesystem, root.rstrip("/")


class FilesystemBlobs:
    """Chunks as objects at an fsspec URL, one folder per blob."""

    chunks_at_once = 1
    key_prefix = ""

    def __init__(self, url: str) -> None:
        self._filesystem, self._root = filesystem_of(url)
        self._local = isinstance(self._filesystem, LocalFileSystem)
        self.chunk_bytes = LOCAL_CHUNK_BYTES if self._local else REMOTE_CHUNK_BYTES

    def write(self, chunks: Mapping[str, Chunk]) -> None:
        """Store chunks by name."""
        try:
            with self._translated("takes no bytes"):
                for name, chunk in chunks.items():
                    self._put(f"{self._root}/{name}", chunk)
        except (StoreUnavailable, StoreFull):
            with contextlib.suppress(StoreUnavailable):  # what there is of them takes room
                self.discard(tuple(chunks))
            raise

    def read(self, names: Sequence[str]) -> list[bytes | None]:
        """Return chunks; None for one that is not there."""
        return [self._read(f"{self._root}/{name}") for name in names]

    def has(self, names: Sequence[str], size_bytes: int) -> bool:
        """Whether the chunks are all there, so many bytes in all."""
        sizes: dict[str, int] = {}
        for folder in {name.partition("/")[0] for name in names}:
            with self._translated("lists nothing"):
                for path, entry in self._filesystem.find(f"{self._root}/{folder}", detail=True).items():
                    sizes[f"{folder}/{path.rpartition('/')[2]}"] = entry["size"]
        return all(name in sizes for name in names) and sum(sizes[name] for name in names) == size_bytes

    def discard(self, names: Sequence[str]) -> None:
        """Delete chunks."""
        for name in names:
            self._remove(name)

    def delete(self, blob: str, names: Sequence[str]) -> None:  # noqa: ARG002 - the folder holds them all
        """Delete a chunk, or the folder of a blob."""
        self._remove(blob)

    def _put(self, path: str, chunk: Chunk) -> None:
        if not self._local:
            self._filesystem.pipe_file(path, b"".join(chunk))  # one request; what sends it takes nothing but bytes
            return
        self._filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
        with self._filesystem.open(path, "wb") as file:
            for piece in chunk:
                view = memoryview(piece)
                for start in range(0, len(view), WRITTEN_AT_ONCE_BYTES):
                    file.write(view[start : start + WRITTEN_AT_ONCE_BYTES])

    def _remove(self, name: str) -> None:
        with self._translated("deletes nothing"), contextlib.suppress(FileNotFoundError):
            self._filesystem.rm(f"{self._root}/{name}", recursive=True)

    def _read(self, path: str) -> bytes | None:
        with self._translated("gives no bytes"):
            try:
                content: bytes = self._filesystem.cat_file(path)
            except FileNotFoundError:
                return None
            return content

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Turn the file system's errors into the store's.

        Raises:
            StoreFull: its disk is full.
            StoreUnavailable: anything else that it says: a network file system may raise whatever its libraries do.
        """
        try:
            yield
        except DEFECTS:
            raise
        except OSError as error:
            if self._local and error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise _disk_full(self._root) from error
            raise StoreUnavailable(f"the blob store {what}: {error}") from error
        except Exception as error:
            if self._local:
                raise
            raise StoreUnavailable(f"the blob store {what}: {error}") from error


def _disk_full(root: str) -> StoreFull:
    return StoreFull(
        "the disk of the blob store is full; its operator has to make room",
        limit="blob_disk_bytes",
        limit_value=shutil.disk_usage(root).total,
    )
