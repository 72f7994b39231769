"""Runs in which `vanishing-gradient` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    yield TinyRun.stack("aten::relu", depth=8, gain=0.4)  # default initialisation
    yield TinyRun.stack("aten::gelu", depth=40, gain=0.9)


def sick() -> Iterator[Measurements]:
    yield TinyRun.stack("aten::sigmoid", depth=30, gain=0.15)
    yield TinyRun.stack("aten::tanh", depth=16, gain=0.3)
    run = TinyRun()
    step = run.op("aten::linear", "x", module="cell", weights=["cell.weight"], calls=50)
    run.amend(step, gradient_rms_by_call=tuple(0.5**age for age in range(49, -1, -1)))
    yield run.finish(run.op("aten::linear", step, module="head", weights=["head.weight"]))
