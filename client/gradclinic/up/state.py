"""The state directory of `gradclinic up`: what lies where, and that only one uses it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from pathlib import Path
from typing import IO, Self

from gradclinic.up.errors import AlreadyUp, UpError

_LONGEST_SOCKET_PATH_BYTES = 100  # the kernel's limit is 107
_LARGEST_LOG_BYTES = 16 << 20


def default_state_dir() -> Path:
    """Where state lies by default, after the XDG base directory specification."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "gradclinic"


class StateDirectory:
    """A locked state directory; use as a context manager. Diagnoses and artifacts survive in it."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.store_path = self.path / "store"
        self.artifacts_path = self.path / "artifacts"
        self._lock: IO[str] | None = None
        self._socket_dir: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        try:
            for directory in (self.path, self.store_path, self.artifacts_path, self.path / "logs"):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.path / "lock").open("a+", encoding="utf-8")
        except OSError as error:
            raise UpError(f"cannot use the state directory {self.path}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = _owner(lock)
            lock.close()
            raise AlreadyUp(
                f"another `gradclinic up`{owner} uses the state directory {self.path}; "
                "stop it, use it, or choose another directory with --state-dir"
            ) from error
        self._lock = lock
        self.write_owner("")
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket_dir is not None:
            self._socket_dir.cleanup()
        if self._lock is not None:
            self._lock.truncate(0)
            self._lock.close()

    def write_owner(self, address: str) -> None:
        """Notes for others who has the directory, and where its API listens."""
        if self._lock is not None:
            self._lock.seek(0)
            self._lock.truncate()
            json.dump({"pid": os.getpid(), "api": address}, self._lock)
            self._lock.flush()

    def socket_path(self) -> Path:
        """Where the store listens; a private temporary directory where the state directory's path is too long."""
        path = self.store_path / "store.sock"
        if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH_BYTES:
            return path
        if self._socket_dir is None:
            self._socket_dir = tempfile.TemporaryDirectory(prefix="gradclinic-")
        return Path(self._socket_dir.name) / "store.sock"

    def log_path(self, name: str) -> Path:
        """The log file of a process; one that has grown large is put aside."""
        path = self.path / "logs" / f"{name}.log"
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > _LARGEST_LOG_BYTES:
                path.replace(path.with_suffix(".log.1"))
        return path


def _owner(lock: IO[str]) -> str:
    try:
        lock.seek(0)
        owner = json.load(lock)
        where = f", API at {owner['api']}" if owner["api"] else ""
        return f" (process {owner['pid']}{where})"
    except (ValueError, KeyError, TypeError):
        return ""
