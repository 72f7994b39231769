"""Runs in which `shadowed-parameter` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.measurements import Tensor
from rules.tiny_run import TinyRun, statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun()  # a teacher that was copied from what learns
    run.parameter("online.weight", weight=statistics(1.0))
    run.parameter("teacher.weight", weight=statistics(1.0), trainable=False)
    online = run.op("aten::linear", "x", module="online", weights=["online.weight"])
    yield run.finish(run.op("aten::sub", online, run.op("aten::linear", "x", weights=["teacher.weight"])))


def sick() -> Iterator[Measurements]:
    values = statistics(0.5)
    run = TinyRun()
    run.parameter("weight", weight=values)
    copied = run.op("aten::linear", "x", buffers=("kernel",))
    head = run.op("aten::linear", copied, module="head", weights=["head.weight"])
    yield run.finish(head, buffers=(Tensor("kernel", (8, 8), "float32", values),))
    run = TinyRun()
    run.parameter("weight", weight=values)
    constant = run.op("prim::Constant", activation=values)
    head = run.op("aten::linear", run.op("aten::matmul", "x", constant), module="head", weights=["head.weight"])
    yield run.finish(head)
