"""Runs in which `saturated-activation` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.measurements import Gate
from rules.tiny_run import TinyRun, statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    for op, flat in (("aten::tanh", 0.1), ("aten::hardtanh", 0.35), ("aten::relu6", 0.5)):
        run = TinyRun()
        layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"])
        yield run.finish(run.op(op, layer, flat_share=flat))
    run = TinyRun()  # a forget gate that is held open for most units
    layer = run.op("aten::lstm", "x", module="lstm", weights=["lstm.weight_ih_l0"], gates=(Gate("forget gate", 0.6),))
    yield run.finish(layer)


def sick() -> Iterator[Measurements]:
    run = TinyRun()
    layer = run.op("aten::gru", "x", module="gru", weights=["gru.weight_ih_l0"])
    run.amend(layer, gates=(Gate("reset gate", 0.1), Gate("update gate", 1.0), Gate("new state", 0.0)))
    yield run.finish(layer)
    for op, flat, input_rms in (("aten::sigmoid", 1.0, 300.0), ("aten::tanh_", 0.7, 8.0), ("aten::relu6", 0.95, 60.0)):
        run = TinyRun()
        layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"], activation=statistics(input_rms))
        yield run.finish(run.op(op, layer, flat_share=flat))
