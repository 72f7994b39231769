"""Runs in which `zero-derivative-op` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun()  # straight-through: x + (round(x) - x).detach()
    value = run.op("aten::linear", "x", module="fc", weights=["fc.weight"])
    rounded = run.op("aten::detach", run.op("aten::round", value, gradient=0.0))
    yield run.finish(run.op("aten::add", value, rounded))


def sick() -> Iterator[Measurements]:
    for op in ("aten::round", "aten::floor_", "aten::sign", "aten::bernoulli", "aten::normal"):
        run = TinyRun()
        value = run.op("aten::linear", "x", module="fc", weights=["fc.weight"], gradient=0.0)
        yield run.finish(run.op(op, value))
