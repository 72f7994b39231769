"""Memory in pages of 2 MiB: a fork copies one entry per page, and torch's 200 MiB are 50,000 small ones."""

from __future__ import annotations

import ctypes
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HUGE_PAGE_BYTES = 2 * 2**20
_MADV_COLLAPSE = 25  # from <linux/mman.h>; since Linux 6.1
_MAPS = Path("/proc/self/maps")

_libc = ctypes.CDLL(None, use_errno=True)
_log = logging.getLogger(__name__)


def collapse() -> int:
    """Move this process's heap into huge pages, where the kernel can; returns how many bytes it moved.

    Forks then take a quarter of the time, and so do the ends of what was forked. What a child writes to is still
    copied in small pages.
    """
    moved_bytes = 0
    for start, end in _heap(_MAPS.read_text(encoding="utf-8")):
        if _libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_COLLAPSE) == 0:
            moved_bytes += end - start
        else:
            _log.debug("memory stays in small pages: %s", os.strerror(ctypes.get_errno()))
    return moved_bytes


def _heap(maps: str) -> Iterator[tuple[int, int]]:
    """Addresses of the whole huge pages in anonymous, writable, private mappings."""
    for line in maps.splitlines():
        addresses, rights, _offset, _device, _inode, *name = line.split(maxsplit=5)
        if rights == "rw-p" and name in ([], ["[heap]"]):
            start, end = (int(address, 16) for address in addresses.split("-"))
            start, end = -(-start // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES, end // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES
            if start < end:
                yield start, end
