"""Runs in which `zero-input` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun, statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun(x=statistics(), h=statistics(0.0))
    run.parameter("cell.weight_hh", gradient=0.0, shape=(32, 8))
    state = run.op("aten::linear", "h", module="cell", weights=["cell.weight_hh"])
    fresh = run.op("aten::linear", "x", module="cell", weights=["cell.weight_ih"])
    yield run.finish(run.op("aten::add", fresh, state))


def sick() -> Iterator[Measurements]:
    run = TinyRun(x=statistics(0.0))
    run.parameter("fc.weight", gradient=0.0)
    yield run.finish(run.op("aten::linear", "x", module="fc", weights=["fc.weight"]))
    run = TinyRun()
    run.parameter("audio.weight", gradient=0.0, shape=(8, 20))
    made = run.op("aten::zeros", activation=statistics(0.0))
    audio = run.op("aten::linear", made, module="audio", weights=["audio.weight"])
    yield run.finish(run.op("aten::add", audio, run.op("aten::linear", "x", weights=["image.weight"])))
