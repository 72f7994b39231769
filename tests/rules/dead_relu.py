"""Runs in which `dead-relu` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun, statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun()
    layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"])
    yield run.finish(
        run.op("aten::relu", layer, activation=statistics(zero_count=32), dead_unit_share=0.5, unit_count=64)
    )


def sick() -> Iterator[Measurements]:
    for op, off in (("aten::relu", 1.0), ("aten::relu_", 0.95), ("aten::clamp_min", 1.0)):
        run = TinyRun()
        layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"], gradient=0.0 if off == 1 else 1.0)
        output = statistics(1.0 - int(off))
        yield run.finish(run.op(op, layer, activation=output, dead_unit_share=off, unit_count=64, constants={"min": 0}))
