"""How long GetDiagnosis takes while many watch and many upload."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from safetensors.torch import load_file

from bench.measured import Measured
from bench.models import save_mlp
from gradclinic import Client
from gradclinic.v1 import diagnosis_pb2, diagnosis_pb2_grpc
from real_stack import RealStack

if TYPE_CHECKING:
    from collections.abc import Iterator

WATCHERS, UPLOADS = 200, 50
CALLS = 1000
PAUSE_SECONDS = 0.01  # between two calls
CALL_SECONDS = 10.0
SETTLE_SECONDS = 9.0  # until all uploads have begun
UPLOAD_BYTES_PER_SECOND = 512 * 1024  # of each; load_crowd.py


def measure(*, smoke: bool) -> list[Measured]:
    """Ask one at a time, first of an idle API, then among the crowd."""
    calls, watchers, uploads = (50, 10, 4) if smoke else (CALLS, WATCHERS, UPLOADS)
    settle_seconds = 1.0 if smoke else SETTLE_SECONDS
    with RealStack() as stack, grpc.insecure_channel(stack.target) as channel:
        ids = _queued(stack.target, watchers)
        idle = _latencies(channel, ids, calls)
        with _crowd(stack.target, ids, uploads):
            time.sleep(settle_seconds)
            busy = _latencies(channel, ids, calls)
    return [
        Measured(
            bench="load",
            what=f"GetDiagnosis among {watchers} watches and {uploads} uploads of 0.5 MiB/s each, p99, ms",
            value=_percentile(busy, 0.99) * 1000,
            at_most=50,
            details={
                "busy_p50_seconds": _percentile(busy, 0.5),
                "idle_p50_seconds": _percentile(idle, 0.5),
                "idle_p99_seconds": _percentile(idle, 0.99),
            },
        )
    ]


def _queued(target: str, count: int) -> list[str]:
    """Diagnoses that wait for a worker that never comes: what is measured is the API, not a worker beside it."""
    with tempfile.TemporaryDirectory(prefix="gradclinic-bench-") as scratch, Client(target) as client:
        saved = save_mlp(Path(scratch))
        inputs = load_file(saved.inputs)["0"]
        return [client.submit(saved.model, inputs, seed=number, reuse=False).id for number in range(count)]


def _latencies(channel: grpc.Channel, ids: list[str], calls: int) -> list[float]:
    stub = diagnosis_pb2_grpc.DiagnosisServiceStub(channel)
    found = []
    for number in range(calls):
        request = diagnosis_pb2.GetDiagnosisRequest(id=ids[number % len(ids)])
        started = time.perf_counter()
        stub.GetDiagnosis(request, timeout=CALL_SECONDS)
        found.append(time.perf_counter() - started)
        time.sleep(PAUSE_SECONDS)
    return found


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


@contextmanager
def _crowd(target: str, ids: list[str], uploads: int) -> Iterator[None]:
    """Watchers and uploads in a process of their own."""
    command = [sys.executable, "-m", "bench.load_crowd", target, str(uploads), str(UPLOAD_BYTES_PER_SECOND), *ids]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        if process.stdout is None or process.stdout.readline().strip() != "ready":
            raise RuntimeError("the crowd did not come")
        try:
            yield
            if process.poll() is not None:
                raise RuntimeError("the crowd went away while it was measured; it says why above")
        finally:
            process.terminate()
