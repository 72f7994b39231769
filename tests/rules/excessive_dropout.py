"""Runs in which `excessive-dropout` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def _run(op: str, **constants: object) -> Measurements:
    run = TinyRun()
    layer = run.op("aten::relu", run.op("aten::linear", "x", module="fc", weights=["fc.weight"]))
    dropout = run.op(op, layer, module="drop", constants=constants)
    return run.finish(run.op("aten::linear", dropout, module="head", weights=["head.weight"]))


def healthy() -> Iterator[Measurements]:
    yield _run("aten::dropout", p=0.5, train=True)
    yield _run("aten::dropout", p=0.95, train=False)
    yield _run("aten::scaled_dot_product_attention", dropout_p=0.1)


def sick() -> Iterator[Measurements]:
    yield _run("aten::dropout", p=0.9, train=True)
    yield _run("aten::feature_dropout", p=0.97, train=True)
    yield _run("aten::scaled_dot_product_attention", dropout_p=0.95)
