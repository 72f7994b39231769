"""Runs in which `unused-parameter` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    for case in ("eval", "expert"):
        run = TinyRun()
        run.parameter("pooler.weight" if case == "eval" else "experts.1.weight")
        run.evaluation_mode("pooler")
        if case == "expert":
            run.op("aten::linear", "x", module="experts.1", weights=["experts.1.weight"], calls=0)
        yield run.finish(run.op("aten::linear", "x", module="experts.0", weights=["experts.0.weight"]))


def sick() -> Iterator[Measurements]:
    for read in (False, True):
        run = TinyRun()
        run.parameter("extra.weight")
        if read:
            run.op("aten::linear", "x", module="extra", weights=["extra.weight"])
        yield run.finish(run.op("aten::linear", "x", module="head", weights=["head.weight"]))
