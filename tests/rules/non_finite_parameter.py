"""Runs in which `non-finite-parameter` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.measurements import Culprit
from rules.tiny_run import TinyRun, statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun()
    yield run.finish(run.op("aten::linear", "x", module="fc", weights=["fc.weight"]))
    run = TinyRun()  # a causal mask
    mask = run.buffer("mask", statistics(0.0, nonfinite_count=28), culprit=Culprit((0, 1), -math.inf))
    scores = run.op("aten::linear", "x", module="fc", weights=["fc.weight"])
    yield run.finish(run.op("aten::add", scores, buffers=(mask,)))


def sick() -> Iterator[Measurements]:
    run = TinyRun()
    run.parameter("fc.weight", weight=statistics(nonfinite_count=3))
    yield run.finish(run.op("aten::linear", "x", module="fc", weights=["fc.weight"]), loss=float("nan"))
    run = TinyRun()
    kept = run.buffer("norm.running_var", statistics(nonfinite_count=8), culprit=Culprit((0,), math.inf))
    layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"])
    yield run.finish(run.op("aten::batch_norm", layer, module="norm", buffers=(kept,)))
