"""Which findings about the loss, the target and the inputs stand for others: one cause, one finding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.records import Severity, Symptom

if TYPE_CHECKING:
    from gradclinic_engine.judging.rule import Rule
    from gradclinic_engine.reading.paths import Paths
    from gradclinic_engine.records import Finding

# Where the first stands, the others are the same fault seen from elsewhere.
STANDS_FOR = {
    "target-out-of-range": {"constant-target", "class-imbalance", "unbounded-loss", "output-activation-mismatch"},
    "target-mismatch": {"constant-target", "class-imbalance", "shape-broadcast"},
    "shape-broadcast": {"output-activation-mismatch", "constant-target", "class-imbalance"},
    "softmax-dimension": {"missing-softmax", "unbounded-loss", "double-softmax", "sample-leak"},
    "missing-softmax": {"unbounded-loss", "target-out-of-range"},
    "double-softmax": {"output-activation-mismatch"},
    "duplicate-samples": {"constant-input", "constant-target"},
    "constant-target": {"class-imbalance"},
    "flat-loss": {"constant-target", "class-imbalance", "unbounded-loss", "converged", "loss-disconnected"},
}
# They stand in another section, and are about the loss all the same.
RULES_OF_THE_LOSS = frozenset({"flat-loss", "converged"})
# A loss that is flat as a whole explains every gradient that is zero, and the NaN of a mean over nothing.
OUTSIDE_OF_THE_LOSS = frozenset({"flat-loss", "non-finite-input", "frozen-parameter"})
SYMPTOMS_OF_FLATNESS = frozenset({Symptom.ZERO_GRADIENT, Symptom.VANISHING, Symptom.EXPLODING, Symptom.NON_FINITE})

# Where the input's scale puts the first layer, these show behind it.
SYMPTOMS_OF_SCALE = frozenset({"saturated-activation", "exploding-gradient", "vanishing-gradient", "dead-relu"})


def seen_by(rule: Rule, paths: Paths) -> Paths:
    """What a rule looks at: rules about the loss see the operations of a loss module behind those of the model."""
    sees_loss = rule.symptom is Symptom.LOSS or rule.code in RULES_OF_THE_LOSS
    return paths.with_loss if sees_loss else paths


def settle(_: Paths, found: list[Finding]) -> list[Finding]:
    """Leaves out what another finding stands for."""
    codes = {finding.code for finding in found if finding.severity > Severity.INFO}
    dropped = set().union(*(STANDS_FOR.get(code, set()) for code in codes))
    kept = [finding for finding in found if finding.code not in dropped]
    unscaled = {index for finding in found if finding.code == "unscaled-input" for index in finding.sites}
    if unscaled:
        kept = [each for each in kept if each.code not in SYMPTOMS_OF_SCALE or not unscaled.intersection(each.sites)]
    if "flat-loss" in codes:
        kept = [each for each in kept if each.symptom not in SYMPTOMS_OF_FLATNESS or each.code in OUTSIDE_OF_THE_LOSS]
    return kept
