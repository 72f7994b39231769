"""Runs in which `overwritten-value` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun()  # a part is overwritten, another part carries the gradient
    body = run.op("aten::linear", "x", module="body", weights=["body.weight"])
    written = run.op("aten::copy_", body, "x")
    yield run.finish(run.op("aten::linear", written, module="head", weights=["head.weight"]))


def sick() -> Iterator[Measurements]:
    run = TinyRun()
    body = run.op("aten::linear", "x", module="body", weights=["body.weight"], gradient=0.0)
    yield run.finish(run.op("aten::linear", run.op("aten::zero_", body), module="head", weights=["head.weight"]))
    run = TinyRun()
    left = run.op("aten::linear", "x", module="left", weights=["left.weight"])
    right = run.op("aten::linear", "x", module="right", weights=["right.weight"], gradient=0.0)
    part = run.op(
        "aten::slice", run.op("aten::cat", left, right, arguments=((left, right),)), is_view=True, shape=(8, 4)
    )
    yield run.finish(run.op("aten::tanh", part))
