"""What `gradclinic up` asks of the Linux kernel, so that no process outlives it. Elsewhere these do nothing."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Numbers from <linux/prctl.h>.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def dies_with(parent_pid: int) -> Callable[[], None] | None:
    """What a new child runs before its program, so that the kernel kills it when ``parent_pid`` dies.

    The parent is the thread that forked: start children from the main thread only.
    """
    if _libc is None:
        return None
    prctl = _libc.prctl

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent_pid:
            os._exit(1)

    return prepare


def adopt_orphans() -> None:
    """Makes this process the parent of every descendant whose own parent dies."""
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)


def children() -> list[int]:
    """Process ids of the direct children, zombies included."""
    pids: list[int] = []
    for listing in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            pids += map(int, listing.read_text(encoding="ascii").split())
    return pids


def reap_orphans(own: set[int]) -> None:
    """Takes note of adopted processes that have ended; ``own`` are the children that somebody else waits for."""
    for pid in children():
        if pid not in own:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def kill_children() -> None:
    """Kills and reaps every child, adopted ones included, until there is none."""
    while pids := children():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
