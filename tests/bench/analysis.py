"""What the `quick` analysis costs next to a bare TorchScript forward and backward of the same model."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.measured import Measured, median
from bench.models import save_gpt2, save_resnet50

MIB_BYTES = 1 << 20
ALLOWED_GROWTH = 1.05
ALLOWED_GROWTH_MIB = 64
LOAD_STAGE = "DIAGNOSIS_STAGE_LOAD"


@dataclass(frozen=True, slots=True)
class Child:
    """What one measuring process reported."""

    first_seconds: float  # loading, and the first run
    seconds: list[float]  # of the later runs, when TorchScript's executor has profiled and optimised
    load_seconds: list[float]  # part of `seconds` that went into loading the archive; empty for a bare run
    peak_mib: float


def measure(*, smoke: bool) -> list[Measured]:
    """Interleaves bare and analysing processes, for each model."""
    rows = []
    for name, save in (("gpt2", save_gpt2), ("resnet50", save_resnet50)):
        with tempfile.TemporaryDirectory(prefix="gradclinic-bench-") as folder:
            save(Path(folder), smoke=smoke)
            bare, quick = [], []
            for _ in range(1 if smoke else 3):
                bare.append(_run("bare", Path(folder), smoke=smoke))
                quick.append(_run("quick", Path(folder), smoke=smoke))
        rows += _rows(name, bare, quick)
    return rows


def _run(mode: str, folder: Path, *, smoke: bool) -> Child:
    warm_up_runs, measured_runs = (1, 1) if smoke else (3, 5)
    command = [
        *(sys.executable, "-W", "ignore::DeprecationWarning", "-m", "bench.analysis_child", mode, str(folder)),
        *("--repeat", str(warm_up_runs + measured_runs), "--threads", str(torch.get_num_threads())),
    ]
    answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return Child(
        first_seconds=answer["prepare_seconds"] + answer["seconds"][0],
        seconds=answer["seconds"][warm_up_runs:],
        load_seconds=[stages[LOAD_STAGE] for stages in answer["stages"][warm_up_runs:]],
        peak_mib=answer["peak_bytes"] / MIB_BYTES,
    )


def _rows(name: str, bare: list[Child], quick: list[Child]) -> list[Measured]:
    bare_seconds = median([second for child in bare for second in child.seconds])
    whole_seconds = median([second for child in quick for second in child.seconds])
    load_seconds = median([second for child in quick for second in child.load_seconds])
    first_bare_seconds = median([child.first_seconds for child in bare])
    first_quick_seconds = median([child.first_seconds for child in quick])
    bare_mib = median([child.peak_mib for child in bare])
    quick_mib = median([child.peak_mib for child in quick])
    return [
        Measured(
            bench="analysis",
            what=f"quick analysis without loading over bare forward+backward, warm ({name})",
            value=(whole_seconds - load_seconds) / bare_seconds,
            at_most=1.3,
            details={"bare_seconds": bare_seconds, "whole_seconds": whole_seconds, "load_seconds": load_seconds},
        ),
        Measured(
            bench="analysis",
            what=f"the same with loading, first run of a process ({name})",
            value=first_quick_seconds / first_bare_seconds,
            details={"bare_seconds": first_bare_seconds, "quick_seconds": first_quick_seconds},
        ),
        Measured(
            bench="analysis",
            what=f"peak memory beyond bare + 5 % ({name}), MiB",
            value=quick_mib - bare_mib * ALLOWED_GROWTH,
            at_most=ALLOWED_GROWTH_MIB,
            details={"quick_mib": quick_mib, "bare_mib": bare_mib},
        ),
    ]
