"""Runs in which `frozen-normalization` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.measurements import NormFit
from rules.tiny_run import TinyRun, statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def _run(spread: float, offset: float = 0.0, *, training: bool = False) -> Measurements:
    run = TinyRun()
    layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"])
    buffers = (run.buffer("norm.running_mean", statistics(2.0)), run.buffer("norm.running_var", statistics(0.1)))
    norm = run.op(
        *("aten::batch_norm", layer),
        module="norm",
        weights=["norm.weight"],
        buffers=buffers,
        norm_fit=NormFit(spread, offset),
        constants={"training": training},
    )
    return run.finish(run.op("aten::linear", norm, module="head", weights=["head.weight"]))


def healthy() -> Iterator[Measurements]:
    yield _run(1.0)
    yield _run(3.0, 2.0)
    yield _run(400.0, training=True)


def sick() -> Iterator[Measurements]:
    yield _run(400.0)
    yield _run(0.9, 30.0)
    yield _run(0.01)
