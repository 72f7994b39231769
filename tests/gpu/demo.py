"""The demo on a worker of the device: every model gets the findings that it has to get."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from gpu.check import Check, passed

if TYPE_CHECKING:
    import torch

LIMIT_SECONDS = 180
SHOWN_LINES = 12  # the summary


def check(device: torch.device, *, smoke: bool) -> list[Check]:  # noqa: ARG001 - the demo has one size
    """One row."""
    command = (sys.executable, "-m", "gradclinic", "demo", "--device", str(device))
    run = subprocess.run(
        command, check=False, timeout=LIMIT_SECONDS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = "" if run.returncode == 0 else "\n".join(run.stdout.splitlines()[-SHOWN_LINES:])
    return [passed(f"the demo on {device} finds what it has to find", is_right=run.returncode == 0, said=said)]
