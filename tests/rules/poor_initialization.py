"""Runs in which `poor-initialization` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun, statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def _stack(deviation: float, gain: float, *, op: str = "aten::relu", depth: int = 10) -> Measurements:
    """Layers of width 64 with weights of this RMS; each multiplies values and gradients by ``gain``."""
    run = TinyRun()
    value: int | str = "x"
    for layer in range(depth):
        weight = f"{layer}.weight"
        run.parameter(weight, shape=(64, 64), weight=statistics(deviation, mean=layer / 1e6))
        seen = statistics(gain**layer)
        back = gain ** (depth - layer)
        value = run.op("aten::linear", value, module=str(layer), weights=[weight], activation=seen, gradient=back)
        value = run.op(op, value, activation=seen, gradient=back)
    return run.finish(run.op("aten::linear", value, module="head", weights=["head.weight"]))


def healthy() -> Iterator[Measurements]:
    yield _stack(0.072, 0.5)  # torch's own initialisation
    yield _stack(0.01, 1.0)  # small weights, but something makes up for it


def sick() -> Iterator[Measurements]:
    yield _stack(0.01, 0.06)
    yield _stack(1.0, 5.7)
    yield _stack(0.02, 0.16, op="aten::tanh", depth=14)
