"""Runs in which `symmetric-weights` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun, statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun()  # a head of zeros: absent classes get equal gradients, and the loss tells classes apart
    run.parameter("head.weight", weight=statistics(0.0), twin_rows=0.9)
    body = run.op("aten::linear", "x", module="body", weights=["body.weight"])
    yield run.finish(run.op("aten::linear", body, module="head", weights=["head.weight"]))


def sick() -> Iterator[Measurements]:
    run = TinyRun()  # every parameter is one constant: nothing but rounding gets past the head
    run.parameter("head.weight", weight=statistics(0.1, min=0.1, max=0.1), twin_columns=1.0)
    run.parameter("body.weight", weight=statistics(0.1, min=0.1, max=0.1), gradient=1e-9)
    body = run.op("aten::linear", "x", module="body", weights=["body.weight"])
    yield run.finish(run.op("aten::linear", run.op("aten::tanh", body), module="head", weights=["head.weight"]))
    for op, rows, columns in (("aten::linear", 1.0, 0.0), ("aten::matmul", 0.0, 1.0), ("aten::conv2d", 0.75, 0.0)):
        run = TinyRun()
        run.parameter("body.weight", twin_rows=rows, twin_columns=columns)
        body = run.op(op, "x", module="body", weights=["body.weight"])
        yield run.finish(run.op("aten::linear", run.op("aten::tanh", body), module="head", weights=["head.weight"]))
