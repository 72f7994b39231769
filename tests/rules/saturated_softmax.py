"""Runs in which `saturated-softmax` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun, statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun()
    logits = run.op("aten::linear", "x", module="fc", weights=["fc.weight"])
    yield run.finish(run.op("aten::softmax", logits, constants={"dim": -1}, activation=statistics(0.2)))


def sick() -> Iterator[Measurements]:
    one_hot = statistics(sqrt(1 / 8), min=0.0, max=1.0)
    run = TinyRun()
    logits = run.op("aten::linear", "x", module="fc", weights=["fc.weight"], activation=statistics(400.0))
    yield run.finish(run.op("aten::softmax", logits, constants={"dim": -1}, activation=one_hot))
    tied = statistics(sqrt(0.07), zero_count=56, min=0.0, max=1.0)  # one or two entries of each row of eight
    run = TinyRun()
    logits = run.op("aten::linear", "x", module="fc", weights=["fc.weight"], activation=statistics(400.0))
    yield run.finish(run.op("aten::softmax", logits, constants={"dim": -1}, activation=tied))
    run = TinyRun()
    query = run.op("aten::linear", "x", module="q", weights=["q.weight"])
    yield run.finish(run.op("aten::scaled_dot_product_attention", query, query, "x", softness=0.002))
