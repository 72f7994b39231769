"""One measuring process: runs a saved model bare, or analyses it, and prints times and peak memory as JSON."""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch.nn import functional

from gradclinic.v1 import diagnosis_pb2, executor_pb2
from gradclinic_worker.analysis import analyse

if TYPE_CHECKING:
    from collections.abc import Callable


def bare(folder: Path) -> Callable[[], None]:
    """A run of the plain program: forward, loss, backward."""
    module = torch.jit.load(str(folder / "model.pt"))
    inputs = load_file(folder / "inputs.safetensors")["0"]
    target = load_file(folder / "target.safetensors")["target"]

    def run() -> None:
        module.zero_grad(set_to_none=True)
        functional.cross_entropy(module(inputs), target).backward()

    return run


def quick(folder: Path, timings: list[dict[str, float]]) -> Callable[[], None]:
    """A run of the whole `quick` analysis; what it says about its stages goes to ``timings``."""
    spec = diagnosis_pb2.DiagnosisSpec(
        loss=diagnosis_pb2.LossSpec(functional=diagnosis_pb2.FunctionalLoss(name="cross_entropy")),
        depth=diagnosis_pb2.DEPTH_QUICK,
    )
    files = {
        executor_pb2.ATTACHMENT_MODEL: str(folder / "model.pt"),
        executor_pb2.ATTACHMENT_INPUTS: str(folder / "inputs.safetensors"),
        executor_pb2.ATTACHMENT_TARGET: str(folder / "target.safetensors"),
    }

    def run() -> None:
        result = analyse(spec, files, device=torch.device("cpu"), entered=lambda _stage, _progress: None)
        stages = {
            diagnosis_pb2.DiagnosisStage.Name(timing.stage): timing.duration.ToTimedelta().total_seconds()
            for timing in result.environment.timings
        }
        timings.append(stages)

    return run


def main() -> None:
    """Runs and reports."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("mode", choices=["bare", "quick"])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--repeat", type=int, required=True)
    arguments.add_argument("--threads", type=int, required=True)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    timings: list[dict[str, float]] = []
    began = time.perf_counter()
    run = bare(options.folder) if options.mode == "bare" else quick(options.folder, timings)
    prepare_seconds = time.perf_counter() - began  # loading, for the bare run; the analysis loads each time
    seconds = []
    for _ in range(options.repeat):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answer = {"prepare_seconds": prepare_seconds, "seconds": seconds, "stages": timings, "peak_bytes": peak_bytes}
    print(json.dumps(answer))  # noqa: T201 -- its answer


if __name__ == "__main__":
    main()
