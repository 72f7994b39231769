"""Landlock: a process gives up the file system, TCP and signals to others, for good, without any privilege."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Numbers from <linux/landlock.h>; those of the system calls are the same on every architecture.
_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446
_CREATE_RULESET_VERSION = 1 << 0
_RULE_PATH_BENEATH = 1

READ_FILE = 1 << 2
READ_DIR = 1 << 3
WRITE_FILE = 1 << 1
IOCTL_DEV = 1 << 15
_ON_FILES = READ_FILE | WRITE_FILE | IOCTL_DEV | 1 << 0 | 1 << 14  # also: execute, truncate

# How many rights over files each version of Landlock knows, by its number.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NET_SINCE = 4
_TCP_BIND_AND_CONNECT = 0b11
_SCOPES_SINCE = 6
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11

_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """Version of Landlock that this kernel offers to this process; 0 for none."""
    found: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION)
    return max(0, found)


def restrict(rules: Iterable[tuple[str, int]]) -> None:
    """Take from this thread, and from all it will start, every file and all of TCP but what the rules leave.

    What is open already stays as it is. Paths that do not exist are left out.

    Args:
        rules: Paths, each with the rights that stay for all that lies beneath it.

    Raises:
        OSError: The kernel refuses.
    """
    known = version()
    handled = (1 << _FILE_RIGHTS[min(known, max(_FILE_RIGHTS))]) - 1 if known else 0
    network = _TCP_BIND_AND_CONNECT if known >= _NET_SINCE else 0
    scopes = _ABSTRACT_SOCKETS_AND_SIGNALS if known >= _SCOPES_SINCE else 0
    attributes = struct.pack("=QQQ", handled, network, scopes)
    size = 24 if scopes else 16 if network else 8  # an older kernel takes a longer record only while the rest is zero
    ruleset = _call(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    try:
        for path, rights in rules:
            _leave(ruleset, path, rights & handled)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _leave(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if not os.path.isdir(f"/proc/self/fd/{place}"):  # noqa: PTH112 - a descriptor, not a path
            rights &= _ON_FILES
        _call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(number, *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"Landlock (system call {number}): {os.strerror(error)}")
    return result
