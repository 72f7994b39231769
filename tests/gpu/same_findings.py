"""A stratified sample of the zoo, each case on the CPU and on the device: the same codes at the same places."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gpu.check import Check, passed
from gradclinic_engine.errors import AnalysisError
from zoo import run

if TYPE_CHECKING:
    from zoo.case import Case

LIMIT_SECONDS = 240.0
SMOKE_CASES = 4
# Told from a run in the optimising executor, which is tried on a CPU alone: on a device it compiles kernels.
CPU_ONLY_CODE = "executor-dependent"


def check(device: torch.device, *, smoke: bool) -> list[Check]:
    """One row for all, and one for each case that differs."""
    cases = sample()[: SMOKE_CASES if smoke else None]
    differing, done, began = [], 0, time.monotonic()
    for case in cases:
        if time.monotonic() - began > LIMIT_SECONDS:
            break
        done += 1
        on_cpu, on_device = findings(case, torch.device("cpu"), device)
        if on_cpu != on_device:
            said = f"on the CPU {on_cpu or 'nothing'}, on {device} {on_device or 'nothing'}"
            differing.append(Check(case.name, "FAILED", said))
    whole = passed(
        f"{done} of {len(cases)} sampled cases have the same codes and places on the CPU and on {device}",
        is_right=not differing,
        said="" if done == len(cases) else f"the others were left out after {LIMIT_SECONDS:g} s",
    )
    return [whole, *differing]


def sample() -> list[Case]:
    """One case for each code and form, and one for each family and form of healthy models, in a fixed random order."""
    every = run.chosen(argparse.Namespace(only="", family="", form="", code=""))
    order = random.Random(0)
    order.shuffle(every)
    strata: dict[tuple[str, str], Case] = {}
    for case in every:
        code = case.expected.code if case.expected else f"healthy: {case.family}"
        if code != CPU_ONLY_CODE:
            strata.setdefault((code, case.form), case)
    return list(strata.values())


def findings(case: Case, *devices: torch.device) -> list[list[str]]:
    """Codes and places above INFO on each device; of what ends without a result, its reason."""
    torch.manual_seed(run.SEED)
    with tempfile.TemporaryDirectory(prefix="gradclinic-gpu-") as scratch:
        asked = run.laid_out(case, case.build(), Path(scratch), "standard")
        return [_findings(asked, device) for device in devices]


def _findings(asked: run.Request, device: torch.device) -> list[str]:
    try:
        told = [each for each in run.analysed(asked, device).findings if each.severity in run.WORSE_THAN_INFO]
    except AnalysisError as error:
        return [f"failed: {error.reason}"]
    return sorted(f"{each.code} at {run.place(each)}" for each in told)
