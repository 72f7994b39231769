"""The archive was traced in eval mode, or frozen: it does not train as the model that it was made from.

## What it means
A trace records what was done, not why. Traced in eval mode, dropout is gone and BatchNorm uses its running statistics
for good; calling `train()` on the archive changes nothing. `torch.jit.freeze` goes further: it turns parameters into
constants, so that nothing is left to train.

## Why it happens
- `model.eval()` before `torch.jit.trace`, as every tutorial on deployment has it;
- `torch.jit.freeze` or `torch.jit.optimize_for_inference` on what was to be trained further.

## How it is measured
A trace whose root module (or all of whose dropout) is in eval mode and whose dropout (p > 0) or BatchNorm operations
have their flags as constants: WARNING with BatchNorm, INFO where it is dropout alone. No parameters, but layers whose
weights are constants: CRITICAL. A trace made in training mode in which single BatchNorm layers are frozen is taken as
meant.

## Example
    scripted = torch.jit.trace(model.eval(), example)      # then trained

## What to do
`torch.jit.script(model)`, or `torch.jit.trace(model.train(), example)`; freeze only what is deployed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed
from gradclinic_engine.reading.modes import drops, frozen_layers, traced_in_eval_mode
from gradclinic_engine.reading.normalization import batch_norms, is_training, running_statistics
from gradclinic_engine.records import Evidence, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths
    from gradclinic_engine.records import Finding

REMEDIES = (
    "Script the model instead (`torch.jit.script(model)`): then `train()` and `eval()` keep their meaning.",
    "Or trace it in training mode: `torch.jit.trace(model.train(), example)`.",
    "Freeze (`torch.jit.freeze`) only the copy that is deployed.",
)


def check(paths: Paths) -> Iterator[Finding]:
    """At most one finding: it is the archive as a whole."""
    measurements = paths.measurements
    frozen = frozen_layers(measurements)
    if frozen:
        yield _frozen(frozen)
    elif traced_in_eval_mode(measurements):
        norms = [s for s in batch_norms(measurements) if not is_training(s) and running_statistics(paths, s)]
        dropouts = [site for site in measurements.sites if _is_switched_off(site)]
        if norms or dropouts:
            yield _baked(norms, dropouts)


def _is_switched_off(site: Site) -> bool:
    return bool(site.calls) and drops(site) and site.constants.get("train") is False


def _frozen(layers: list[Site]) -> Finding:
    return RULE.finding(
        Severity.CRITICAL,
        Location(module=""),
        f"The archive has no parameters: the weights of {len(layers)} layer(s) are constants, as `torch.jit.freeze` "
        "leaves them. Nothing can be trained.",
        REMEDIES,
        evidence=(Evidence("layers_with_constant_weights", len(layers), "layers", 0),),
        sites=tuple(site.index for site in layers),
    )


def _baked(norms: list[Site], dropouts: list[Site]) -> Finding:
    baked = sorted([*norms, *dropouts], key=lambda site: site.first_call_order)
    names = list(dict.fromkeys(f"`{site.module}`" if site.module else site.op for site in baked))
    first = norms[0] if norms else dropouts[0]
    return RULE.finding(
        Severity.WARNING if norms else Severity.INFO,
        Location(module=first.module, op=first.op, source=first.source),
        f"This is a trace of a model in eval mode: {listed(names)} keep{'s' if len(names) == 1 else ''} to eval mode "
        "whatever is called later. "
        + ("BatchNorm never adapts to the data it is trained on. " if norms else "There is no dropout in training. "),
        REMEDIES,
        evidence=(
            Evidence("batch_norms_in_eval_mode", len(norms), "operations", 0),
            Evidence("dropouts_switched_off", len(dropouts), "operations", 0),
        ),
        affected=tuple(dict.fromkeys(site.module for site in baked if site.module)),
        sites=tuple(site.index for site in baked),
    )


RULE = Rule("inference-trace", Symptom.MODE, __doc__, check)
