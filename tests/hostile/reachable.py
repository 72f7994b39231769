"""`python reachable.py USER PROGRAM ARGUMENT...` runs a program as a user, where every user can reach Python.

Needs root. In a mount namespace of its own, a directory that others may not enter is covered by an empty one, in which
Python and this repository appear at their places; the machine itself stays as it is.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from pathlib import Path

NEW_MOUNTS, RECURSIVE, PRIVATE, BIND = 0x20000, 0x4000, 0x40000, 0x1000
LIBC = ctypes.CDLL(None, use_errno=True)
REPOSITORY = Path(__file__).resolve().parents[2]


def check(result: int) -> None:
    """Raise what a call of the C library has met."""
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def mount(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
    """As mount(2)."""
    check(LIBC.mount(source.encode(), bytes(target), kind.encode(), flags, options.encode()))


def closed(place: Path) -> Path | None:
    """The outermost directory on the way to a place that only its owner may enter."""
    return next((one for one in reversed((place, *place.parents)) if not one.stat().st_mode & stat.S_IXOTH), None)


def main() -> None:
    """Open the way, become the user, run the program."""
    check(LIBC.unshare(NEW_MOUNTS))
    mount("none", Path("/"), "", RECURSIVE | PRIVATE)
    needed = (Path(sys.base_prefix), Path(sys.prefix), REPOSITORY)
    hidden = {place: cover for place in needed if (cover := closed(place))}
    kept = {place: os.open(place, os.O_PATH | os.O_CLOEXEC) for place in hidden}
    for cover in set(hidden.values()):
        mount("none", cover, "tmpfs", 0, "mode=755")
    for place, descriptor in kept.items():
        place.mkdir(parents=True, exist_ok=True)
        mount(f"/proc/self/fd/{descriptor}", place, "", BIND | RECURSIVE)
    user = int(sys.argv[1])
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
