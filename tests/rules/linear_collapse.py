"""Runs in which `linear-collapse` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def _run(*shapes: tuple[int, int], between: str = "") -> Measurements:
    run = TinyRun()
    value: int | str = "x"
    for place, shape in enumerate(shapes):
        run.parameter(f"{place}.weight", shape=shape)
        value = run.op("aten::linear", value, module=str(place), weights=[f"{place}.weight"])
        if between and place + 1 < len(shapes):
            value = run.op(between, value)
    return run.finish(int(value))


def healthy() -> Iterator[Measurements]:
    yield _run((8, 16), (4, 8), between="aten::relu")
    yield _run((4, 16), (16, 4))  # low rank


def sick() -> Iterator[Measurements]:
    yield _run((16, 8), (4, 16))
    yield _run((8, 8), (8, 8), (8, 8), between="aten::dropout")
