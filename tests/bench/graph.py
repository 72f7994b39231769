"""What grows with the number of operations: preparing a graph, and judging what was measured of it (CPU time)."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

from bench.measured import Measured
from bench.models import Saved, save_deep
from gradclinic.v1 import diagnosis_pb2, executor_pb2
from gradclinic_engine import rules
from gradclinic_engine.torchscript import program
from gradclinic_worker.analysis import measure as measure_model
from gradclinic_worker.process import collector

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL, LARGE = 2_000, 10_000  # operations
REPEATS, JUDGEMENTS = 3, 10


def measure(*, smoke: bool) -> list[Measured]:
    """Residual stacks of tiny layers, so that there is nothing but structure."""
    small, large = (50, 100) if smoke else (SMALL, LARGE)
    collector.settle()  # as a zygote does before it forks executors
    with tempfile.TemporaryDirectory(prefix="gradclinic-bench-") as scratch:
        saved = save_deep(Path(scratch) / "small", operations=small)
        prepare_seconds, sites = _prepare(saved, repeats=1 if smoke else REPEATS)
        large_seconds, large_sites = _prepare(save_deep(Path(scratch) / "large", operations=large), repeats=1)
        judge_seconds = _judge(saved, repeats=1 if smoke else JUDGEMENTS)
    return [
        Measured(
            bench="graph",
            what=f"inlining, data flow and probes of a graph with {small} operations, CPU s",
            value=prepare_seconds,
            at_most=1.0,
            details={"sites": sites},
        ),
        Measured(
            bench="graph",
            what=f"the same with {large} operations, CPU s",
            value=large_seconds,
            details={"sites": large_sites},
        ),
        Measured(
            bench="graph",
            what=f"all rules on a run with {sites} sites, CPU ms",
            value=judge_seconds * 1000,
            at_most=50.0,
            details={"rules": len(rules.RULES)},
        ),
    ]


def _prepare(saved: Saved, *, repeats: int) -> tuple[float, int]:
    """Seconds of the fastest of some preparations, each of a freshly loaded model, and the number of sites."""
    fastest, sites = float("inf"), 0
    inputs = load_file(saved.inputs)["0"]
    for _ in range(repeats):
        module = torch.jit.load(str(saved.model))
        started = time.process_time()
        prepared = program.prepare(module, {"0": inputs}, archive_path=str(saved.model))
        fastest, sites = min(fastest, time.process_time() - started), len(prepared.sites)
    return fastest, sites


def _judge(saved: Saved, *, repeats: int) -> float:
    """Seconds of the fastest judgement; nothing is known of the run beforehand."""
    spec = diagnosis_pb2.DiagnosisSpec(
        loss=diagnosis_pb2.LossSpec(functional=diagnosis_pb2.FunctionalLoss(name="cross_entropy")),
        depth=diagnosis_pb2.DEPTH_QUICK,
    )
    files = {
        executor_pb2.ATTACHMENT_MODEL: str(saved.model),
        executor_pb2.ATTACHMENT_INPUTS: str(saved.inputs),
        executor_pb2.ATTACHMENT_TARGET: str(saved.target),
    }
    entered: Callable[[diagnosis_pb2.DiagnosisStage.ValueType, float], None] = lambda _stage, _progress: None  # noqa: E731
    measured = measure_model(spec, files, device=torch.device("cpu"), entered=entered)
    seconds = []
    for _ in range(repeats):
        unknown = replace(measured)  # what rules share is remembered by the run
        started = time.process_time()
        rules.judge(unknown)
        seconds.append(time.process_time() - started)
    return min(seconds)
