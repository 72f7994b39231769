"""A restart of the API costs no call: a real service process is killed or stopped, and started again after 4 s."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import gradclinic
from real_redis import RedisServer
from real_stack import RealProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AWAY_SECONDS = 4.0
THREADS = 6
TASKS = 4
UPLOAD_BYTES = 8 << 20
INPUTS = [[1.0, 2.0]]


class Restarted:
    """An API process that comes back at the same address."""

    def __init__(self, redis: RedisServer, folder: Path, options: tuple[str, ...]) -> None:
        self._redis, self._folder, self._options = redis, folder, options
        self._count = 0
        self.address = "127.0.0.1:0"
        self.start()

    def start(self) -> None:
        self._count += 1
        command = ("serve", "--listen", self.address, "--redis", self._redis.url, "--metrics-listen", "off")
        log = self._folder / f"serve-{self._count}.log"
        self.process = RealProcess(log, (*command, *self._options), r"^gradclinic API listening on (\S+:\d+)$")
        self.address = self.process.ready.group(1)


@contextmanager
def api(folder: Path, *options: str) -> Iterator[Restarted]:
    redis = RedisServer()
    redis.start()
    try:
        restarted = Restarted(redis, folder, options)
        try:
            yield restarted
        finally:
            restarted.process.stop()
    finally:
        redis.remove()


def keep_calling(target: str, stop: threading.Event, index: int) -> Counter[str]:
    """Every call of the client in turn, until stopped; whatever one raises is raised."""
    done: Counter[str] = Counter()
    with gradclinic.Client(target) as client:
        while not stop.is_set():
            number = sum(done.values())
            model = os.urandom(UPLOAD_BYTES) if index == 0 else f"model {index} {number}".encode()
            handle = client.submit(model, INPUTS)
            assert handle.id == client.get(handle.id).id
            client.list(page_size=2)
            client.server_info()
            for event in client.watch(handle.id):
                if event.state == "QUEUED":
                    client.cancel(handle.id)
            assert "CANCELLED" == event.state
            client.delete(handle.id)
            done["upload" if index == 0 else "round"] += 1
    return done


async def keep_calling_asynchronously(target: str, stop: threading.Event, index: int) -> Counter[str]:
    done: Counter[str] = Counter()
    async with gradclinic.AsyncClient(target) as client:
        while not stop.is_set():
            number = sum(done.values())
            handle = await client.submit(f"asynchronous model {index} {number}".encode(), INPUTS)
            await client.server_info()
            async for event in handle.watch():
                if event.state == "QUEUED":
                    await client.cancel(handle.id)
            await client.delete(handle.id)
            done["asynchronous round"] += 1
    return done


async def all_tasks(target: str, stop: threading.Event) -> Counter[str]:
    counts = await asyncio.gather(*(keep_calling_asynchronously(target, stop, index) for index in range(TASKS)))
    return sum(counts, Counter())


@pytest.mark.parametrize(
    ("signum", "options"),
    [
        pytest.param(signal.SIGKILL, (), id="killed"),
        pytest.param(signal.SIGTERM, (), id="drained"),
        pytest.param(signal.SIGTERM, ("--drain-delay", "0", "--drain-grace", "0"), id="stopped-at-once"),
    ],
)
def test_a_restart_costs_no_call(signum: signal.Signals, options: tuple[str, ...], tmp_path: Path) -> None:
    stop = threading.Event()
    with api(tmp_path, *options) as restarted, ThreadPoolExecutor(THREADS + 1) as callers:
        calling = [callers.submit(keep_calling, restarted.address, stop, index) for index in range(THREADS)]
        calling.append(callers.submit(asyncio.run, all_tasks(restarted.address, stop)))
        try:
            time.sleep(2.0)
            restarted.process.stop(signum)
            time.sleep(AWAY_SECONDS)
            restarted.start()
            time.sleep(2.0)
        finally:
            stop.set()
        done = sum((each.result() for each in calling), Counter[str]())
    assert {"upload", "round", "asynchronous round"} == set(done)


def test_a_client_that_is_made_while_the_api_is_away_waits_for_it(tmp_path: Path) -> None:
    with api(tmp_path) as restarted, ThreadPoolExecutor(1) as caller:
        restarted.process.stop(signal.SIGKILL)
        with gradclinic.Client(restarted.address) as client:
            answer = caller.submit(client.server_info)
            time.sleep(AWAY_SECONDS)
            restarted.start()
            assert gradclinic.__version__ == answer.result().version
