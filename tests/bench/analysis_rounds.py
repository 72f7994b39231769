"""One measuring process: what is compared takes turns in it; prints CPU times.

First the bare TorchScript program and its `quick` analysis, then the model in eager mode and its peers. Turns within
one process, so that a slow minute of the machine slows both sides of a ratio. What is bare runs twice in each, as in
training it follows itself: after an analysis it would have to get its memory anew.
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

    Turns = list[tuple[str, Callable[[], None]]]  # the order of one round


def eager(name: str, folder: Path) -> Turns:
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

    return [("eager", bare), ("eager", bare), ("hooks", hooked), ("anomaly", anomaly)]


def in_turns(runs: Turns, warm_up: int, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of all runs."""
    seconds: dict[str, list[float]] = {mode: [] for mode, _ in runs}
    for number in range(warm_up + rounds):
        if number == warm_up:
            gc.collect()
            gc.freeze()  # as a zygote does before it forks executors
        for mode, run in runs:
            started = time.process_time()
            run()
            if number >= warm_up:
                seconds[mode].append(time.process_time() - started)
    return seconds


def main() -> None:
    """Runs and reports."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("name", choices=sorted(models.ARCHITECTURES))
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--warm-up", type=int, required=True)
    arguments.add_argument("--rounds", type=int, required=True)
    arguments.add_argument("--peer-rounds", type=int, required=True)
    arguments.add_argument("--threads", type=int, required=True)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    load_seconds: list[float] = []
    bare, quick = analysis_child.bare(options.folder), analysis_child.quick(options.folder, load_seconds)
    seconds = in_turns([("bare", bare), ("bare", bare), ("quick", quick)], options.warm_up, options.rounds)
    # The peers are ten times as slow: fewer rounds, and none to warm up.
    seconds |= in_turns(eager(options.name, options.folder), 0, options.peer_rounds)
    load_seconds = load_seconds[options.warm_up :]
    print(json.dumps({"seconds": seconds, "load_seconds": load_seconds}))  # noqa: T201 -- its answer


if __name__ == "__main__":
    main()
