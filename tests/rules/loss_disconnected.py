"""Runs in which `loss-disconnected` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun()
    yield run.finish(run.op("aten::linear", "x", module="fc", weights=["fc.weight"]))


def sick() -> Iterator[Measurements]:
    run = TinyRun()
    run.op("aten::linear", "x", module="fc", weights=["fc.weight"])
    yield run.finish(run.op("aten::relu", "x"))
    run = TinyRun()
    yield run.finish(run.op("aten::relu", "x"))
