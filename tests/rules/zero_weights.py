"""Runs in which `zero-weights` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun, statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun()  # a head of zeros: what is before it waits for one step
    run.parameter("head.weight", weight=statistics(0.0))
    body = run.op("aten::linear", "x", module="body", weights=["body.weight"], gradient=0.0)
    yield run.finish(run.op("aten::linear", body, module="head", weights=["head.weight"]))


def sick() -> Iterator[Measurements]:
    for frozen in (False, True):
        run = TinyRun()
        run.parameter("up.weight", weight=statistics(0.0), trainable=not frozen, gradient=0.0)
        zero = {} if frozen else {"activation": statistics(0.0)}
        run.parameter("down.weight", weight=statistics(float(frozen)), gradient=0.0)
        down = run.op("aten::linear", "x", module="down", weights=["down.weight"], gradient=0.0, **zero)
        yield run.finish(run.op("aten::linear", down, module="up", weights=["up.weight"]))
