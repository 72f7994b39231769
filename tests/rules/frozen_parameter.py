"""Runs in which `frozen-parameter` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun()  # a frozen backbone
    run.parameter("backbone.weight", trainable=False)
    features = run.op("aten::linear", "x", module="backbone", weights=["backbone.weight"])
    yield run.finish(run.op("aten::linear", features, module="head", weights=["head.weight"]))


def sick() -> Iterator[Measurements]:
    run = TinyRun()
    run.parameter("head.weight", trainable=False)
    yield run.finish(run.op("aten::linear", "x", module="head", weights=["head.weight"]))
