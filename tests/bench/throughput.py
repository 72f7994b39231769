"""How many diagnoses of a tiny model two workers finish per second, next to no-op jobs of two plain RQ workers."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import redis
import rq
from safetensors.torch import load_file

from bench.measured import Measured, median
from bench.models import Saved, save_mlp
from gradclinic import Client
from real_stack import RealStack

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = 2
QUEUE_NAME = "bench-noop"
JOB_TIMEOUT_SECONDS = 120


def measure(*, smoke: bool) -> list[Measured]:
    """Interleaves rounds of no-op jobs and rounds of diagnoses on the same Redis."""
    jobs, rounds = (10, 1) if smoke else (100, 3)
    with tempfile.TemporaryDirectory(prefix="gradclinic-bench-") as scratch, RealStack() as stack:
        saved = save_mlp(Path(scratch))
        for _ in range(WORKERS):
            stack.add_worker()
        noop_rates, diagnosis_rates = [], []
        with rq_workers(stack.redis.url):
            for number in range(rounds):
                noop_rates.append(noop_rate(stack.redis.url, jobs))
                seeds = range(number * jobs, (number + 1) * jobs)
                diagnosis_rates.append(diagnosis_rate(stack.target, saved, seeds))
    noop, diagnosis = median(noop_rates), median(diagnosis_rates)
    return [
        Measured(
            bench="throughput",
            what="diagnoses of a tiny MLP over no-op jobs of plain RQ, 2 workers each",
            value=diagnosis / noop,
            at_least=0.35,
            details={"diagnoses_per_second": diagnosis, "noop_jobs_per_second": noop},
        )
    ]


def diagnosis_rate(target: str, saved: Saved, seeds: range) -> float:
    """Diagnoses per second, from the first submit until the last is done; one per seed, so that none is reused."""
    inputs, labels = load_file(saved.inputs)["0"], load_file(saved.target)["target"]
    with Client(target) as client:
        started = time.perf_counter()
        handles = [client.submit(saved.model, inputs, target=labels, loss="cross_entropy", seed=seed) for seed in seeds]
        for handle in handles:
            handle.result(timeout=JOB_TIMEOUT_SECONDS)
        return len(seeds) / (time.perf_counter() - started)


def noop_rate(url: str, count: int) -> float:
    """No-op jobs per second, from the first enqueue until the last is done."""
    with redis.Redis.from_url(url) as connection:
        queue = rq.Queue(QUEUE_NAME, connection=connection)
        queue.enqueue("bench.noop.nothing").latest_result(timeout=JOB_TIMEOUT_SECONDS)  # the workers listen
        started = time.perf_counter()
        jobs = [queue.enqueue("bench.noop.nothing", job_timeout=JOB_TIMEOUT_SECONDS) for _ in range(count)]
        for job in jobs:
            if job.latest_result(timeout=JOB_TIMEOUT_SECONDS) is None:
                raise RuntimeError("a no-op job did not end")
        return count / (time.perf_counter() - started)


@contextmanager
def rq_workers(url: str) -> Iterator[None]:
    """Plain RQ workers with RQ's own defaults."""
    command = [sys.executable, "-m", "rq.cli", "worker", "--url", url, "--quiet", QUEUE_NAME]
    processes = [subprocess.Popen(command) for _ in range(WORKERS)]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=JOB_TIMEOUT_SECONDS)
