"""One measuring process: takes turns between a model's bare runs, its `quick` analysis and the peers; prints CPU times.

Turns within one process, so that a slow minute of the machine slows all of them.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch.nn import functional

from bench import analysis_child, models, peers

if TYPE_CHECKING:
    from collections.abc import Callable


PEERS = {"hooks", "anomaly"}  # they run what `eager` has warmed up, ten times as slowly


def eager(name: str, folder: Path) -> dict[str, Callable[[], None]]:
    """The model in eager mode: bare, with hand-written hooks, and under torch's own anomaly detection."""
    model = models.eager(name)
    inputs = load_file(folder / "inputs.safetensors")["0"]
    target = load_file(folder / "target.safetensors")["target"]

    def bare() -> None:
        model.zero_grad(set_to_none=True)
        functional.cross_entropy(model(inputs), target).backward()

    def hooked() -> None:
        with peers.recording(model):
            bare()

    def anomaly() -> None:
        with warnings.catch_warnings(action="ignore"), torch.autograd.detect_anomaly():
            bare()

    return {"eager": bare, "hooks": hooked, "anomaly": anomaly}


def main() -> None:
    """Runs and reports."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("name", choices=sorted(models.ARCHITECTURES))
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--warm-up", type=int, required=True)
    arguments.add_argument("--rounds", type=int, required=True)
    arguments.add_argument("--threads", type=int, required=True)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    load_seconds: list[float] = []
    runs = {
        "bare": analysis_child.bare(options.folder),
        "quick": analysis_child.quick(options.folder, load_seconds),
        **eager(options.name, options.folder),
    }
    for _ in range(options.warm_up):
        for mode in set(runs) - PEERS:
            runs[mode]()
    load_seconds.clear()
    gc.collect()
    gc.freeze()  # as a zygote does before it forks executors
    seconds: dict[str, list[float]] = {mode: [] for mode in runs}
    for _ in range(options.rounds):
        for mode, run in runs.items():
            started = time.process_time()
            run()
            seconds[mode].append(time.process_time() - started)
    print(json.dumps({"seconds": seconds, "load_seconds": load_seconds}))  # noqa: T201 -- its answer


if __name__ == "__main__":
    main()
