"""Runs in which `exploding-gradient` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    yield TinyRun.stack("aten::sin", depth=4, gain=12.0)  # INFO
    yield TinyRun.stack("aten::relu", depth=30, gain=1.2)  # a deep plain network with BatchNorm


def sick() -> Iterator[Measurements]:
    yield TinyRun.stack("aten::relu", depth=20, gain=3.0)
    yield TinyRun.stack("aten::tanh", depth=8, gain=6.0)
    run = TinyRun()
    step = run.op("aten::linear", "x", module="cell", weights=["cell.weight"], calls=20)
    run.amend(step, gradient_rms_by_call=tuple(3.0**age for age in range(19, -1, -1)))
    yield run.finish(run.op("aten::linear", step, module="head", weights=["head.weight"]))
