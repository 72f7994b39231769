"""Runs in which `non-finite-forward` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.measurements import Culprit
from rules.tiny_run import TinyRun, statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun()  # a causal mask
    masked = run.op("aten::masked_fill", run.op("aten::linear", "x", weights=["fc.weight"]), nonfinite_order=0)
    yield run.finish(run.op("aten::softmax", masked))


def sick() -> Iterator[Measurements]:
    for value in (float("nan"), float("-inf")):
        run = TinyRun()
        layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"], activation=statistics(0.0))
        logarithm = run.op("aten::log", layer, nonfinite_order=1, culprit=Culprit((2, 1), value, (0.0,)))
        yield run.finish(logarithm, loss=float("nan"))
