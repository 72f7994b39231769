"""Runs in which `degenerate-normalization` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun, statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun()
    layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"])
    normal = run.op("aten::layer_norm", layer, constants={"normalized_shape": (8,)})
    yield run.finish(run.op("aten::softmax", normal, constants={"dim": 1}))


def sick() -> Iterator[Measurements]:
    for op, constants in (("aten::softmax", {"dim": -1}), ("aten::layer_norm", {"normalized_shape": (1,)})):
        run = TinyRun()
        layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"], gradient=0.0, shape=(64, 1))
        yield run.finish(run.op(op, layer, constants=constants, shape=(64, 1), activation=statistics(1.0)))
    run = TinyRun()
    pooled = run.op("aten::conv2d", "x", module="conv", weights=["conv.weight"])
    run.op("aten::instance_norm", pooled, module="norm", calls=0)
    yield run.finish(loss=float("nan"), loss_error="ValueError: Expected more than 1 spatial element when training")
    run = TinyRun()
    layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"], gradient=1e-9, shape=(64, 1))
    total = run.op("aten::sum", layer, constants={"dim": (1,)}, shape=(64, 1))
    yield run.finish(run.op("aten::div", layer, total, shape=(64, 1)))
