"""Runs in which `flat-loss` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun
from rules.tiny_terms import run_of, term

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    yield run_of(term("cross_entropy", 0, target={"ignored": 5}))
    yield run_of(term("triplet_margin_loss", 0))


def sick() -> Iterator[Measurements]:
    yield run_of(term("cross_entropy", 0, target={"ignored": 32, "counts": (), "min": math.nan}), loss=math.nan)
    run = TinyRun()
    error = run.op("aten::square", run.op("aten::linear", "x", weights=["fc.weight"], gradient=0.0), gradient=0.0)
    total = run.op("aten::sum", run.op("aten::mul", error, "mask"))
    yield run.finish(total, loss=0.0, loss_kind="model", loss_name="")
