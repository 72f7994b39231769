"""The SHA-256 of bytes that are read in pieces, computed beside the reading."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

AT_ONCE_BYTES = 256 * 1024  # up to here hashing takes less time than handing it to another thread


class Verification:
    """Hashes one piece while the next one is read: reading and hashing each take about half of the time."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._thread: ThreadPoolExecutor | None = None
        self._under_way: Future[None] | None = None

    def add(self, piece: bytes) -> None:
        """Take the next piece."""
        self._settle()
        if len(piece) <= AT_ONCE_BYTES:
            self._hash.update(piece)
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gradclinic-verification")
        self._under_way = self._thread.submit(self._hash.update, piece)

    @property
    def sha256(self) -> str:
        """The hash of all pieces so far."""
        self._settle()
        return self._hash.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown()

    def _settle(self) -> None:
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()
