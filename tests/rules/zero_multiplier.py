"""Runs in which `zero-multiplier` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun, statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun()  # a mask that is partly zero
    body = run.op("aten::linear", "x", module="body", weights=["body.weight"])
    mask = run.op("aten::to", "x", activation=statistics(zero_count=32))
    yield run.finish(run.op("aten::mul", body, mask))


def sick() -> Iterator[Measurements]:
    for op, constants in (("aten::mul", {"other": 0.0}), ("aten::dropout", {"p": 1.0, "train": True})):
        run = TinyRun()
        run.parameter("head.weight", gradient=0.0)
        body = run.op("aten::linear", "x", module="body", weights=["body.weight"], gradient=0.0)
        gone = run.op(op, body, constants=constants, activation=statistics(0.0))
        skip = run.op("aten::linear", "x", module="skip", weights=["skip.weight"])
        yield run.finish(
            run.op("aten::add", skip, run.op("aten::linear", gone, module="head", weights=["head.weight"]))
        )
