"""The private directory of one worker's sockets; those that killed workers left behind are removed by later ones."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "gradclinic-worker-"
SETTLED_SECONDS = 60.0
"""A younger directory may belong to a worker that has not locked it yet."""


@contextlib.contextmanager
def workplace() -> Iterator[str]:
    """Make a directory that only this user may enter, hold it by a lock, and remove it at the end."""
    remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX) as directory:
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel gives it back however this process ends
            yield directory
        finally:
            os.close(lock)


def remove_abandoned(parent: Path) -> None:
    """Remove directories of ours that nobody holds any more."""
    for directory in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            status = directory.lstat()
            if status.st_uid == os.getuid() and time.time() - status.st_mtime > SETTLED_SECONDS:
                _remove_unless_held(directory)


def _remove_unless_held(directory: Path) -> None:
    """Remove a directory, or raise OSError when it is held or not a directory."""
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory)
    finally:
        os.close(lock)
