"""Artifacts on their way from the store into sealed memory files, also while the store does not answer for a while."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, TypeVar

from gradclinic_store.errors import ArtifactNotFound, StoreUnavailable
from gradclinic_worker.process import memfd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradclinic_store.artifacts import Artifacts

PATIENCE_SECONDS = 20.0
"""How long a worker waits for a store that gives no bytes, before the diagnosis waits for another worker."""

_RETRY_SECONDS = 0.5

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Reader:
    """Reads the artifacts of one diagnosis."""

    def __init__(self, artifacts: Artifacts, between_chunks: Callable[[], None], is_over: Callable[[], bool]) -> None:
        """``between_chunks`` may raise to end a read; ``is_over`` says whether there is no use in waiting."""
        self._artifacts = artifacts
        self._between_chunks = between_chunks
        self._is_over = is_over
        self._give_up_at = time.monotonic() + PATIENCE_SECONDS
        self._small: dict[str, bytes] = {}

    def take_small(self, names: Sequence[str]) -> None:
        """Read those that are small together.

        Raises:
            StoreUnavailable: The store gives no bytes.
        """
        self._small = self._patiently(lambda: self._artifacts.read_small(names))

    def sealed(self, name: str, sha256: str) -> int:
        """Return the descriptor of a sealed memory file with an artifact's verified bytes; the caller closes it.

        Raises:
            ArtifactNotFound: Its bytes are gone or were changed.
            StoreUnavailable: The store gives no bytes.
        """
        if sha256 in self._small:
            return memfd.sealed(name, [self._small[sha256]], self._between_chunks)
        try:
            return self._patiently(lambda: self._read(name, sha256))
        except ArtifactNotFound:  # sent again while it was read
            return self._patiently(lambda: self._read(name, sha256))

    def _read(self, name: str, sha256: str) -> int:
        return memfd.sealed(name, self._artifacts.read(sha256), self._between_chunks)

    def _patiently(self, read: Callable[[], _T]) -> _T:
        while True:
            try:
                return read()
            except StoreUnavailable as error:
                if time.monotonic() > self._give_up_at or self._is_over():
                    raise
                _log.warning("the store gives no bytes yet: %s", error)
                time.sleep(_RETRY_SECONDS)
