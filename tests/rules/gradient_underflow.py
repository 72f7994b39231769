"""Runs in which `gradient-underflow` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.measurements import MagnitudeHistogram
from rules.tiny_run import TinyRun, statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    for dtype, gradient in (
        (
            "float16",
            statistics(1e-3, zero_count=32, histogram=MagnitudeHistogram(-20, (1, 3, 8, 12, 8))),
        ),  # behind a ReLU
        ("bfloat16", statistics(1e-12, zero_count=30, histogram=MagnitudeHistogram(-44, (20, 12)))),
    ):
        run = TinyRun()
        layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"], dtype=dtype)
        run.amend(layer, gradient=gradient)
        yield run.finish(run.op("aten::relu", layer, dtype=dtype))


def sick() -> Iterator[Measurements]:
    run = TinyRun()
    layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"], dtype="float16", gradient=0.0)
    yield run.finish(run.op("aten::to", layer, gradient=1e-9))
    run = TinyRun()
    layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"], dtype="float16")
    run.amend(layer, gradient=statistics(5e-8, zero_count=40, histogram=MagnitudeHistogram(-24, (18, 6))))
    yield run.finish(run.op("aten::gelu", layer, dtype="float16", gradient=2e-7))
