"""One process of the tree: started, read, told apart as ready or dead, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from gradclinic.up import kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_READ_BYTES = 1 << 16
_TAIL_BYTES = 4096
_TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and how it shows that it is ready."""

    name: str  # for messages and the log file
    arguments: tuple[str, ...]
    ready_prefix: str = ""  # it is ready when it prints a line that begins so
    probe: Callable[[], bool] | None = None  # or when this says so
    environment: Mapping[str, str] = field(default_factory=dict)  # besides ours


class Child:
    """One run of a program."""

    def __init__(self, program: Program, log_path: Path) -> None:
        self.program = program
        self.log_path = log_path
        self.ready_line = ""
        self._log: IO[bytes] = log_path.open("ab")
        self._unfinished_line = b""
        self._probed = False
        self._process = subprocess.Popen(
            program.arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **program.environment},
            preexec_fn=kernel.dies_with(os.getpid()),  # noqa: PLW1509 - this process has one thread
            start_new_session=True,  # the terminal's Ctrl-C is for us; we stop them in order
        )
        if self._process.stdout is None:
            raise RuntimeError("a pipe was asked for")
        self._output = self._process.stdout
        os.set_blocking(self._output.fileno(), False)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def ready(self) -> bool:
        """Whether it has shown that it is ready."""
        if self.program.probe is not None and not self._probed:
            self._probed = self.program.probe()
        return self._probed or bool(self.ready_line)

    @property
    def ending(self) -> str:
        """How it ended."""
        code = self._process.poll()
        if code is None:
            return "is running"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"

    def fileno(self) -> int:
        """Its output, to wait for."""
        return self._output.fileno()

    def read_output(self) -> bool:
        """Copies what it has printed to its log; False at the end of its output."""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._output.fileno(), _READ_BYTES):
                self._log.write(piece)
                self._log.flush()
                self._look_for_ready_line(piece)
            return False
        return True

    def tail(self) -> str:
        """The last lines of its log."""
        with self.log_path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(f"  | {line}" for line in lines[-_TAIL_LINES:])

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, if it still runs."""
        if self.alive:
            self._process.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Waits for its end; whether it came."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """Gives back its pipe and log, after its end."""
        self.read_output()
        self._output.close()
        self._log.close()

    def _look_for_ready_line(self, piece: bytes) -> None:
        if self.ready_line or not self.program.ready_prefix:
            return
        *lines, self._unfinished_line = (self._unfinished_line + piece).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace").strip()
            if text.startswith(self.program.ready_prefix):
                self.ready_line = text
