"""Runs in which `overflow-low-precision` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.measurements import Culprit, GradientStatus
from rules.tiny_run import TinyRun, statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def _run(op: str, dtype: str, culprit: Culprit) -> Measurements:
    run = TinyRun()
    layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"], dtype=dtype)
    value = run.op(op, layer, dtype=dtype, nonfinite_order=1, culprit=culprit)
    return run.finish(value, loss=float("nan"))


def healthy() -> Iterator[Measurements]:
    run = TinyRun()
    yield run.finish(run.op("aten::linear", "x", module="fc", weights=["fc.weight"], dtype="float16"))


def sick() -> Iterator[Measurements]:
    yield _run("aten::mul", "float16", Culprit((2, 1), math.inf, (300.0, 300.0)))
    yield _run("aten::exp", "float16", Culprit((2, 1), math.inf, (12.0,)))
    run = TinyRun()
    run.parameter("fc.weight", status=GradientStatus.NON_FINITE)
    layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"], dtype="float16")
    bad = Culprit((3, 0), math.inf)
    run.amend(layer, gradient=statistics(nonfinite_count=1), gradient_order=1, gradient_culprit=bad)
    yield run.finish(run.op("aten::mul", layer, gradient_order=0, dtype="float16"))
