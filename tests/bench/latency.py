"""What the service adds to a diagnosis: submit until diagnosis, minus the same analysis called in this process."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from bench.measured import Measured, median
from bench.models import save_mlp
from gradclinic import Client
from gradclinic.v1 import diagnosis_pb2, executor_pb2
from gradclinic_worker.analysis import analyse
from real_stack import RealStack

SETTLE_SECONDS = 0.5  # until the next spare executor is ready and the machine is idle again


def measure(*, smoke: bool) -> list[Measured]:
    """Interleaves remote and local diagnoses of a tiny MLP, one at a time."""
    rounds = 5 if smoke else 40
    remote_seconds, local_seconds = [], []
    with tempfile.TemporaryDirectory(prefix="gradclinic-bench-") as scratch, RealStack() as stack:
        saved = save_mlp(Path(scratch))
        inputs, target = load_file(saved.inputs)["0"], load_file(saved.target)["target"]
        stack.add_worker()
        files = {
            executor_pb2.ATTACHMENT_MODEL: str(saved.model),
            executor_pb2.ATTACHMENT_INPUTS: str(saved.inputs),
            executor_pb2.ATTACHMENT_TARGET: str(saved.target),
        }
        with Client(stack.target) as client:
            for number in range(rounds + 2):
                time.sleep(SETTLE_SECONDS)
                started = time.perf_counter()
                diagnosis = client.diagnose(saved.model, inputs, target=target, loss="cross_entropy", seed=number)
                remote_seconds.append(time.perf_counter() - started)
                if diagnosis.verdict != "HEALTHY":
                    raise RuntimeError(f"the tiny MLP is {diagnosis.verdict}")
                torch.set_num_threads(1)
                started = time.perf_counter()
                analyse(_spec(number), files, device=torch.device("cpu"), entered=lambda _stage, _progress: None)
                local_seconds.append(time.perf_counter() - started)
    remote, local = median(remote_seconds[2:]), median(local_seconds[2:])
    return [
        Measured(
            bench="latency",
            what="submit until diagnosis of a tiny MLP, p50, beyond the same analysis in-process, ms",
            value=(remote - local) * 1000,
            at_most=100,
            details={"remote_p50_seconds": remote, "local_p50_seconds": local},
        )
    ]


def _spec(seed: int) -> diagnosis_pb2.DiagnosisSpec:
    return diagnosis_pb2.DiagnosisSpec(
        loss=diagnosis_pb2.LossSpec(functional=diagnosis_pb2.FunctionalLoss(name="cross_entropy")), seed=seed
    )
