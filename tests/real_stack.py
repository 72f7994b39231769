"""The real stack for tests and benchmarks: a Redis-compatible server, an API and workers, each its own process."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from real_redis import RedisServer

READY_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 20.0
GRADCLINIC = Path(sys.executable).parent / "gradclinic"


class RealProcess:
    """One `gradclinic` command that runs until it is stopped; what it prints is in ``log_path``."""

    def __init__(
        self, log_path: Path, arguments: tuple[str, ...], ready: str, command: tuple[str, ...] = (str(GRADCLINIC),)
    ) -> None:
        """Start ``gradclinic *arguments`` (or another command) and wait for a line that matches ``ready``."""
        self.log_path = log_path
        self.arguments = arguments
        with log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=clean_environment(),
            )
        self.ready = self._await_line(ready)

    @property
    def log(self) -> str:
        """All that it has printed."""
        return self.log_path.read_text(errors="replace")

    def stop(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal and return its exit status (again, where it has ended already)."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        try:
            return self.process.wait(timeout=STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise RuntimeError(f"gradclinic {self.arguments[0]} did not stop: {self.log}") from None

    def _await_line(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while not (match := re.search(pattern, self.log, re.MULTILINE)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                self.process.wait()
                raise RuntimeError(f"gradclinic {' '.join(self.arguments)} did not become ready: {self.log}")
            time.sleep(0.02)
        return match


class RealStack:
    """A private Redis, one API process and any number of CPU workers; ``with`` stops all of them."""

    def __init__(self, *, serve_options: tuple[str, ...] = (), work_options: tuple[str, ...] = ()) -> None:
        """Start Redis and the API; the options are added to what ``serve`` and ``work`` get anyway."""
        with ExitStack() as cleanup:
            self.directory = Path(tempfile.mkdtemp(prefix="gradclinic-stack-"))
            cleanup.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self.redis = RedisServer()
            cleanup.callback(self.redis.remove)
            self.redis.start()
            self.service = RealProcess(
                self.directory / "serve.log",
                ("serve", *("--listen", "127.0.0.1:0"), *self._common_options, *serve_options),
                r"^gradclinic API listening on (\S+:\d+)$",
            )
            cleanup.callback(self.service.stop)
            self.workers: list[RealProcess] = []
            self._work_options = work_options
            self._cleanup = cleanup.pop_all()

    @property
    def target(self) -> str:
        """HOST:PORT of the API."""
        return self.service.ready.group(1)

    def add_worker(self) -> RealProcess:
        """Start one more CPU worker and wait until it is ready."""
        worker = RealProcess(
            self.directory / f"work-{len(self.workers)}.log",
            ("work", *("--device", "cpu"), *self._common_options, *self._work_options),
            r"^gradclinic worker ready on (\S+)$",
        )
        self._cleanup.callback(worker.stop)
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        """Stop every process, last started first, and drop every file."""
        self._cleanup.close()

    def __enter__(self) -> Self:
        """Give the running stack."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    @property
    def _common_options(self) -> tuple[str, ...]:
        return ("--redis", self.redis.url, "--metrics-listen", "off")


def clean_environment() -> dict[str, str]:
    """This process's environment without gradclinic's settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GRADCLINIC_")}
