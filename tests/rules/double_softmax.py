"""Runs in which `double-softmax` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun
from rules.tiny_terms import term

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    run = TinyRun()
    layer = run.op("aten::linear", "x", weights=["fc.weight"])
    output = run.op("aten::log_softmax", layer)
    yield run.finish(output, loss_name="cross_entropy", terms=(term("cross_entropy", output),))


def sick() -> Iterator[Measurements]:
    for op, name in (("aten::softmax", "cross_entropy"), ("aten::sigmoid", "binary_cross_entropy_with_logits")):
        run = TinyRun()
        squashed = run.op(op, run.op("aten::linear", "x", weights=["fc.weight"]))
        output = run.op("aten::squeeze", squashed, arguments=((squashed,),))
        called = term(name, output, target={"min": 0.0, "max": 1.0} if "binary" in name else {})
        yield run.finish(output, loss_name=name, terms=(called,))
    run = TinyRun()  # written by hand
    output = run.op("aten::mul", run.op("aten::linear", "x", weights=["fc.weight"]))
    called = term("cross_entropy", output, prediction={"min": 0.0, "max": 1.0, "probability_dims": (1,)})
    yield run.finish(output, loss_name="cross_entropy", terms=(called,))
