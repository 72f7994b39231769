"""Counts how often an observed step waits for the device: once, where its loss is read between forward and backward."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.profiler import ProfilerActivity, profile, record_function

from bench import analysis_child, models
from gpu.check import Check, on_cuda
from gradclinic.v1 import diagnosis_pb2
from gradclinic_worker.analysis import analyse

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

BEGIN = "gradclinic: forward begins"
BACKWARD_FUNCTION = "autograd::engine::evaluate_function"
READS_OF_THE_LOSS = 1


def check(device: torch.device, *, smoke: bool) -> list[Check]:
    """One row for each model."""
    return [_check(name, device) for name in (("MLP",) if smoke else models.ARCHITECTURES)]


def _check(name: str, device: torch.device) -> Check:
    with tempfile.TemporaryDirectory(prefix="gradclinic-gpu-") as scratch:
        models.save_traced(name, Path(scratch), smoke=True)
        _analyse(Path(scratch), device)  # what torch sets up on first use may wait
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
        with profile(activities=activities) as profiled:
            _analyse(Path(scratch), device)
    found = waits(profiled.events())
    said = ", ".join(f"{count} x {where}" for where, count in sorted(found.items()))
    what = f"{name}: the observed step waits for the device only to read the loss"
    return on_cuda(device, what, is_right=found.total() == READS_OF_THE_LOSS, said=said or "no wait was seen")


def _analyse(folder: Path, device: torch.device) -> None:
    def entered(stage: diagnosis_pb2.DiagnosisStage.ValueType, _progress: float) -> None:
        if stage == diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD:
            with record_function(BEGIN):
                pass

    analyse(*analysis_child.request(folder), device=device, entered=entered)


def waits(events: Iterable[Any]) -> Counter[str]:
    """Calls of the CUDA API that wait, from the begin of forward to the end of backward, by the operator they are in.

    Args:
        events: Of torch's profiler; one run of a healthy model, so that there is one backward pass.
    """
    seen = list(events)
    (begin,) = (each.time_range.end for each in seen if each.name == BEGIN)
    end = max(each.time_range.end for each in seen if each.name.startswith(BACKWARD_FUNCTION))
    return Counter(
        f"{each.name} in {each.cpu_parent.name if each.cpu_parent else 'no operator'}"
        for each in seen
        if each.name.startswith("cu") and "Synchronize" in each.name and begin <= each.time_range.start <= end
    )
