"""Runs in which `shape-broadcast` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun
from rules.tiny_terms import run_of, term

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    yield run_of(term("mse_loss", 0))
    yield run_of(term("mse_loss", 0, target={"shape": ()}))
    run = TinyRun()
    score = run.op("aten::linear", "x", weights=["fc.weight"], shape=(8,))
    column = run.op("aten::unsqueeze", score, shape=(8, 1), arguments=((score,),))
    yield run.finish(run.op("aten::sub", column, score, arguments=((column,), (score,))))


def sick() -> Iterator[Measurements]:
    yield run_of(term("mse_loss", 0, prediction={"shape": (32, 1)}, target={"shape": (32,)}))
    run = TinyRun()
    column = run.op("aten::linear", "x", weights=["fc.weight"], shape=(32, 1))
    target = run.op("aten::select", "y", shape=(32,))
    yield run.finish(run.op("aten::sub", column, target, shape=(32, 32), arguments=((column,), (target,))))
