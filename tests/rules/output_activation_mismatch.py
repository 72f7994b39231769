"""Runs in which `output-activation-mismatch` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun
from rules.tiny_terms import term

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def _tiny(op: str, low: float, high: float) -> Measurements:
    run = TinyRun()
    output = run.op(op, run.op("aten::linear", "x", weights=["fc.weight"]))
    spread = tuple(low + (high - low) * step / 10 for step in range(11))
    called = term("mse_loss", output, target={"min": low, "max": high, "deciles": spread})
    return run.finish(output, terms=(called,))


def healthy() -> Iterator[Measurements]:
    yield _tiny("aten::sigmoid", 0.0, 1.0)
    yield _tiny("aten::relu", 0.0, 90.0)


def sick() -> Iterator[Measurements]:
    yield _tiny("aten::sigmoid", 20.0, 80.0)
    yield _tiny("aten::relu", -5.0, -1.0)
