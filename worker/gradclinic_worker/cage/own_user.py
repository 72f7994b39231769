"""What a process that runs as root gives up: its user, its groups, its capabilities."""

from __future__ import annotations

import ctypes
import functools
import os
import stat
from pathlib import Path

# Above what distributions and container runtimes give out, and below the largest number; a process id fits in.
FIRST_UID = 0x70000000

_NEEDED_CAPABILITIES = 1 << 5 | 1 << 6 | 1 << 7
"""KILL, SETGID, SETUID: without the first, our own zygote could not end a process of another user."""

_CAPABILITY_VERSION = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


@functools.cache  # asked in the zygote, for all executors
def can_take_own_user(code: tuple[Path, ...]) -> bool:
    """Whether this process may become another user, and that one could still read the code in some directories."""
    if os.geteuid() != 0 or not _maps_all_users():
        return False
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    reachable = all(one.stat().st_mode & stat.S_IXOTH for place in code for one in (place, *place.parents))
    return effective & _NEEDED_CAPABILITIES == _NEEDED_CAPABILITIES and reachable


def take_own_user() -> int:
    """Become a user that no other process has, in all threads; returns its number.

    All capabilities go with it, and so does the wish to die with the parent.
    """
    number = FIRST_UID + os.getpid()
    os.setgroups([])
    os.setresgid(number, number, number)
    os.setresuid(number, number, number)
    return number


def drop_capabilities() -> None:
    """Give up every capability of this thread and of those it will start.

    Raises:
        OSError: The kernel refuses.
    """
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if _libc.capset(header, nothing) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"capset: {os.strerror(error)}")


def _maps_all_users() -> bool:
    """Whether the user numbers that we take exist here; in a user namespace they may not."""
    for line in Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines():
        first, _, count = (int(field) for field in line.split())
        if first <= FIRST_UID and first + count >= 2**31:
            return True
    return False
