"""Fixtures for every layer of tests: a real Redis-compatible server that the test run starts and stops itself."""

from __future__ import annotations

import ctypes
import platform
import zlib
from typing import TYPE_CHECKING

import pytest
import redis
import torch

from real_redis import RedisServer
from real_s3 import S3Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _as_after_a_login() -> None:
    """Signal 32 ends a process again, which is how a shell starts one.

    glibc lets a program that `posix_spawn` starts ignore the two signals that it uses itself, and make starts programs
    so; its own functions refuse to change them.
    """
    number = {"x86_64": 13, "aarch64": 134}[platform.machine()]  # rt_sigaction
    default = bytes(32)  # handler, flags, restorer and mask
    ctypes.CDLL(None).syscall(number, 32, default, None, 8)


_as_after_a_login()


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Tensors that a module makes when it is read are the same whatever was read before."""
    if isinstance(collector, pytest.Module):
        _seed(collector)


@pytest.fixture(autouse=True)
def _seeded(request: pytest.FixtureRequest) -> None:
    """Tensors of a test are the same whatever ran before; those of two tests differ, as do the models' hashes."""
    _seed(request.node)


def _seed(node: pytest.Item | pytest.Collector) -> None:
    torch.manual_seed(zlib.crc32(node.nodeid.encode()))


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


@pytest.fixture(scope="session")
def shared_s3_server() -> Iterator[S3Server]:
    """The S3-compatible server that the tests of this run share."""
    with S3Server() as server:
        yield server


@pytest.fixture
def s3_server(shared_s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The shared S3-compatible server, known to S3 clients of this process and to the processes that it starts."""
    for name, value in shared_s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return shared_s3_server
