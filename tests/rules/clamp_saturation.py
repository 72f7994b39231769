"""Runs in which `clamp-saturation` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun, statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    for flat in (0.3, None):
        run = TinyRun()
        layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"])
        yield run.finish(run.op("aten::clamp", layer, constants={"min": -1, "max": 1}, flat_share=flat))


def sick() -> Iterator[Measurements]:
    for op, off, gradient in (("aten::clamp", 1.0, 0.0), ("aten::clamp_", 0.8, 0.1), ("aten::minimum", None, 0.0)):
        run = TinyRun()
        layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"], gradient=gradient)
        bounds = {"min": -1, "max": 1} if off else {}
        yield run.finish(
            run.op(op, layer, "x", flat_share=off, constants=bounds, activation=statistics(1.0, min=1.0, max=1.0))
        )
