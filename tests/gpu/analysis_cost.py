"""What a `quick` analysis costs on the device next to a bare TorchScript forward and backward: time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import models
from bench.analysis import ALLOWED_GROWTH, ALLOWED_GROWTH_MIB, MIB_BYTES
from gpu.check import Check, on_cuda

if TYPE_CHECKING:
    import torch

REPEATS = 10  # the fastest one counts


def check(device: torch.device, *, smoke: bool) -> list[Check]:
    """Two rows for each model; bare run and analysis in processes of their own."""
    return [row for name in (("MLP",) if smoke else models.ARCHITECTURES) for row in _rows(name, device, smoke=smoke)]


def _rows(name: str, device: torch.device, *, smoke: bool) -> list[Check]:
    with tempfile.TemporaryDirectory(prefix="gradclinic-gpu-") as scratch:
        models.save_traced(name, Path(scratch), smoke=smoke)
        bare, quick = (_child(mode, scratch, device, repeats=1 if smoke else REPEATS) for mode in ("bare", "quick"))
    bare_seconds = min(bare["seconds"])
    without_load = min(whole - load for whole, load in zip(quick["seconds"], quick["load_seconds"], strict=True))
    bare_mib, quick_mib = (each["peak_device_bytes"] / MIB_BYTES for each in (bare, quick))
    return [
        Check(
            f"{name}: quick analysis without loading over bare forward+backward",
            "measured",
            f"{without_load / bare_seconds:.3g} ({1e3 * without_load:.3g} ms over {1e3 * bare_seconds:.3g} ms)",
        ),
        on_cuda(
            device,
            f"{name}: peak device memory is at most that of the bare run + 5 % + {ALLOWED_GROWTH_MIB} MiB",
            is_right=quick_mib <= bare_mib * ALLOWED_GROWTH + ALLOWED_GROWTH_MIB,
            said=f"{quick_mib:.0f} MiB over {bare_mib:.0f} MiB",
        ),
    ]


def _child(mode: str, folder: str, device: torch.device, *, repeats: int) -> Any:
    command = [sys.executable, "-W", "ignore:`torch.jit", "-m", "bench.analysis_child", mode, folder]
    command += ["--repeat", str(repeats), "--threads", "1", "--device", str(device)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
