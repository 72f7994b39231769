"""What the `quick` analysis costs next to a bare TorchScript forward and backward of the same model, and what peers do.

The analysis is what an executor does for a `quick` request, from the files to the report. Of its time, loading the
archive stands in a row of its own: a bare run has loaded its model long before, and so have the peers. An executor is a
process for one job: its memory is new, and the kernel takes its time to hand it out. So the bare run that it is
measured by has a fork of its own too; a row beside it has the bare run in a loop, whose memory is there. Times are CPU
times of one thread: what else a machine does changes them least.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measured import Measured
from bench.models import save_traced

MIB_BYTES = 1 << 20
ALLOWED_GROWTH = 1.05
ALLOWED_GROWTH_MIB = 64
AIMS = {"GPT-2-like": 1.3, "ResNet-50": 1.3, "MLP": 1.5}  # by architecture, of the ratio to a bare run
THREADS = 1  # several would wait for each other, which counts as CPU time
ROUNDS = {"GPT-2-like": (8, 2), "ResNet-50": (5, 2), "MLP": (40, 10)}  # ours, and those of the peers


@dataclass(frozen=True, slots=True)
class Fresh:
    """What a process of its own reported."""

    first_seconds: float  # loading, and the first run
    peak_mib: float


def measure(*, smoke: bool) -> list[Measured]:
    """For each model: rounds in which everything takes its turn, and two fresh processes."""
    rows = []
    for name in ("MLP",) if smoke else AIMS:
        with tempfile.TemporaryDirectory(prefix="gradclinic-bench-") as scratch:
            folder = Path(scratch)
            save_traced(name, folder, smoke=smoke)
            ours, peers = (1, 1) if smoke else ROUNDS[name]
            rounds = ("--rounds", str(ours), "--peer-rounds", str(peers))
            rows += _times(name, _child("analysis_rounds", name, str(folder), *rounds))
            rows += _fresh_rows(name, *(_fresh(mode, folder, smoke=smoke) for mode in ("bare", "quick")))
    return rows


def _child(module: str, *arguments: str) -> Any:
    command = [sys.executable, "-W", "ignore:`torch.jit", "-m", f"bench.{module}", *arguments]
    command += ["--threads", str(THREADS)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def _fresh(mode: str, folder: Path, *, smoke: bool) -> Fresh:
    answer = _child("analysis_child", mode, str(folder), "--repeat", "1" if smoke else "2")
    return Fresh(answer["prepare_seconds"] + answer["seconds"][0], answer["peak_bytes"] / MIB_BYTES)


def _times(name: str, seconds: dict[str, list[float]]) -> list[Measured]:
    """Ratios of the fastest runs: what else the machine does only ever adds."""
    fastest = {mode: min(values) for mode, values in seconds.items()}
    without_load = min(whole - load for whole, load in zip(seconds["quick"], seconds["load"], strict=True))
    details = {f"{mode}_seconds": value for mode, value in fastest.items()} | {"without_load_seconds": without_load}
    ratios = {
        "quick analysis without loading, over bare TorchScript forward+backward": without_load / fastest["bare"],
        "the same with loading": fastest["quick"] / fastest["bare"],
        "the same without loading, over the bare run in a loop": without_load / fastest["loop"],
        "peer, hand-written eager hooks with the same statistics, over bare eager": fastest["hooks"] / fastest["eager"],
        "peer, torch.autograd.detect_anomaly (finds NaN only), over bare eager": fastest["anomaly"] / fastest["eager"],
    }
    aims = [AIMS[name]] + [math.inf] * (len(ratios) - 1)
    return [
        Measured(bench="analysis", what=f"{name}: {what}", value=ratio, at_most=aim, details=details)
        for (what, ratio), aim in zip(ratios.items(), aims, strict=True)
    ]


def _fresh_rows(name: str, bare: Fresh, quick: Fresh) -> list[Measured]:
    return [
        Measured(
            bench="analysis",
            what=f"{name}: quick analysis with loading over bare with loading, first run of a process",
            value=quick.first_seconds / bare.first_seconds,
            details={"bare_seconds": bare.first_seconds, "quick_seconds": quick.first_seconds},
        ),
        Measured(
            bench="analysis",
            what=f"{name}: peak memory beyond bare + 5 %, MiB",
            value=quick.peak_mib - bare.peak_mib * ALLOWED_GROWTH,
            at_most=ALLOWED_GROWTH_MIB,
            details={"quick_mib": quick.peak_mib, "bare_mib": bare.peak_mib},
        ),
    ]
