"""Runs in which `non-finite-backward` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.measurements import Culprit, GradientStatus
from rules.tiny_run import TinyRun, statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun()
    layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"])
    yield run.finish(run.op("aten::sqrt", layer))


def sick() -> Iterator[Measurements]:
    for op in ("aten::sqrt", "aten::pow", "aten::acos_"):
        run = TinyRun()
        run.parameter("fc.weight", status=GradientStatus.NON_FINITE)
        layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"])
        run.amend(
            layer,
            gradient=statistics(nonfinite_count=1),
            gradient_order=1,
            gradient_culprit=Culprit((3, 0), float("inf")),
        )
        yield run.finish(run.op(op, layer, gradient_order=0))
