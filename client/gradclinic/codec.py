"""Results of diagnoses to and from protobuf, losslessly: the only place that knows both forms."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, TypeVar, cast

from gradclinic.v1 import diagnosis_pb2, finding_pb2, flow_pb2
from gradclinic_engine.measurements import GradientStatus, MagnitudeHistogram, SourceLine, Statistics
from gradclinic_engine.records import (
    DiagnosisResult,
    Environment,
    Evidence,
    Finding,
    Location,
    ParameterGradient,
    Proof,
    Severity,
    Site,
    Symptom,
    Unobserved,
    Verdict,
)

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.message import Message

NANOSECONDS_PER_SECOND = 1_000_000_000

_Member = TypeVar("_Member", bound=enum.StrEnum)


def result(message: diagnosis_pb2.DiagnosisResult) -> DiagnosisResult:
    """The record of a result."""
    return DiagnosisResult(
        verdict=_member(Verdict, finding_pb2.Verdict, message.verdict) if message.verdict else None,
        findings=tuple(map(_finding, message.findings)),
        sites=tuple(map(_site, message.sites)),
        parameters=tuple(map(_parameter, message.parameters)),
        unobserved=tuple(Unobserved(item.what, item.reason) for item in message.unobserved),
        notes=tuple(message.notes),
        loss=optional(message, "loss"),
        environment=_environment(message.environment) if message.HasField("environment") else None,
    )


def result_message(record: DiagnosisResult) -> diagnosis_pb2.DiagnosisResult:
    """The message of a result."""
    return diagnosis_pb2.DiagnosisResult(
        verdict=_number(finding_pb2.Verdict, record.verdict),
        findings=map(_finding_message, record.findings),
        sites=map(_site_message, record.sites),
        parameters=map(_parameter_message, record.parameters),
        unobserved=[unobserved_message(item) for item in record.unobserved],
        notes=record.notes,
        loss=record.loss,
        environment=_environment_message(record.environment) if record.environment else None,
    )


def unobserved_message(record: Unobserved) -> flow_pb2.Unobserved:
    """The message of something that was not seen."""
    return flow_pb2.Unobserved(what=record.what, reason=record.reason)


def name_of(kind: Any, number: int) -> str | None:
    """A value's name without its enum's prefix; None for UNSPECIFIED; the number where this client is too old."""
    if number == 0:
        return None
    value = kind.DESCRIPTOR.values_by_number.get(number)
    return str(number) if value is None else str(value.name).removeprefix(_prefix(kind))


def optional(message: Message, field: str) -> Any:
    """A field's value; None where it is absent."""
    return getattr(message, field) if message.HasField(field) else None


def seconds(duration: Duration) -> float:
    """A duration in seconds."""
    return duration.seconds + duration.nanos / NANOSECONDS_PER_SECOND


def _finding(message: finding_pb2.Finding) -> Finding:
    proof = message.proof
    return Finding(
        code=message.code,
        symptom=_member(Symptom, finding_pb2.Symptom, message.symptom),
        severity=_member(Severity, finding_pb2.Severity, message.severity),
        location=_location(message.location),
        explanation=message.explanation,
        remedies=tuple(message.remedies),
        evidence=tuple(map(_evidence, message.evidence)),
        affected=tuple(message.affected),
        proof=Proof(proof.intervention, proof.measure, proof.before, proof.after, proof.confirmed)
        if message.HasField("proof")
        else None,
        sites=tuple(message.sites),
    )


def _finding_message(record: Finding) -> finding_pb2.Finding:
    proof = record.proof
    return finding_pb2.Finding(
        code=record.code,
        symptom=_number(finding_pb2.Symptom, record.symptom),
        severity=_number(finding_pb2.Severity, record.severity),
        location=_location_message(record.location),
        explanation=record.explanation,
        remedies=record.remedies,
        evidence=map(_evidence_message, record.evidence),
        affected=record.affected,
        proof=finding_pb2.Proof(
            intervention=proof.intervention,
            measure=proof.measure,
            before=proof.before,
            after=proof.after,
            confirmed=proof.confirmed,
        )
        if proof
        else None,
        sites=record.sites,
    )


def _location(message: finding_pb2.Location) -> Location:
    return Location(
        module=optional(message, "module"),
        parameter=optional(message, "parameter"),
        name=optional(message, "name"),
        op=optional(message, "op"),
        source=_source(message.source) if message.HasField("source") else None,
    )


def _location_message(record: Location) -> finding_pb2.Location:
    return finding_pb2.Location(
        module=record.module,
        parameter=record.parameter,
        name=record.name,
        op=record.op,
        source=_source_message(record.source) if record.source else None,
    )


def _source(message: finding_pb2.SourceLine) -> SourceLine:
    return SourceLine(message.file, message.line, message.text)


def _source_message(record: SourceLine) -> finding_pb2.SourceLine:
    return finding_pb2.SourceLine(file=record.file, line=record.line, text=record.text)


def _evidence(message: finding_pb2.Evidence) -> Evidence:
    return Evidence(
        name=message.name,
        value=message.value,
        unit=message.unit,
        threshold=optional(message, "threshold"),
        text=message.text or None,
        sample=optional(message, "sample"),
        element=tuple(message.element) or None,
    )


def _evidence_message(record: Evidence) -> finding_pb2.Evidence:
    return finding_pb2.Evidence(
        name=record.name,
        value=record.value,
        unit=record.unit,
        threshold=record.threshold,
        text=record.text or "",
        sample=record.sample,
        element=record.element,
    )


def _statistics(message: flow_pb2.TensorStatistics) -> Statistics:
    histogram = message.histogram
    return Statistics(
        element_count=message.element_count,
        nonfinite_count=message.nonfinite_count,
        zero_count=message.zero_count,
        mean=message.mean,
        rms=message.rms,
        min=message.min,
        max=message.max,
        histogram=MagnitudeHistogram(histogram.lowest_exponent, tuple(histogram.counts))
        if message.HasField("histogram")
        else None,
    )


def _statistics_message(record: Statistics | None) -> flow_pb2.TensorStatistics | None:
    if record is None:
        return None
    message = flow_pb2.TensorStatistics(
        element_count=record.element_count,
        nonfinite_count=record.nonfinite_count,
        zero_count=record.zero_count,
        mean=record.mean,
        rms=record.rms,
        min=record.min,
        max=record.max,
    )
    if record.histogram is not None:
        message.histogram.lowest_exponent = record.histogram.lowest_exponent
        message.histogram.counts.extend(record.histogram.counts)
        message.histogram.SetInParent()
    return message


def _site(message: flow_pb2.Site) -> Site:
    return Site(
        index=message.index,
        location=_location(message.location),
        calls=message.calls,
        shape=tuple(message.shape),
        dtype=message.dtype,
        requires_grad=message.requires_grad,
        activation=_statistics(message.activation) if message.HasField("activation") else None,
        gradient=_statistics(message.gradient) if message.HasField("gradient") else None,
        flat_share=optional(message, "flat_share"),
        dead_unit_share=optional(message, "dead_unit_share"),
        gradient_gain=optional(message, "gradient_gain"),
        gradient_rms_by_call=tuple(message.gradient_rms_by_call),
    )


def _site_message(record: Site) -> flow_pb2.Site:
    return flow_pb2.Site(
        index=record.index,
        location=_location_message(record.location),
        calls=record.calls,
        shape=record.shape,
        dtype=record.dtype,
        requires_grad=record.requires_grad,
        activation=_statistics_message(record.activation),
        gradient=_statistics_message(record.gradient),
        flat_share=record.flat_share,
        dead_unit_share=record.dead_unit_share,
        gradient_gain=record.gradient_gain,
        gradient_rms_by_call=record.gradient_rms_by_call,
    )


def _parameter(message: flow_pb2.ParameterGradient) -> ParameterGradient:
    return ParameterGradient(
        name=message.name,
        module=message.module,
        shape=tuple(message.shape),
        dtype=message.dtype,
        requires_grad=message.requires_grad,
        status=_member(GradientStatus, flow_pb2.GradientStatus, message.status),
        weight=_statistics(message.weight) if message.HasField("weight") else None,
        gradient=_statistics(message.gradient) if message.HasField("gradient") else None,
        relative_gradient=optional(message, "relative_gradient"),
    )


def _parameter_message(record: ParameterGradient) -> flow_pb2.ParameterGradient:
    return flow_pb2.ParameterGradient(
        name=record.name,
        module=record.module,
        shape=record.shape,
        dtype=record.dtype,
        requires_grad=record.requires_grad,
        status=_number(flow_pb2.GradientStatus, record.status),
        weight=_statistics_message(record.weight),
        gradient=_statistics_message(record.gradient),
        relative_gradient=record.relative_gradient,
    )


def _environment(message: diagnosis_pb2.Environment) -> Environment:
    return Environment(
        device=message.device,
        torch_version=message.torch_version,
        gradclinic_version=message.gradclinic_version,
        sandbox_level=message.sandbox_level,
        peak_memory_bytes=message.peak_memory_bytes,
        peak_device_memory_bytes=message.peak_device_memory_bytes,
        threads=message.threads,
        seconds_by_stage={
            name_of(diagnosis_pb2.DiagnosisStage, item.stage) or "": seconds(item.duration) for item in message.timings
        },
    )


def _environment_message(record: Environment) -> diagnosis_pb2.Environment:
    message = diagnosis_pb2.Environment(
        device=record.device,
        torch_version=record.torch_version,
        gradclinic_version=record.gradclinic_version,
        sandbox_level=record.sandbox_level,
        peak_memory_bytes=record.peak_memory_bytes,
        peak_device_memory_bytes=record.peak_device_memory_bytes,
        threads=record.threads,
    )
    for stage, spent in record.seconds_by_stage.items():
        timing = message.timings.add(stage=_number(diagnosis_pb2.DiagnosisStage, stage))
        timing.duration.FromNanoseconds(round(spent * NANOSECONDS_PER_SECOND))
    return message


def _member(kind: type[_Member], wire: Any, number: int) -> _Member:
    """The enum's member; the plain name or number where this client is older than the server."""
    name = name_of(wire, number) or ""
    return kind(name) if name in kind.__members__ else cast("_Member", name)


def _number(wire: Any, name: str | None) -> Any:
    return 0 if name is None else wire.Value(f"{_prefix(wire)}{name}")


def _prefix(kind: Any) -> str:
    """What the names of an enum's values begin with, for example `SEVERITY_`."""
    unspecified: str = kind.DESCRIPTOR.values_by_number[0].name
    return unspecified.removesuffix("UNSPECIFIED")
