"""A parameter's gradient is exactly zero because what it multiplies is exactly zero.

## What it means
The gradient of a weight is the gradient at its output times its input. Where the input is zero for the whole batch, the
weight gets nothing, however large the loss is.

## Why it happens
- an input is a placeholder, a modality is missing, a file could not be read and was filled with zeros;
- features are masked or zeroed before the layer; a tensor was allocated and never filled;
- the state of a recurrent layer starts at zero and the sequence has only one step (harmless).

## How it is measured
At each operation at which a gradient arrives, and from which exactly zero goes on to a weight: whether the other
operand is all zero, and where its zeros come from. CRITICAL for zeros that stand in the program, and for an input that
is all zero. INFO where the weight maps a state to a state of the same width (or several of them, as gates do) beside
another input, and zeros are what such a state starts with. There is no threshold.

## Example
    audio = torch.zeros(batch, 128)            # "to be added later"
    return self.head(self.image(image) + self.audio(audio))

## What to do
Feed the real data, take the branch out, or freeze it until its data are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Formula
from gradclinic_engine.graph.op import Kind as OpKind
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed
from gradclinic_engine.reading.zero_causes import Cause, Why, zero_causes
from gradclinic_engine.reading.zero_origins import Kind
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.graph.op import Op
    from gradclinic_engine.measurements import Parameter, Site
    from gradclinic_engine.reading.paths import Paths

# One gate each: plain, none, GRU, LSTM.
GATES = (1, 3, 4)
# A GRU multiplies a part of its state with a gate before it adds it.
STEPS_TO_SUM = 3


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each source of zeros."""
    for cause in zero_causes(paths, Why.INPUT):
        starved = [p for p in paths.measurements.parameters if p.name in cause.parameters]
        yield _finding(paths, cause, starved)


def _finding(paths: Paths, cause: Cause, starved: list[Parameter]) -> Finding:
    first, origin = starved[0], cause.origin
    name = f"input:{origin.name}" if origin and origin.kind is Kind.INPUT else None
    source = "an operand"
    if origin:
        source = (
            f"`{origin.name}`" if origin.name else f"the result of {Location.of(origin.site)}" if origin.site else ""
        )
    is_state = all(_maps_a_state(paths, cause, parameter) for parameter in starved)
    names = listed([parameter.name for parameter in starved])
    return RULE.finding(
        severity=Severity.INFO if is_state else Severity.CRITICAL,
        location=Location(
            parameter=first.name, module=first.module, name=name, op=cause.site.op, source=cause.site.source
        ),
        explanation=f"{names} {'multiplies' if len(starved) == 1 else 'multiply'} {source}, which is zero in every "
        f"element, so the gradient is exactly zero. "
        + (
            "This is how a recurrent state starts; longer sequences change it."
            if is_state
            else "Nothing can be learnt."
        ),
        remedies=("Nothing, if this is the first state of a sequence.",)
        if is_state
        else (
            "Check where these values are loaded or made: they should not all be zero.",
            "Take the branch out, or freeze its parameters, as long as there are no data for it.",
        ),
        evidence=(
            Evidence("operand_rms", 0.0, "1", 0.0, text=f"{source} is all zero"),
            Evidence("parameters_with_zero_gradient", len(starved), "parameters", 0),
        ),
        affected=tuple(parameter.name for parameter in starved),
        sites=(cause.site.index,),
    )


def _maps_a_state(paths: Paths, cause: Cause, weight: Parameter) -> bool:
    """Whether a weight looks like the recurrent one of a cell: to gates of the width it reads, beside another input."""
    site = cause.site
    if op_of(site).is_cell:
        return f"parameter:{weight.name}" in site.arguments[3]
    if op_of(site).kind is OpKind.RECURRENCE:
        return "weight_hh" in weight.name
    if len(weight.shape) != 2:  # noqa: PLR2004 - a matrix
        return False
    wide, narrow = max(weight.shape), min(weight.shape)
    return wide % narrow == 0 and wide // narrow in GATES and _is_added(paths, site)


def _adds(op: Op) -> bool:
    is_biased_product = op.kind is OpKind.PRODUCT and op.bias_at == 0
    return op.formula is Formula.ADD or op.kind is OpKind.JOINING or is_biased_product


def _splits(op: Op) -> bool:
    return op.formula is Formula.MULTIPLY or op.kind is OpKind.PART


def _is_added(paths: Paths, site: Site) -> bool:
    """Whether something else is added to a value, or to the gates that it is split into."""
    waiting = [site]
    for _ in range(STEPS_TO_SUM):
        readers = [reader for each in waiting for reader in paths.readers(each)]
        if any(_adds(op_of(reader)) for reader in readers):
            return True
        waiting = [reader for reader in readers if reader.is_view or _splits(op_of(reader))]
    return False


RULE = Rule("zero-input", Symptom.ZERO_GRADIENT, __doc__, check)
