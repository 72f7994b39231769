"""Runs in which `ill-conditioned-op` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.measurements import Culprit
from rules.tiny_run import TinyRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def _run(op: str, gain: float, *, carried: bool = True) -> Measurements:
    run = TinyRun()
    run.parameter("fc.weight", gradient=gain if carried else 1.0)
    layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"], gradient=gain)
    run.amend(layer, gradient_peak=Culprit((3, 1), gain, (1e-9,)))
    steep = run.op("aten::tanh", run.op(op, layer))
    return run.finish(run.op("aten::linear", steep, module="head", weights=["head.weight"]))


def healthy() -> Iterator[Measurements]:
    yield _run("aten::layer_norm", 300.0)
    yield _run("aten::sqrt", 5e6, carried=False)  # the root of a square plus epsilon, at zero
    yield _run("aten::linear", 1e8)  # that is another fault


def sick() -> Iterator[Measurements]:
    yield _run("aten::div", 1e7)
    yield _run("aten::log", 1e20, carried=False)
