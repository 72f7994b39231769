"""Runs in which `non-finite-input` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.measurements import Culprit, Tensor
from rules.tiny_run import TinyRun, statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun(x=statistics(), mask=statistics(nonfinite_count=8))  # an attention mask of -inf
    scores = run.op("aten::linear", "x", module="fc", weights=["fc.weight"])
    yield run.finish(run.op("aten::softmax", run.op("aten::add", scores, "mask")))


def sick() -> Iterator[Measurements]:
    run = TinyRun(x=statistics(nonfinite_count=1))
    yield run.finish(run.op("aten::linear", "x", module="fc", weights=["fc.weight"]), loss=float("nan"))
    target = Tensor("target", (8,), "float32", statistics(nonfinite_count=1), Culprit((3,), float("inf")))
    run = TinyRun()
    yield run.finish(run.op("aten::linear", "x", weights=["fc.weight"]), loss=float("inf"), target=(target,))
