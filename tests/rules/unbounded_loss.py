"""Runs in which `unbounded-loss` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def _tiny(*, sign: str, op: str) -> Measurements:
    run = TinyRun()
    layer = run.op("aten::linear", "x", weights=["fc.weight"])
    error = run.op(op, layer, arguments=((layer,),))
    value = run.op("aten::mean", error, arguments=((error,),), shape=())
    if sign == "-":
        value = run.op("aten::neg", value, arguments=((value,),), shape=())
    return run.finish(value, loss_kind="model", loss_name="")


def healthy() -> Iterator[Measurements]:
    yield _tiny(sign="+", op="aten::square")
    yield _tiny(sign="-", op="aten::log_softmax")


def sick() -> Iterator[Measurements]:
    yield _tiny(sign="-", op="aten::square")
    yield _tiny(sign="+", op="aten::log_softmax")
