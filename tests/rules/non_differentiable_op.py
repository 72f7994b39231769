"""Runs in which `non-differentiable-op` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun()  # a hard mask beside the soft way
    scores = run.op("aten::linear", "x", weights=["gate.weight"])
    yield run.finish(run.op("aten::mul", scores, run.op("aten::gt", scores, dtype="bool")))


def sick() -> Iterator[Measurements]:
    for op, dtype in (("aten::argmax", "int64"), ("aten::gt", "bool"), ("aten::item", "float32")):
        run = TinyRun()
        scores = run.op("aten::linear", "x", weights=["gate.weight"])
        yield run.finish(run.op("aten::mul", run.op(op, scores, dtype=dtype), "x", weights=["scale"]))
