"""From what the rules found to what is reported: one cause, one finding, worst first."""

from __future__ import annotations

import traceback
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gradclinic_engine.judging import loss_precedence
from gradclinic_engine.judging.trend_findings import TrendFinding
from gradclinic_engine.reading.paths import Paths
from gradclinic_engine.records import Evidence, Finding, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradclinic_engine.judging.rule import Rule
    from gradclinic_engine.measurements import Measurements

# Activations whose own state takes the gradient away.
SPREADING = frozenset({"dead-relu", "saturated-activation"})
# Where one place after the other shows these, the first is where to begin.
TOLD_ONCE = SPREADING | {"saturated-softmax", "symmetric-weights", "vanishing-gradient", "exploding-gradient"}
# What explains at least this share of a decay, in log scale, is its cause.
EXPLAINED_SHARE = 0.5
# Numbers measured downstream of NaN say nothing about these.
NEEDS_FINITE_NUMBERS = frozenset({Symptom.ZERO_GRADIENT, Symptom.VANISHING, Symptom.EXPLODING})
# What a cause at one place explains of what is found before or after it in the program.
EXPLAINS = {
    "frozen-normalization": SPREADING | {"vanishing-gradient", "exploding-gradient", "ill-conditioned-op"},
    "batch-too-small": SPREADING | {"vanishing-gradient", "degenerate-normalization", "zero-input"},
    "gradient-underflow": {"vanishing-gradient", "zero-input", "flat-loss", "converged"},
    "poor-initialization": {
        *("vanishing-gradient", "exploding-gradient", "non-finite-forward", "overflow-low-precision", "dead-relu"),
        *("gradient-underflow", "zero-input"),
    },
    "ill-conditioned-op": {"exploding-gradient"},
    "executor-dependent": {"non-finite-backward", "ill-conditioned-op"},
    "saturated-softmax": {"vanishing-gradient"},
    "saturated-activation": {"zero-input"},
    "degenerate-normalization": {"vanishing-gradient", "output-activation-mismatch"},
    "zero-multiplier": {"excessive-dropout"},
    "clamp-saturation": {"output-activation-mismatch"},
    "zero-weights": {"symmetric-weights"},
}
# What it explains wherever that is found.
EXPLAINS_ANYWHERE = {
    "inference-trace": {"loss-disconnected"},
    "gradient-underflow": {"flat-loss", "converged"},
    "frozen-normalization": {"inference-trace"},
    "zero-input": {"constant-input", "duplicate-samples", "unscaled-input"},
    "flat-loss": {"zero-multiplier"},
    "degenerate-normalization": {"executor-dependent"},
}
# At most so many findings of one code and severity are reported.
MAX_ALIKE = 20
# What is measured before values overflow, or says why the mean of nothing is NaN.
EXPLAINS_OVERFLOW = frozenset({"poor-initialization", "flat-loss"})
# What anything explains.
EFFECTS = frozenset({"vanishing-gradient", "exploding-gradient", "non-finite-backward"}).union(
    *EXPLAINS.values(), *EXPLAINS_ANYWHERE.values()
)
# What a cause takes over from its symptom.
CARRIED_EVIDENCE = frozenset({"relative_gradient_first_to_best", "gradient_factor_per_layer"})
BROKEN_FORWARD = frozenset({"non-finite-input", "non-finite-parameter", "non-finite-forward", "overflow-low-precision"})


@dataclass(frozen=True, slots=True)
class Bug:
    """A rule that raised instead of judging."""

    code: str
    trace: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found in a run, and what could not be judged."""

    paths: Paths  # of the run
    findings: tuple[Finding, ...]  # worst first
    bugs: tuple[Bug, ...] = ()


def judge(measurements: Measurements, rules: Iterable[Rule]) -> Judgement:
    """Applies every rule and resolves which code wins; a rule that raises does not take the others with it."""
    paths = Paths(measurements)
    found: list[Finding] = []
    bugs: list[Bug] = []
    for rule in rules:
        try:
            found.extend(rule.check(loss_precedence.seen_by(rule, paths)))
        except Exception:  # noqa: BLE001 - the boundary around rules: a bug in one is told, the others stand
            bugs.append(Bug(rule.code, traceback.format_exc()))
    for step in (_spoiled_by_nan, _spreading_from_one_place, _symptoms_of_causes, loss_precedence.settle):
        found = step(paths, found)
    ranked = _grouped(sorted(found, key=_rank))
    return Judgement(paths, tuple(sorted(ranked, key=_rank)), tuple(bugs))


def _rank(finding: Finding) -> tuple[int, int, int, str]:
    """Worst first; among equals the section of the catalogue, then the order of the program."""
    return -finding.severity.rank, list(Symptom).index(finding.symptom), min(finding.sites, default=-1), finding.code


def _grouped(ranked: list[Finding]) -> list[Finding]:
    """Of more than `MAX_ALIKE` findings of one code and severity, the last one represents all that would follow."""
    alike: defaultdict[tuple[str, Severity], list[Finding]] = defaultdict(list)
    for finding in ranked:
        alike[finding.code, finding.severity].append(finding)
    for kind, each in alike.items():
        if len(each) > MAX_ALIKE:
            alike[kind] = [*each[: MAX_ALIKE - 1], _together(each[MAX_ALIKE - 1 :])]
    return [finding for each in alike.values() for finding in each]


def _together(findings: list[Finding]) -> Finding:
    first, *others = findings
    suffering = [finding.affected or (str(finding.location),) for finding in findings]
    return replace(
        first,
        explanation=f"{first.explanation} The same holds for {len(others)} more, which are among the affected.",
        evidence=(*first.evidence, Evidence("findings_alike", len(others), "findings")),
        affected=tuple(dict.fromkeys(name for names in suffering for name in names)),
        sites=tuple(dict.fromkeys(site for finding in findings for site in finding.sites)),
    )


def _spoiled_by_nan(paths: Paths, found: list[Finding]) -> list[Finding]:
    """With a broken forward pass the rest of the numbers mean nothing; what comes in broken explains what follows."""
    broken = [finding for finding in found if finding.code in BROKEN_FORWARD and finding.severity is Severity.CRITICAL]
    if not broken:
        return found
    from_outside = [finding for finding in broken if finding.code != "non-finite-forward"]
    reached = paths.downstream(*(paths.sites[index] for finding in from_outside for index in finding.sites))
    target_is_bad = any(finding.location.name == "target" for finding in from_outside)
    return [
        finding
        for finding in found
        if (finding.symptom not in NEEDS_FINITE_NUMBERS or finding.code in EXPLAINS_OVERFLOW)
        and not (
            finding.code in ("non-finite-forward", "non-finite-backward")
            and from_outside
            and (reached.issuperset(finding.sites) if finding.sites else target_is_bad or reached)
        )
    ]


def _spreading_from_one_place(paths: Paths, found: list[Finding]) -> list[Finding]:
    """Of places one after the other with the same fault, the worst (then the first) stands for all."""
    kept: list[Finding] = []
    for finding in sorted(found, key=_rank):
        cause = next(
            (
                index
                for index, earlier in enumerate(kept)
                if finding.code in TOLD_ONCE and earlier.code == finding.code and _connected(paths, earlier, finding)
            ),
            None,
        )
        if cause is None:
            kept.append(finding)
        else:
            kept[cause] = _with_effect(kept[cause], finding)
    return kept


def _connected(paths: Paths, one: Finding, other: Finding) -> bool:
    here, there = ({index for index in finding.sites if index in paths.sites} for finding in (one, other))
    first = [paths.sites[index] for index in here]
    return bool(there & (paths.downstream(*first) | paths.upstream(*first)))


def _symptoms_of_causes(paths: Paths, found: list[Finding]) -> list[Finding]:
    """What another finding explains goes into that one."""
    kept = list(found)
    for symptom in (finding for finding in found if finding.code in EFFECTS):
        cause = next((other for other in kept if _causes(paths, other, symptom)), None)
        if cause is not None:
            kept[kept.index(cause)] = _with_effect(cause, symptom)
            kept.remove(symptom)
    return kept


def _causes(paths: Paths, cause: Finding, symptom: Finding) -> bool:
    match cause.code, symptom.code:
        case (("dead-relu" | "saturated-activation"), "vanishing-gradient"):
            bits = symptom.decay_bits if isinstance(symptom, TrendFinding) else {}
            explained = sum(each for index, each in bits.items() if index in cause.sites)
            return sum(bits.values()) > 0 and explained >= EXPLAINED_SHARE * sum(bits.values())
        case ("saturated-activation", "exploding-gradient") | ("exploding-gradient", "non-finite-backward"):
            return _connected(paths, cause, symptom)
        case known, effect if effect in EXPLAINS_ANYWHERE.get(known, ()):
            return cause.severity > Severity.INFO or symptom.severity is Severity.INFO
        case known, effect if effect in EXPLAINS.get(known, ()):
            return _connected(paths, cause, symptom)
        case _:
            return False


def _with_effect(cause: Finding, effect: Finding) -> Finding:
    """The cause, with what merely follows from it among the affected."""
    named = effect.location.module
    affected = dict.fromkeys([*cause.affected, *effect.affected, *([named] if named else [])])
    own = cause.location.module
    return replace(
        cause,
        affected=tuple(name for name in affected if name != own),
        sites=(*cause.sites, *effect.sites) if cause.code == effect.code else cause.sites,
        evidence=(
            *cause.evidence,
            *(item for item in effect.evidence if effect.code != cause.code and item.name in CARRIED_EVIDENCE),
        ),
    )
