"""Runs in which `executor-dependent` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.measurements import ExecutorDifference, GradientStatus
from rules.tiny_run import TinyRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def _run(plain_status: GradientStatus, optimised: GradientStatus | None, op: str) -> Measurements:
    run = TinyRun()
    layer = run.op("aten::relu", run.op("aten::linear", "x", module="fc", weights=["fc.weight"]))
    end = run.op("aten::linear", run.op(op, layer), module="head", weights=["head.weight"])
    differences = (ExecutorDifference("fc.weight", plain_status, optimised),) if optimised else ()
    return run.finish(end, executor_differences=differences)


def healthy() -> Iterator[Measurements]:
    yield _run(GradientStatus.FLOWING, None, "aten::sqrt")


def sick() -> Iterator[Measurements]:
    yield _run(GradientStatus.FLOWING, GradientStatus.NON_FINITE, "aten::sqrt")
    yield _run(GradientStatus.FLOWING, GradientStatus.ZERO, "aten::minimum")
