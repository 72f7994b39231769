"""A real deployment to be harmed: Redis, an API and a worker, each behind a proxy, brought back when they die."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import psutil

from gradclinic_store import Store, StoreSettings
from real_redis import RedisServer
from real_s3 import S3Server
from real_stack import RealProcess
from redis_proxy import RedisProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

WORKER_COMMAND = (sys.executable, str(Path(__file__).parents[1] / "real_worker.py"))
PARTS = ("executor", "supervisor", "queue", "zygote", "worker", "api", "redis")  # what can be killed
LEASE_SECONDS = 1.5
PATIENCE_SECONDS = 20.0
FOUND_WITHIN_SECONDS = 10.0


class Deployment:
    """One of each process; `mend` does what an orchestrator would: it starts again what is dead."""

    def __init__(
        self,
        *,
        serve: tuple[str, ...] = (),
        work: tuple[str, ...] = (),
        redis: tuple[str, ...] = (),
        workers: int = 1,
        distant: bool = False,
    ) -> None:
        """Start everything; the options are added to those of each process. `distant` puts artifacts into S3."""
        with ExitStack() as cleanup:
            self.directory = Path(tempfile.mkdtemp(prefix="gradclinic-chaos-"))
            cleanup.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self.redis = RedisServer(*redis)
            cleanup.callback(self.redis.remove)
            self.redis.start()
            self.api_proxy = cleanup.enter_context(RedisProxy(self.redis.port))
            self.worker_proxy = cleanup.enter_context(RedisProxy(self.redis.port))
            self.target = f"127.0.0.1:{_free_port()}"
            self.s3 = S3Server()
            blobs: tuple[str, ...] = ()
            if distant:
                cleanup.enter_context(self.s3)
                os.environ.update(self.s3.environment)  # a scene has this process for itself
                blobs = ("--blob-url", self.s3.url)
            self._serve, self._work = (*serve, *blobs), (*work, *blobs)
            self._starts = 0
            self.store = cleanup.enter_context(
                Store.connect(
                    StoreSettings(
                        redis_url=self.redis.url,
                        blob_url=self.s3.url if distant else "",
                        patience_seconds=PATIENCE_SECONDS,
                    )
                )
            )
            cleanup.callback(self._stop)
            self.api = self._start_api()
            self.workers = [self._start_worker() for _ in range(workers)]
            self._cleanup = cleanup.pop_all()

    def find(self, part: str) -> psutil.Process:
        """Return the process of a part; of executors the one that has a job."""
        if part == "api":
            return psutil.Process(self.api.process.pid)
        if part == "redis":
            return psutil.Process(self.redis.pid)
        worker = psutil.Process(self.workers[0].process.pid)
        if part == "worker":
            return worker
        parent = _child(worker, "executor_bodies" if part in {"zygote", "executor"} else "queue_process")
        if part in {"zygote", "queue"}:
            return parent
        return awaited(lambda: min(parent.children(), key=lambda one: one.create_time(), default=None), part)

    @contextmanager
    def paused(self, part: str) -> Iterator[None]:
        """Within the block, a part is stopped."""
        process = self.find(part)
        process.suspend()
        try:
            yield
        finally:
            process.resume()

    def mend(self) -> None:
        """Start again every process that was started here and is dead; zombies of others are collected."""
        if not self.redis.running:
            self.redis.start()
        if self.api.process.poll() is not None:
            self.api = self._start_api()
        for number, worker in enumerate(self.workers):
            if worker.process.poll() is not None:
                self.workers[number] = self._start_worker()

    def tree(self) -> set[int]:
        """Return the process ids of everything that belongs to this deployment."""
        roots = [self.api.process.pid, *(worker.process.pid for worker in self.workers)]
        pids = {*roots, *self.s3.pids}
        if self.redis.running:
            pids.add(self.redis.pid)
        for root in roots:
            try:
                pids |= {child.pid for child in psutil.Process(root).children(recursive=True)}
            except psutil.NoSuchProcess:
                continue
        return pids

    def logs(self) -> str:
        """Return all that the processes have printed."""
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')}" for path in self.directory.glob("*.log"))

    def __enter__(self) -> Self:
        """Give the running deployment."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop every process and drop every file."""
        self._cleanup.close()

    def _start_api(self) -> RealProcess:
        options = ("--redis", self.api_proxy.url, "--reap-interval", "0.5", "--metrics-listen", "off", *self._serve)
        return RealProcess(
            self._log("api"),
            ("serve", "--listen", self.target, "--drain-delay", "0.1", *options),
            r"^gradclinic API listening on (\S+)$",
        )

    def _start_worker(self) -> RealProcess:
        options = ("--redis", self.worker_proxy.url, "--lease", str(LEASE_SECONDS), "--drain", "1", *self._work)
        return RealProcess(
            self._log("worker"),
            ("--device", "cpu", "--metrics-listen", "off", "--threads", "1", *options),
            r"^gradclinic worker ready on (\S+)$",
            WORKER_COMMAND,
        )

    def _log(self, name: str) -> Path:
        self._starts += 1
        return self.directory / f"{self._starts:03}-{name}.log"

    def _stop(self) -> None:
        for process in (*getattr(self, "workers", []), getattr(self, "api", None)):
            if process is not None:
                process.stop()


def collect_zombies(known: set[int]) -> None:
    """Collect orphans that came to this process and have ended, but for those that somebody waits for."""
    for child in psutil.Process().children():
        if child.pid not in known and child.status() == psutil.STATUS_ZOMBIE:
            os.waitpid(child.pid, os.WNOHANG)


def awaited(look: Callable[[], T | None], what: str, seconds: float = FOUND_WITHIN_SECONDS) -> T:
    """Look until there is something.

    Raises:
        TimeoutError: there was not.
    """
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {seconds:g} s")
        time.sleep(0.01)
    return found


def _child(parent: psutil.Process, module: str) -> psutil.Process:
    def look() -> psutil.Process | None:
        for child in parent.children():
            try:
                if any(module in argument for argument in child.cmdline()):
                    return child
            except psutil.Error:
                continue
        return None

    return awaited(look, module)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
