"""One measuring process: runs a saved model bare, or analyses it, and prints CPU times and peak memory as JSON."""

from __future__ import annotations

import argparse
import json
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


def quick(folder: Path, load_seconds: list[float]) -> Callable[[], None]:
    """A run of the whole `quick` analysis; the CPU time of loading goes to ``load_seconds``."""
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
        began: dict[int, float] = {}

        def entered(stage: diagnosis_pb2.DiagnosisStage.ValueType, _progress: float) -> None:
            began.setdefault(stage, time.process_time())

        analyse(spec, files, device=torch.device("cpu"), entered=entered)
        load_seconds.append(began[diagnosis_pb2.DIAGNOSIS_STAGE_PREPARE] - began[diagnosis_pb2.DIAGNOSIS_STAGE_LOAD])

    return run


def peak_memory_bytes() -> int:
    """Largest number of resident bytes so far; `ru_maxrss` would count those of the process that started this one."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) * 1024


def main() -> None:
    """Runs and reports."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("mode", choices=["bare", "quick"])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--repeat", type=int, required=True)
    arguments.add_argument("--threads", type=int, required=True)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    began = time.process_time()
    run = bare(options.folder) if options.mode == "bare" else quick(options.folder, [])
    prepare_seconds = time.process_time() - began  # loading, for the bare run; the analysis loads each time
    seconds = []
    for _ in range(options.repeat):
        started = time.process_time()
        run()
        seconds.append(time.process_time() - started)
    answer = {"prepare_seconds": prepare_seconds, "seconds": seconds, "peak_bytes": peak_memory_bytes()}
    print(json.dumps(answer))  # noqa: T201 -- its answer


if __name__ == "__main__":
    main()
