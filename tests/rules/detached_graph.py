"""Runs in which `detached-graph` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun()  # stop-gradient target: the encoder learns through the other branch
    encoded = run.op("aten::linear", "x", module="encoder", weights=["encoder.weight"])
    predicted = run.op("aten::linear", encoded, module="predictor", weights=["predictor.weight"])
    yield run.finish(run.op("aten::sub", predicted, run.op("aten::detach", encoded)))


def sick() -> Iterator[Measurements]:
    for op, grad_enabled in (("aten::detach", True), ("aten::relu", False), ("aten::tensor", True)):
        run = TinyRun()
        encoded = run.op("aten::linear", "x", module="encoder", weights=["encoder.weight"])
        severed = run.op(op, encoded, grad_enabled=grad_enabled, requires_grad=False)
        yield run.finish(run.op("aten::linear", severed, module="head", weights=["head.weight"]))
