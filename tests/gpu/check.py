"""What a step of `make gpu-check` hands back: one record per thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Outcome = Literal["passed", "FAILED", "measured", "skipped: no CUDA"]


@dataclass(slots=True)
class Check:
    """One thing that was looked at."""

    what: str
    outcome: Outcome
    said: str = ""  # numbers or what differs
    step: str = ""  # the module that looked
    step_seconds: float = 0.0  # what the whole step took


def passed(what: str, *, is_right: bool, said: str = "") -> Check:
    """A check that either holds or does not."""
    return Check(what, "passed" if is_right else "FAILED", said)


def on_cuda(device: torch.device, what: str, *, is_right: bool, said: str = "") -> Check:
    """The same, of which a dry run on a CPU can say nothing."""
    return passed(what, is_right=is_right, said=said) if device.type == "cuda" else Check(what, "skipped: no CUDA")
