"""One measuring process: runs a saved model bare, or analyses it, and prints times and peak memory as JSON.

Times are CPU times; on a GPU, by the clock, with all that was asked of it done.
"""

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
    from collections.abc import Callable, Mapping

CPU = torch.device("cpu")


def now(device: torch.device) -> float:
    """Seconds of the device's time, see above."""
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def bare(folder: Path, device: torch.device = CPU) -> Callable[[], None]:
    """A run of the plain program: forward, loss, backward."""
    module = torch.jit.load(str(folder / "model.pt"), map_location=device)
    inputs = load_file(folder / "inputs.safetensors", device=str(device))["0"]
    target = load_file(folder / "target.safetensors", device=str(device))["target"]

    def run() -> None:
        module.zero_grad(set_to_none=True)
        functional.cross_entropy(module(inputs), target).backward()

    return run


def request(
    folder: Path,
) -> tuple[diagnosis_pb2.DiagnosisSpec, Mapping[executor_pb2.Attachment.ValueType, str]]:
    """The `quick` diagnosis of a saved model, and its files."""
    spec = diagnosis_pb2.DiagnosisSpec(
        loss=diagnosis_pb2.LossSpec(functional=diagnosis_pb2.FunctionalLoss(name="cross_entropy")),
        depth=diagnosis_pb2.DEPTH_QUICK,
    )
    files = {
        executor_pb2.ATTACHMENT_MODEL: str(folder / "model.pt"),
        executor_pb2.ATTACHMENT_INPUTS: str(folder / "inputs.safetensors"),
        executor_pb2.ATTACHMENT_TARGET: str(folder / "target.safetensors"),
    }
    return spec, files


def quick(folder: Path, load_seconds: list[float], device: torch.device = CPU) -> Callable[[], None]:
    """A run of the whole `quick` analysis; the time of loading goes to ``load_seconds``."""
    spec, files = request(folder)

    def run() -> None:
        began: dict[int, float] = {}

        def entered(stage: diagnosis_pb2.DiagnosisStage.ValueType, _progress: float) -> None:
            began.setdefault(stage, now(device))

        analyse(spec, files, device=device, entered=entered)
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
    arguments.add_argument("--device", type=torch.device, default=CPU)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    device, load_seconds = options.device, list[float]()
    began = now(device)
    run = bare(options.folder, device) if options.mode == "bare" else quick(options.folder, load_seconds, device)
    prepare_seconds = now(device) - began  # loading, for the bare run; the analysis loads each time
    seconds = []
    for _ in range(options.repeat):
        started = now(device)
        run()
        seconds.append(now(device) - started)
    answer = {"prepare_seconds": prepare_seconds, "seconds": seconds, "load_seconds": load_seconds}
    answer |= {"peak_bytes": peak_memory_bytes()}
    answer |= {"peak_device_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0}
    print(json.dumps(answer))  # noqa: T201 -- its answer


if __name__ == "__main__":
    main()
