"""How this process's memory allocator treats the buffers of uploads: it keeps them for the next chunk.

By default glibc gives a freed megabyte back to the kernel and asks for it again for the next chunk, which costs about
half of the time of an upload in page faults. See docs/decisions/service-uploads.md for what was measured.
"""

from __future__ import annotations

import ctypes
import logging

from gradclinic_service.settings import MIB

logger = logging.getLogger(__name__)

# From malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

KEPT_BYTES = 32 * MIB  # free memory above this is given back
MAPPED_FROM_BYTES = 16 * MIB  # larger blocks come from the kernel directly; no buffer of ours is that large
ARENAS = 2  # threads share them: what one thread frees, another one can have


def keep_freed_buffers() -> None:
    """Tells glibc; does nothing with another C library. Call it before there are threads."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        logger.info("this C library has no mallopt; uploads cost more page faults")
        return
    for parameter, value in (
        (_M_TRIM_THRESHOLD, KEPT_BYTES),
        (_M_MMAP_THRESHOLD, MAPPED_FROM_BYTES),
        (_M_ARENA_MAX, ARENAS),
    ):
        if not mallopt(parameter, value):
            logger.info("the C library refuses a setting of its allocator parameter=%d value=%d", parameter, value)
