"""Many small diagnoses on a real stack, and what its processes and its Redis hold meanwhile."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import redis
import torch
from torch import nn

from gradclinic import Client
from real_stack import RealStack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradclinic import Handle

IN_FLIGHT = 8
CANCEL_EVERY = 10  # one job in so many is cancelled,
DELETE_EVERY = 7  # deleted after it is done,
NEW_MODEL_EVERY = 20  # or brings a model of its own
RESULT_SECONDS = 120.0
RETENTION_SECONDS = 10.0  # of diagnoses and artifacts: what is over goes while the others come
GONE_WITHIN_SECONDS = 60.0
MIB_BYTES = 1 << 20
NOT_HEALTHY = re.compile(r"\b(ERROR|CRITICAL|Traceback|never retrieved|never awaited)\b")
OPTIONS = ("--diagnosis-retention", str(RETENTION_SECONDS))
SERVE_OPTIONS = (*OPTIONS, "--artifact-retention", str(RETENTION_SECONDS), "--reap-interval", "0.5")


@dataclass(frozen=True, slots=True)
class Sample:
    """What is held at one moment."""

    jobs: int  # that are done
    rss_bytes: dict[str, int]  # by process; executors live for one job and are not among them
    descriptors: dict[str, int]  # by process
    processes: int
    files: int  # below the directory for temporary files, but for Redis' own
    redis_keys: int
    redis_bytes: int


@dataclass(slots=True)
class Soak:
    """All samples of one soak, and how it ended."""

    samples: list[Sample] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)  # jobs by state
    seconds: float = 0.0
    keys_before: set[str] = field(default_factory=set)  # after the first job, once what it made was over
    keys_after: set[str] = field(default_factory=set)  # the same at the end
    balance: dict[str, int] = field(default_factory=dict)  # submitted, completed, in flight
    log_errors: list[str] = field(default_factory=list)  # lines of the logs that a healthy service does not write


def soak(
    jobs: int,
    sample_every: int,
    limit_seconds: float,
    workers: int = 1,
    tell: Callable[[int], None] = lambda _jobs: None,
) -> Soak:
    """Run so many jobs, or as many as the time allows; ``tell`` hears after each sample how many are done."""
    run = Soak()
    with private_temporary_directory() as folder, RealStack(serve_options=SERVE_OPTIONS, work_options=OPTIONS) as stack:
        for _ in range(workers):
            stack.add_worker()
        with Client(stack.target) as client, redis.Redis.from_url(stack.redis.url) as connection:
            _run_jobs(client, run, 1, time.monotonic() + limit_seconds)
            run.keys_before = _lasting_keys(connection)
            began = time.monotonic()
            while run.samples[-1:] == [] or run.samples[-1].jobs < jobs:
                done = _run_jobs(client, run, sample_every, began + limit_seconds)
                before = run.samples[-1].jobs if run.samples else 0
                run.samples.append(_sample(stack, folder, connection, before + done))
                tell(before + done)
                if time.monotonic() > began + limit_seconds:
                    break
            run.seconds = time.monotonic() - began
            run.keys_after = _lasting_keys(connection)
            run.balance = _balance(connection)
        run.log_errors = log_errors(stack.service.log, *(worker.log for worker in stack.workers))
    return run


def log_errors(*logs: str) -> list[str]:
    """Return the lines of logs that a healthy service does not write."""
    return [line for log in logs for line in log.splitlines() if NOT_HEALTHY.search(line)]


def _run_jobs(client: Client, run: Soak, count: int, deadline: float) -> int:
    """Keep some jobs in flight until so many are done."""
    flying: deque[tuple[int, Handle]] = deque()
    started = done = 0
    while done < count and (flying or time.monotonic() < deadline):
        while started < count and len(flying) < IN_FLIGHT and time.monotonic() < deadline:
            number = sum(run.outcomes.values()) + len(flying)
            flying.append((number, _submit(client, number)))
            started += 1
        if not flying:
            break
        number, handle = flying.popleft()
        state = _end(client, number, handle)
        run.outcomes[state] = run.outcomes.get(state, 0) + 1
        done += 1
    return done


def _submit(client: Client, number: int) -> Handle:
    torch.manual_seed(number if number % NEW_MODEL_EVERY == 0 else 0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    inputs = torch.randn(16, 8)
    target = torch.randint(3, (16,))
    handle = client.submit(model, inputs, target=target, loss="cross_entropy", seed=number, reuse=False, depth="quick")
    if number % CANCEL_EVERY == 1:
        handle.cancel()
    return handle


def _end(client: Client, number: int, handle: Handle) -> str:
    state = ""
    for event in handle.watch(timeout=RESULT_SECONDS):
        state = event.state
    if number % DELETE_EVERY == 0:
        client.delete(handle.id)
    return state


def _sample(stack: RealStack, folder: Path, connection: redis.Redis, jobs: int) -> Sample:
    named = {"api": psutil.Process(stack.service.process.pid), "redis": psutil.Process(stack.redis.pid)}
    processes = 0
    for number, worker in enumerate(stack.workers):
        main = psutil.Process(worker.process.pid)
        processes += len(main.children(recursive=True))
        named[f"worker {number}"] = main
        for child in main.children():
            kind = "zygote" if any("zygote" in argument for argument in child.cmdline()) else "queue"
            named[f"{kind} {number}"] = child
    told = connection.info("memory")
    return Sample(
        jobs=jobs,
        rss_bytes={name: process.memory_info().rss for name, process in named.items()},
        descriptors={name: process.num_fds() for name, process in named.items()},
        processes=processes,
        files=_files(folder, stack.redis.directory),
        redis_keys=int(connection.dbsize()),
        redis_bytes=int(told["used_memory"]),
    )


def _files(folder: Path, but: Path) -> int:
    return sum(1 for path in folder.rglob("*") if but not in path.parents and path != but)


def _lasting_keys(connection: redis.Redis) -> set[str]:
    """Wait until what has a time to live is gone, and return the names of what stays."""
    deadline = time.monotonic() + GONE_WITHIN_SECONDS
    while time.monotonic() < deadline:
        keys = [key.decode() for key in connection.scan_iter("*", count=1000)]
        if not any(key.startswith("gradclinic:diagnosis:") for key in keys):
            return {_family(key) for key in keys if connection.pttl(key) == -1}
        time.sleep(0.5)
    raise TimeoutError("diagnoses are still there after their retention time")


def _family(key: str) -> str:
    """A key without the names that rq gives each worker and registry entry."""
    return key if not key.startswith("rq:") else ":".join(key.split(":")[:2])


def _balance(connection: Any) -> dict[str, int]:
    counters = {name.decode(): int(float(value)) for name, value in connection.hgetall("gradclinic:counters").items()}
    completed = sum(value for name, value in counters.items() if name.startswith("completed:"))
    return {"submitted": counters["submitted"], "completed": completed}


@contextmanager
def private_temporary_directory() -> Iterator[Path]:
    """Within the block, this process and those that it starts make temporary files in a directory of their own."""
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="gradclinic-soak-") as folder:
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before[0]
            if before[1] is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before[1]
