"""What a process asks of the Linux kernel about itself: die with its parent, gain no privileges, hide its memory."""

from __future__ import annotations

import ctypes
import os
import signal

# Numbers from <linux/prctl.h>.
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process as soon as its parent dies; exit now if it is dead already.

    The parent is the *thread* that forked, so processes are started from main threads only.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def gain_no_privileges() -> None:
    """Make set-user-id programs and file capabilities powerless for this process and its children."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def hide_memory() -> None:
    """Keep other processes of the same user from reading this one's memory and environment, and write no core.

    Children inherit it until they execute a program.
    """
    _prctl(_PR_SET_DUMPABLE, 0)


def show_memory() -> None:
    """Undo `hide_memory`, without which a process that is not root cannot write into its own files in `/proc`."""
    _prctl(_PR_SET_DUMPABLE, 1)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies, so that none is left behind."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}, {value}): {os.strerror(number)}")
