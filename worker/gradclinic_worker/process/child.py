"""A program that the main process keeps alive: started with its settings on standard input, restarted when it dies."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

FIRST_BACKOFF_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 15.0
HEALTHY_SECONDS = 30.0
"""A child that lived so long starts anew without a pause."""

PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH", "TZ")
PASSED_ON_PREFIXES = ("CUDA_", "NVIDIA_", "PYTORCH_", "MALLOC_", "OMP_", "MKL_", "KMP_", "GOMP_")

_log = logging.getLogger(__name__)


def clean_environment() -> dict[str, str]:
    """What of this process's environment a process without credentials may see: a short list, not a filter."""
    return {
        name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }


def module_command(module: str) -> tuple[str, ...]:
    """The command that runs a module of ours, and nothing of the same name in the current directory."""
    return (sys.executable, "-P", "-m", module)


@dataclass(slots=True)
class Child:
    """One child process over all its lives.

    Attributes:
        name: For logs and metrics.
        command: Program and arguments; never a credential.
        settings: One line of JSON for its standard input.
        environment: All it gets.
    """

    name: str
    command: tuple[str, ...]
    settings: str
    environment: dict[str, str]
    _process: subprocess.Popen[str] | None = None
    _started_at: float = 0.0
    _restart_at: float | None = None
    _backoff_seconds: float = 0.0
    _last_exit: int = field(default=0)

    @property
    def pid(self) -> int:
        """Its process id, 0 while it is not running."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether it is there, dead or alive; `keep_alive` and `stop` find out that it has died."""
        return self._process is not None

    def start(self) -> None:
        """Start it. Call from the main thread only: the child dies with the thread that started it."""
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            env=self.environment,
            text=True,
            start_new_session=True,  # a Ctrl-C in the terminal is the main process's to handle
        )
        self._started_at = time.monotonic()
        self._restart_at = None
        if self._process.stdin is None:
            raise RuntimeError("a child without standard input")
        try:
            self._process.stdin.write(f"{os.getpid()}\n{self.settings}\n")
            self._process.stdin.close()
        except BrokenPipeError:
            _log.warning("a child died before it read its settings child=%s", self.name)

    def exit_code(self) -> int | None:
        """How it ended, or None while it lives."""
        return self._process.poll() if self._process else self._last_exit

    def keep_alive(self) -> bool:
        """Start it again if it has died, after a pause that grows while it dies young; True if it was started."""
        if self._process and (code := self._process.poll()) is not None:
            lived_seconds = time.monotonic() - self._started_at
            if lived_seconds > HEALTHY_SECONDS:
                self._backoff_seconds = 0.0
            self._restart_at = time.monotonic() + self._backoff_seconds
            _log.error(
                "a child died child=%s exit_code=%d after_seconds=%.1f restart_in_seconds=%.1f",
                self.name,
                code,
                lived_seconds,
                self._backoff_seconds,
            )
            self._backoff_seconds = min(max(FIRST_BACKOFF_SECONDS, 2 * self._backoff_seconds), MAX_BACKOFF_SECONDS)
            self._process, self._last_exit = None, code
        if self._restart_at is None or time.monotonic() < self._restart_at:
            return False
        self.start()
        return True

    def send_signal(self, signum: signal.Signals) -> None:
        """Send a signal, if it still lives."""
        if self._process:
            self._process.send_signal(signum)

    def stop(self, timeout_seconds: float) -> int:
        """Ask it to end by SIGTERM, end it by SIGKILL if it does not, and return how it ended."""
        if self._process is None:
            return self._last_exit
        self._process.send_signal(signal.SIGTERM)
        try:
            self._last_exit = self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            _log.warning("a child did not end and was killed child=%s", self.name)
            self._process.kill()
            self._last_exit = self._process.wait()
        self._process = None
        return self._last_exit
