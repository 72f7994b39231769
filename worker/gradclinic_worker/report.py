"""From plain records to the result that crosses the wire, small enough for one message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic.v1 import diagnosis_pb2, finding_pb2, flow_pb2
from gradclinic_engine.judging.finding import Finding, Severity
from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.reading.paths import Paths

if TYPE_CHECKING:
    from gradclinic_engine import measurements as plain
    from gradclinic_engine.judging.finding import Evidence, Location
    from gradclinic_engine.judging.judgement import Judgement

MAX_RESULT_BYTES = 3_670_016  # 3.5 MiB: with its envelope below the 4 MiB that a message may have
MAX_TEXT_CHARACTERS = 2_000
MAX_CALLS_SHOWN = 1_000
VERDICTS = {
    Severity.INFO: finding_pb2.VERDICT_HEALTHY,
    Severity.WARNING: finding_pb2.VERDICT_WARNING,
    Severity.CRITICAL: finding_pb2.VERDICT_CRITICAL,
}
STATUSES = {status: flow_pb2.GradientStatus.Value(f"GRADIENT_STATUS_{status.name}") for status in GradientStatus}


def report(
    measurements: plain.Measurements,
    judgement: Judgement,
    environment: diagnosis_pb2.Environment | None = None,
) -> diagnosis_pb2.DiagnosisResult:
    """The result of a diagnosis.

    Where it would exceed `MAX_RESULT_BYTES`, first histograms are left out, then the gradients of single
    calls, then the operations that say least; `unobserved` tells what.
    """
    paths = Paths(measurements)
    worst = max((finding.severity for finding in judgement.findings), default=Severity.INFO)
    result = diagnosis_pb2.DiagnosisResult(
        verdict=VERDICTS[worst],
        findings=[_finding(finding) for finding in judgement.findings],
        sites=[_site(paths, site) for site in measurements.sites],
        parameters=[_parameter(parameter) for parameter in measurements.parameters],
        unobserved=[_unobserved(what, reason) for what, reason in measurements.unobserved],
        notes=[_text(note) for note in measurements.notes],
    )
    if environment is not None:
        result.environment.CopyFrom(environment)
    if measurements.loss.kind == "random_projection":
        result.unobserved.append(
            _unobserved(
                "loss",
                "No loss was given: a fixed random projection of the output stood in, so loss rules were not judged.",
            )
        )
    else:
        result.loss = measurements.loss.value
    for bug in judgement.bugs:
        last_line = bug.trace.strip().rpartition("\n")[2]
        reason = f"A defect of gradclinic: this rule raised instead of judging ({last_line}). The other rules stand."
        result.unobserved.append(_unobserved(f"rule {bug.code}", reason))
    _shrink(result, {index for finding in judgement.findings for index in finding.sites})
    return result


def _finding(finding: Finding) -> finding_pb2.Finding:
    message = finding_pb2.Finding(
        code=finding.code,
        symptom=finding_pb2.Symptom.Value(f"SYMPTOM_{finding.symptom.name}"),
        severity=finding_pb2.Severity.Value(f"SEVERITY_{finding.severity.name}"),
        location=_location(finding.location),
        evidence=[_evidence(evidence) for evidence in finding.evidence],
        explanation=_text(finding.explanation),
        remedies=[_text(remedy) for remedy in finding.remedies],
        affected=[_text(name) for name in finding.affected],
        sites=finding.sites,
    )
    if finding.proof is not None:
        proof = finding.proof
        message.proof.CopyFrom(
            finding_pb2.Proof(
                intervention=_text(proof.intervention),
                measure=proof.measure,
                before=proof.before,
                after=proof.after,
                confirmed=proof.confirmed,
            )
        )
    return message


def _location(location: Location) -> finding_pb2.Location:
    message = finding_pb2.Location()
    for field in ("module", "parameter", "name", "op"):
        value = getattr(location, field)
        if value is not None:
            setattr(message, field, _text(value))
    if location.source is not None:
        message.source.CopyFrom(_source(location.source))
    return message


def _source(source: plain.SourceLine) -> finding_pb2.SourceLine:
    return finding_pb2.SourceLine(file=_text(source.file), line=source.line, text=_text(source.text))


def _evidence(evidence: Evidence) -> finding_pb2.Evidence:
    message = finding_pb2.Evidence(
        name=evidence.name,
        value=evidence.value,
        threshold=evidence.threshold,
        unit=evidence.unit,
        text=_text(evidence.text),
        element=evidence.element,
    )
    if evidence.sample is not None:
        message.sample = evidence.sample
    return message


def _site(paths: Paths, site: plain.Site) -> flow_pb2.Site:
    message = flow_pb2.Site(
        index=site.index,
        location=finding_pb2.Location(module=_text(site.module), op=_text(site.op)),
        calls=site.calls,
        shape=site.shape,
        dtype=site.dtype,
        requires_grad=site.requires_grad,
        flat_share=site.flat_share,
        dead_unit_share=site.dead_unit_share,
        gradient_gain=_gradient_gain(paths, site),
        gradient_rms_by_call=site.gradient_rms_by_call[:MAX_CALLS_SHOWN],
    )
    if site.source is not None:
        message.location.source.CopyFrom(_source(site.source))
    if site.activation is not None:
        message.activation.CopyFrom(_statistics(site.activation))
    if site.gradient is not None:
        message.gradient.CopyFrom(_statistics(site.gradient))
    return message


def _gradient_gain(paths: Paths, site: plain.Site) -> float | None:
    """RMS of what the op hands on to the operand that only it reads, over RMS of what arrives at it."""
    if site.gradient is None or not site.gradient.rms > 0 or site.index not in paths.sites:
        return None
    own = [operand for operand in paths.operands(site) if operand.gradient and len(paths.readers(operand)) == 1]
    handed = own[0].gradient if len(own) == 1 else None
    return handed.rms / site.gradient.rms if handed else None


def _parameter(parameter: plain.Parameter) -> flow_pb2.ParameterGradient:
    message = flow_pb2.ParameterGradient(
        name=_text(parameter.name),
        module=_text(parameter.module),
        shape=parameter.shape,
        dtype=parameter.dtype,
        requires_grad=parameter.requires_grad,
        status=STATUSES[parameter.status],
        weight=_statistics(parameter.weight),
    )
    if parameter.gradient is not None:
        message.gradient.CopyFrom(_statistics(parameter.gradient))
        if parameter.weight.rms > 0:
            message.relative_gradient = parameter.gradient.rms / parameter.weight.rms
    return message


def _statistics(statistics: plain.Statistics) -> flow_pb2.TensorStatistics:
    message = flow_pb2.TensorStatistics(
        element_count=statistics.count,
        nonfinite_count=statistics.nonfinite,
        zero_count=statistics.zeros,
        mean=statistics.mean,
        rms=statistics.rms,
        min=statistics.min,
        max=statistics.max,
    )
    if statistics.histogram:
        message.histogram.lowest_exponent = statistics.lowest_exponent
        message.histogram.counts.extend(statistics.histogram)
    return message


def _unobserved(what: str, reason: str) -> flow_pb2.Unobserved:
    return flow_pb2.Unobserved(what=_text(what), reason=_text(reason))


def _text(text: str) -> str:
    """Text that protobuf can carry, cut where a hostile archive made it long."""
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= MAX_TEXT_CHARACTERS else f"{clean[: MAX_TEXT_CHARACTERS - 1]}…"


def _shrink(result: diagnosis_pb2.DiagnosisResult, told: set[int]) -> None:
    """Leaves out what says least until the result fits; ``told``: sites that findings stand at."""
    if result.ByteSize() <= MAX_RESULT_BYTES:
        return
    for flow in (*result.sites, *result.parameters):
        for name in ("activation", "weight", "gradient"):
            if name in flow.DESCRIPTOR.fields_by_name and flow.HasField(name):
                getattr(flow, name).ClearField("histogram")
    result.unobserved.append(_unobserved("histograms", "Left out, because the result would be too large."))
    if result.ByteSize() > MAX_RESULT_BYTES:
        for site in result.sites:
            site.ClearField("gradient_rms_by_call")
        result.unobserved.append(
            _unobserved("gradients of single calls", "Left out, because the result would be too large.")
        )
    _drop_sites(result, told)
    _drop_names(result)


def _drop_sites(result: diagnosis_pb2.DiagnosisResult, told: set[int]) -> None:
    reserve_bytes = 1_024  # for saying so
    excess = result.ByteSize() + reserve_bytes - MAX_RESULT_BYTES
    if excess <= reserve_bytes:
        return
    dropped: set[int] = set()
    for site in sorted(result.sites, key=lambda site: _interest(site, told)):
        if excess <= 0:
            break
        dropped.add(site.index)
        excess -= site.ByteSize() + 2  # and at least its tag and length
    kept = [site for site in result.sites if site.index not in dropped]
    del result.sites[:]
    result.sites.extend(kept)
    reason = f"{len(dropped)} of them left out, because the result would be too large."
    result.unobserved.append(_unobserved("operations", reason))


def _interest(site: flow_pb2.Site, told: set[int]) -> tuple[bool, bool, bool, bool]:
    return site.index in told, site.HasField("gradient"), site.HasField("activation"), site.calls > 0


def _drop_names(result: diagnosis_pb2.DiagnosisResult) -> None:
    """The last resort, for models with very many parameters: the end of the longest list goes."""
    if result.ByteSize() <= MAX_RESULT_BYTES:
        return
    total = len(result.parameters)
    while result.parameters and result.ByteSize() > MAX_RESULT_BYTES:
        del result.parameters[len(result.parameters) // 2 :]
    for finding in result.findings:
        if result.ByteSize() > MAX_RESULT_BYTES:
            del finding.affected[len(finding.affected) // 100 :]
    reason = f"All but {len(result.parameters)} of {total} left out, because the result would be too large."
    result.unobserved.append(_unobserved("parameters", reason))
