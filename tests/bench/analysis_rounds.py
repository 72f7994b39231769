"""One measuring process: what is compared takes turns in it; prints CPU times.

The bare TorchScript program and its `quick` analysis run once each in forks of their own, as an executor runs: a
process that is warm, but whose memory is new. Then the bare program runs in a loop, as in training, and the model in
eager mode beside its peers. Turns within one process, so that a slow minute of the machine slows both sides of a ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch.nn import functional

from bench import analysis_child, models, peers
from gradclinic_worker.process import collector

if TYPE_CHECKING:
    from collections.abc import Callable

    Turns = list[tuple[str, Callable[[], None]]]  # the order of one round


def warmed_up(name: str) -> None:
    """What a zygote does before it forks executors: everything has been used once, and stays as it is."""
    with tempfile.TemporaryDirectory(prefix="gradclinic-bench-") as scratch:
        models.save_traced(name, Path(scratch), smoke=True)
        analysis_child.quick(Path(scratch), [])()
        analysis_child.bare(Path(scratch))()
    collector.settle()


def in_a_fork(work: Callable[[], Any]) -> Any:
    """What the work gives, done in a process that ends with it."""
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writable, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writable)
    with open(readable, "rb") as answer:  # noqa: PTH123 - a pipe
        found = answer.read()
    os.waitpid(child, 0)
    return json.loads(found)


def seconds_of(run: Callable[[], None]) -> float:
    """CPU time."""
    started = time.process_time()
    run()
    return time.process_time() - started


def alone(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Bare runs, analyses, and what of these was loading, each in a fork."""

    def bare() -> float:
        return seconds_of(analysis_child.bare(folder))

    def quick() -> tuple[float, float]:
        load_seconds: list[float] = []
        return seconds_of(analysis_child.quick(folder, load_seconds)), load_seconds[0]

    taken = [(in_a_fork(bare), *in_a_fork(quick)) for _ in range(rounds)]
    return dict(zip(("bare", "quick", "load"), map(list, zip(*taken, strict=True)), strict=True))


def in_turns(runs: Turns, warm_up: int, rounds: int) -> dict[str, list[float]]:
    """All runs in one process."""
    seconds: dict[str, list[float]] = {mode: [] for mode, _ in runs}
    for number in range(warm_up + rounds):
        for mode, run in runs:
            took = seconds_of(run)
            if number >= warm_up:
                seconds[mode].append(took)
    return seconds


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


def main() -> None:
    """Runs and reports."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("name", choices=sorted(models.ARCHITECTURES))
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--rounds", type=int, required=True)
    arguments.add_argument("--peer-rounds", type=int, required=True)
    arguments.add_argument("--threads", type=int, required=True)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    warmed_up(options.name)
    seconds = alone(options.folder, options.rounds)
    seconds |= in_turns([("loop", analysis_child.bare(options.folder))], 2, options.rounds)
    # The peers are ten times as slow: fewer rounds, and none to warm up.
    seconds |= in_turns(eager(options.name, options.folder), 0, options.peer_rounds)
    print(json.dumps(seconds))  # noqa: T201 -- its answer


if __name__ == "__main__":
    main()
