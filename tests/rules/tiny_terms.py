"""Calls of loss functions written by hand, for the healthy and sick cases of the rules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradclinic_engine.measurements import LossTerm, Measurements, Prediction, Target
from rules.tiny_run import TinyRun

if TYPE_CHECKING:
    from collections.abc import Iterable

CLASSES = tuple((each, 8) for each in range(4))


def term(
    name: str,
    *given_by: int,
    prediction: dict[str, Any] | None = None,
    target: dict[str, Any] | None = None,
    **known: Any,
) -> LossTerm:
    """A healthy call of a loss on 32 samples and 4 classes or features, with these changes."""
    got = Prediction(given_by, (32, 4), "float32", -1.5, 1.5, 0)
    if name in ("cross_entropy", "nll_loss"):
        wanted = Target("target", ("target:target",), (32,), "int64", 0.0, 3.0, counts=CLASSES)
    else:
        spread = tuple(-1.0 + 0.2 * step for step in range(11))
        wanted = Target("target", ("target:target",), (32, 4), "float32", -1.0, 1.0, deciles=spread)
    base = LossTerm(name, -1, {}, replace(got, **prediction or {}), (replace(wanted, **target or {}),))
    return replace(base, **known)


def run_of(term_of: Iterable[LossTerm] | LossTerm, **known: Any) -> Measurements:
    """A linear layer and this loss on its output."""
    terms = (term_of,) if isinstance(term_of, LossTerm) else tuple(term_of)
    run = TinyRun()
    layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"], shape=(32, 4))
    name = known.pop("loss_name", terms[0].name)
    return run.finish(layer, loss_name=name, terms=terms, **known)
