"""Redis cut off, slow, full, restarted and on a slow disk, while diagnoses go on coming."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chaos.caller import Caller
from chaos.oracles import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chaos.deployment import Deployment
    from chaos.ledger import Ledger

BETWEEN_SUBMISSIONS_SECONDS = 0.4
DIRTY_BYTES = 64 << 20
DIRTY_WRITERS = 2


def play(deployment: Deployment, ledger: Ledger) -> None:
    """Every outage in turn, with a stream of diagnoses: what was accepted ends, callers hear UNAVAILABLE or wait."""
    with Caller(deployment.target, ledger) as caller:
        for name, outage in OUTAGES.items():
            ledger.doing = name
            with submissions(caller):
                time.sleep(1.0)
                outage(deployment)
                time.sleep(0.5)
            check(deployment, caller)
            ledger.faults[name] += 1
        ledger.doing = "Redis killed right after it accepted, its disk busy"
        with busy_disk(deployment.directory):
            for _ in range(4):
                time.sleep(1.1)
                for _ in range(3):
                    caller.create("answer")
                deployment.redis.restart(signal.SIGKILL)
                check(deployment, caller)
                ledger.faults[ledger.doing] += 1


@contextmanager
def submissions(caller: Caller) -> Iterator[None]:
    """Within the block, diagnoses are asked for all the time."""
    stop = threading.Event()

    def submit() -> None:
        while not stop.wait(BETWEEN_SUBMISSIONS_SECONDS):
            caller.create("stages")

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def busy_disk(folder: Path) -> Iterator[None]:
    """Within the block, others write to the same disk and sync it, so that Redis' own syncs take long."""
    stop = threading.Event()

    def write(path: Path) -> None:
        content = os.urandom(DIRTY_BYTES // 16)
        while not stop.is_set():
            with path.open("wb") as file:
                for _ in range(16):
                    file.write(content)
                file.flush()
                os.fsync(file.fileno())

    threads = [threading.Thread(target=write, args=(folder / f"dirty-{n}",)) for n in range(DIRTY_WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _part(seconds: float, *sides: str) -> Callable[[Deployment], None]:
    def part(deployment: Deployment) -> None:
        proxies = [getattr(deployment, f"{side}_proxy") for side in sides]
        for proxy in proxies:
            proxy.part()
        time.sleep(seconds)
        for proxy in proxies:
            proxy.mend()

    return part


def _slow(deployment: Deployment) -> None:
    for proxy in (deployment.api_proxy, deployment.worker_proxy):
        proxy.delay_seconds = 0.1
    time.sleep(4.0)
    for proxy in (deployment.api_proxy, deployment.worker_proxy):
        proxy.delay_seconds = 0.0


def _broken(deployment: Deployment) -> None:
    for _ in range(10):
        deployment.api_proxy.break_links()
        deployment.worker_proxy.break_links()
        time.sleep(0.2)


def _full(deployment: Deployment) -> None:
    deployment.store.connection.client.config_set("maxmemory", 1)
    time.sleep(4.0)
    deployment.store.connection.client.config_set("maxmemory", 0)


def _restarted(signum: signal.Signals, times: int) -> Callable[[Deployment], None]:
    def restart(deployment: Deployment) -> None:
        for _ in range(times):
            deployment.redis.restart(signum)
            time.sleep(0.5)

    return restart


def _away(deployment: Deployment) -> None:
    deployment.redis.stop(signal.SIGKILL)
    time.sleep(8.0)
    deployment.redis.start()


OUTAGES: dict[str, Callable[[Deployment], None]] = {
    "the API cut off from Redis for 3 s": _part(3.0, "api"),
    "the worker cut off from Redis for 4 s": _part(4.0, "worker"),
    "everybody cut off from Redis for 7 s": _part(7.0, "api", "worker"),
    "Redis answers 0.1 s late for 4 s": _slow,
    "every connection to Redis broken, ten times": _broken,
    "Redis full for 4 s": _full,
    "Redis killed and started, three times": _restarted(signal.SIGKILL, 3),
    "Redis stopped and started, three times": _restarted(signal.SIGTERM, 3),
    "Redis dead for 8 s": _away,
}
