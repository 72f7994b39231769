"""`python tests/hostile/measure.py`: what the cage and the vetting cost, in milliseconds."""

from __future__ import annotations

import os
import statistics
import struct
import sys
import tempfile
import time
from pathlib import Path

import torch

from gradclinic_engine.torchscript import archive
from gradclinic_worker.analysis import analyse
from gradclinic_worker.cage import sandbox
from gradclinic_worker.process import executor
from hostile.hostile_archives import saved

FORKS = 30


def cage_milliseconds() -> list[tuple[float, float]]:
    """What both steps of the confinement take together, in fresh forks of a zygote: by the clock, and of CPU."""
    executor.warm_up(analyse)
    sandbox.prepare()
    found = []
    for _ in range(FORKS):
        readable, writable = os.pipe()
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            began, spent = time.perf_counter(), time.process_time()
            confining = sandbox.Confining(sandbox.SandboxLevel.CAGE, sandbox.Limits(2**30, 0, cuda=False))
            confining.finish(parent)
            os.write(
                writable, struct.pack("2d", *(1e3 * (time.perf_counter() - began), 1e3 * (time.process_time() - spent)))
            )
            os._exit(0)
        os.waitpid(child, 0)
        found.append(struct.unpack("2d", os.read(readable, 16)))
        os.close(readable)
        os.close(writable)
    return found


class Wide(torch.nn.Module):
    """A model of 1 GiB in sixteen layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(4096, 4096, bias=False) for _ in range(16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x``: ``[N, 4096]``; returns the same shape."""
        for layer in self.layers:
            x = layer(x)
        return x


def vetting_milliseconds() -> float:
    """What vetting an archive of 1 GiB takes, without loading it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wide.pt"
        path.write_bytes(saved(Wide()))
        began = time.perf_counter()
        archive.vet(str(path), field="model")
        return 1e3 * (time.perf_counter() - began)


def main() -> None:
    """Print a table."""
    taken = cage_milliseconds()
    wall, processor = (statistics.median(one[kind] for one in taken) for kind in (0, 1))
    lines = [
        f"cage set-up, median of {FORKS}: {wall:.2f} ms, of which {processor:.2f} ms of CPU (aim: < 10 ms)",
        f"vetting an archive of 1 GiB: {vetting_milliseconds():.2f} ms (aim: < 1000 ms)",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
