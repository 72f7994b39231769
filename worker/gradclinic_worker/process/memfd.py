"""Artifacts on their way to the executor: anonymous files in memory, sealed so that nobody can change them."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def sealed(name: str, chunks: Iterable[bytes], between_chunks: Callable[[], None]) -> int:
    """Write chunks into a new sealed memory file and return its descriptor; the caller closes it.

    Only one chunk is held beside the file itself.

    Args:
        name: What the file holds, for people who look at /proc.
        chunks: Its bytes, in order.
        between_chunks: Called after each chunk; what it raises ends the writing.
    """
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for chunk in chunks:
            _write_all(descriptor, chunk)
            between_chunks()
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]
