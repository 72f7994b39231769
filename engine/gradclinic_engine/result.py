"""From what was measured and judged to the result that a user gets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from gradclinic_engine.records import (
    DiagnosisResult,
    Evidence,
    Finding,
    Location,
    ParameterGradient,
    Proof,
    Site,
    Unobserved,
    Verdict,
)

if TYPE_CHECKING:
    from gradclinic_engine import measurements as measured
    from gradclinic_engine.judging.judgement import Judgement
    from gradclinic_engine.measurements import SourceLine
    from gradclinic_engine.reading.paths import Paths
    from gradclinic_engine.records import Environment

MAX_TEXT_CHARACTERS = 2_000
MAX_CALLS_SHOWN = 1_000

_Text = TypeVar("_Text", str, str | None)


def result_of(judgement: Judgement, environment: Environment | None = None) -> DiagnosisResult:
    """The result of a diagnosis; texts that a hostile archive made long are cut."""
    paths, run = judgement.paths, judgement.paths.measurements
    unobserved = [Unobserved(_text(what), _text(reason)) for what, reason in run.unobserved]
    if run.loss.kind == "random_projection":
        reason = "No loss was given: a fixed random projection of the output was used, so loss rules did not run."
        unobserved.append(Unobserved("loss", reason))
    for bug in judgement.bugs:
        last_line = bug.trace.strip().rpartition("\n")[2]
        reason = f"A defect of gradclinic: this rule raised instead of judging ({last_line}). The other rules ran."
        unobserved.append(Unobserved(f"rule {bug.code}", _text(reason)))
    findings = tuple(map(_finding, judgement.findings))
    return DiagnosisResult(
        verdict=Verdict.of(findings),
        findings=findings,
        sites=tuple(_site(paths, site) for site in run.sites),
        parameters=tuple(map(_parameter, run.parameters)),
        unobserved=tuple(unobserved),
        notes=tuple(map(_text, run.notes)),
        loss=None if run.loss.kind == "random_projection" else run.loss.value,
        environment=environment,
    )


def _finding(finding: Finding) -> Finding:
    return Finding(
        code=finding.code,
        symptom=finding.symptom,
        severity=finding.severity,
        location=_location(finding.location),
        explanation=_text(finding.explanation),
        remedies=tuple(map(_text, finding.remedies)),
        evidence=tuple(map(_evidence, finding.evidence)),
        affected=tuple(map(_text, finding.affected)),
        proof=_proof(finding.proof) if finding.proof else None,
        sites=finding.sites,
    )


def _location(location: Location) -> Location:
    named = {name: _text(getattr(location, name)) for name in ("module", "parameter", "name", "op")}
    return Location(**named, source=_source(location.source))


def _source(source: SourceLine | None) -> SourceLine | None:
    return source and replace(source, file=_text(source.file), text=_text(source.text))


def _evidence(evidence: Evidence) -> Evidence:
    return replace(evidence, text=_text(evidence.text))


def _proof(proof: Proof) -> Proof:
    return replace(proof, intervention=_text(proof.intervention))


def _site(paths: Paths, site: measured.Site) -> Site:
    return Site(
        index=site.index,
        location=Location(module=_text(site.module), op=_text(site.op), source=_source(site.source)),
        calls=site.calls,
        shape=site.shape,
        dtype=site.dtype,
        requires_grad=site.requires_grad,
        activation=site.activation,
        gradient=site.gradient,
        flat_share=site.flat_share,
        dead_unit_share=site.dead_unit_share,
        gradient_gain=_gradient_gain(paths, site),
        gradient_rms_by_call=site.gradient_rms_by_call[:MAX_CALLS_SHOWN],
    )


def _gradient_gain(paths: Paths, site: measured.Site) -> float | None:
    """RMS of what the op hands on to the operand that only it reads, over RMS of what arrives at it."""
    if site.gradient is None or not site.gradient.rms > 0 or site.index not in paths.sites:
        return None
    own = [operand for operand in paths.operands(site) if operand.gradient and len(paths.readers(operand)) == 1]
    handed = own[0].gradient if len(own) == 1 else None
    return handed.rms / site.gradient.rms if handed else None


def _parameter(parameter: measured.Parameter) -> ParameterGradient:
    gradient, weight = parameter.gradient, parameter.weight
    return ParameterGradient(
        name=_text(parameter.name),
        module=_text(parameter.module),
        shape=parameter.shape,
        dtype=parameter.dtype,
        requires_grad=parameter.requires_grad,
        status=parameter.status,
        weight=weight,
        gradient=gradient,
        relative_gradient=gradient.rms / weight.rms if gradient and weight.rms > 0 else None,
    )


def _text(text: _Text) -> _Text:
    """Text that protobuf can carry, cut where a hostile archive made it long."""
    if text is None:
        return text
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= MAX_TEXT_CHARACTERS else f"{clean[: MAX_TEXT_CHARACTERS - 1]}…"
