"""Runs in which `softmax-dimension` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun, statistics
from rules.tiny_terms import term

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def _tiny(dim: int, shape: tuple[int, ...]) -> Measurements:
    run = TinyRun(x=statistics())
    layer = run.op("aten::linear", "x", weights=["fc.weight"], shape=shape, arguments=(("input:x",),))
    soft = run.op("aten::softmax", layer, shape=shape, constants={"dim": dim}, arguments=((layer,),))
    return run.finish(run.op("aten::matmul", soft, shape=(8, 3)))


def healthy() -> Iterator[Measurements]:
    yield _tiny(1, (8, 4))
    yield _tiny(0, (8, 8))  # every sample against every other


def sick() -> Iterator[Measurements]:
    yield _tiny(0, (8, 4))
    run = TinyRun()
    layer = run.op("aten::linear", "x", weights=["fc.weight"], shape=(32, 4))
    soft = run.op("aten::log_softmax", layer, shape=(32, 4), constants={"dim": 0})
    called = term("nll_loss", soft, prediction={"max": -0.1, "log_probability_dims": (0,)})
    yield run.finish(soft, terms=(called,), loss_name="nll_loss")
