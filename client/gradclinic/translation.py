"""From wire messages to records; the only place that reads answers of the contract."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict

from gradclinic import records
from gradclinic.v1 import artifact_pb2, diagnosis_pb2, finding_pb2, flow_pb2, server_pb2

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.message import Message
    from google.protobuf.struct_pb2 import Struct
    from google.protobuf.timestamp_pb2 import Timestamp

_NANOS_PER_SECOND = 1e9


def diagnosis(message: diagnosis_pb2.Diagnosis) -> records.Diagnosis:
    """One diagnosis, with its result as far as it was sent."""
    result = message.result
    return records.Diagnosis(
        id=message.id,
        state=_name(diagnosis_pb2.DiagnosisState, message.state) or "QUEUED",
        verdict=_name(finding_pb2.Verdict, result.verdict),
        findings=tuple(map(_finding, result.findings)),
        sites=tuple(map(_site, result.sites)),
        parameters=tuple(map(_parameter, result.parameters)),
        unobserved=tuple(records.Unobserved(item.what, item.reason) for item in result.unobserved),
        notes=tuple(result.notes),
        loss=_optional(result, "loss"),
        environment=_environment(result.environment) if result.HasField("environment") else None,
        failure=_failure(message.failure) if message.HasField("failure") else None,
        spec=_spec(message.spec),
        stage=_name(diagnosis_pb2.DiagnosisStage, message.stage),
        progress=message.progress,
        attempt=message.attempt,
        revision=message.revision,
        reused=message.reused,
        create_time=_time(message, "create_time"),
        start_time=_time(message, "start_time"),
        end_time=_time(message, "end_time"),
        expire_time=_time(message, "expire_time"),
    )


def event(message: diagnosis_pb2.DiagnosisEvent) -> records.Event:
    """One change of a diagnosis."""
    return records.Event(
        revision=message.revision,
        state=_name(diagnosis_pb2.DiagnosisState, message.state) or "QUEUED",
        stage=_name(diagnosis_pb2.DiagnosisStage, message.stage),
        progress=message.progress,
        attempt=message.attempt,
        time=_time(message, "time"),
        diagnosis=diagnosis(message.diagnosis) if message.HasField("diagnosis") else None,
    )


def page(message: diagnosis_pb2.ListDiagnosesResponse) -> records.Page:
    """A page of diagnoses."""
    return records.Page(tuple(map(diagnosis, message.diagnoses)), message.next_page_token)


def server_info(message: server_pb2.ServerInfo) -> records.ServerInfo:
    """What a server is and can do."""
    return records.ServerInfo(
        version=message.version,
        limits=_limits(message.limits),
        workers=tuple(map(_worker, message.workers)),
        model_formats=tuple(_name(artifact_pb2.ArtifactFormat, item) or "" for item in message.model_formats),
        losses=tuple(message.losses),
        depths=tuple(_name(diagnosis_pb2.Depth, item) or "" for item in message.depths),
        sandbox_level=message.sandbox_level,
        caller=records.Caller(message.caller.tenant, message.caller.role),
        usage=records.Usage(message.usage.queued, message.usage.running, message.usage.stored_bytes),
    )


def _finding(message: finding_pb2.Finding) -> records.Finding:
    proof = message.proof
    return records.Finding(
        code=message.code,
        symptom=_name(finding_pb2.Symptom, message.symptom) or "",
        severity=_name(finding_pb2.Severity, message.severity) or "INFO",
        location=_location(message.location),
        explanation=message.explanation,
        evidence=tuple(map(_evidence, message.evidence)),
        remedies=tuple(message.remedies),
        affected=tuple(message.affected),
        proof=records.Proof(proof.intervention, proof.measure, proof.before, proof.after, proof.confirmed)
        if message.HasField("proof")
        else None,
        sites=tuple(message.sites),
    )


def _location(message: finding_pb2.Location) -> records.Location:
    source = message.source
    return records.Location(
        module=_optional(message, "module"),
        parameter=_optional(message, "parameter"),
        name=_optional(message, "name"),
        op=_optional(message, "op"),
        source=records.SourceLine(source.file, source.line, source.text) if message.HasField("source") else None,
    )


def _evidence(message: finding_pb2.Evidence) -> records.Evidence:
    return records.Evidence(
        name=message.name,
        value=message.value,
        unit=message.unit,
        threshold=_optional(message, "threshold"),
        text=message.text or None,
        sample=_optional(message, "sample"),
        element=tuple(message.element) or None,
    )


def _statistics(owner: flow_pb2.Site | flow_pb2.ParameterGradient, field: str) -> records.Statistics | None:
    message: flow_pb2.TensorStatistics | None = _optional(owner, field)
    if message is None:
        return None
    histogram = message.histogram
    return records.Statistics(
        element_count=message.element_count,
        nonfinite_count=message.nonfinite_count,
        zero_count=message.zero_count,
        mean=message.mean,
        rms=message.rms,
        min=message.min,
        max=message.max,
        histogram=records.MagnitudeHistogram(histogram.lowest_exponent, tuple(histogram.counts))
        if message.HasField("histogram")
        else None,
    )


def _site(message: flow_pb2.Site) -> records.Site:
    return records.Site(
        index=message.index,
        location=_location(message.location),
        calls=message.calls,
        shape=tuple(message.shape),
        dtype=message.dtype,
        requires_grad=message.requires_grad,
        activation=_statistics(message, "activation"),
        gradient=_statistics(message, "gradient"),
        flat_share=_optional(message, "flat_share"),
        dead_unit_share=_optional(message, "dead_unit_share"),
        gradient_gain=_optional(message, "gradient_gain"),
        gradient_rms_by_call=tuple(message.gradient_rms_by_call),
    )


def _parameter(message: flow_pb2.ParameterGradient) -> records.ParameterGradient:
    return records.ParameterGradient(
        name=message.name,
        module=message.module,
        shape=tuple(message.shape),
        dtype=message.dtype,
        requires_grad=message.requires_grad,
        status=_name(flow_pb2.GradientStatus, message.status) or "",
        weight=_statistics(message, "weight"),
        gradient=_statistics(message, "gradient"),
        relative_gradient=_optional(message, "relative_gradient"),
    )


def _environment(message: diagnosis_pb2.Environment) -> records.Environment:
    return records.Environment(
        device=message.device,
        torch_version=message.torch_version,
        gradclinic_version=message.gradclinic_version,
        sandbox_level=message.sandbox_level,
        peak_memory_bytes=message.peak_memory_bytes,
        peak_device_memory_bytes=message.peak_device_memory_bytes,
        threads=message.threads,
        seconds_by_stage={
            _name(diagnosis_pb2.DiagnosisStage, item.stage) or "": _seconds(item.duration) for item in message.timings
        },
    )


def _failure(message: diagnosis_pb2.Failure) -> records.Failure:
    reason = _name(diagnosis_pb2.FailureReason, message.reason) or "INTERNAL"
    return records.Failure(reason, message.message, message.field, message.trace)


def _spec(message: diagnosis_pb2.DiagnosisSpec) -> records.Spec:
    loss, kind = message.loss, message.loss.WhichOneof("kind")
    names = {"functional": loss.functional.name, "module_sha256": "module", None: "random_projection"}
    return records.Spec(
        model_sha256=message.model_sha256,
        inputs_sha256=message.inputs_sha256,
        target_sha256=message.target_sha256 or None,
        loss=names.get(kind, str(kind)),
        loss_options=_options(loss.functional.options),
        loss_sha256=loss.module_sha256 or None,
        optimizer=message.optimizer.name or None,
        optimizer_options=_options(message.optimizer.options),
        depth=_name(diagnosis_pb2.Depth, message.depth) or "STANDARD",
        device=message.device,
        labels=dict(message.labels),
        run=message.run or None,
        step=_optional(message, "step"),
        output=message.output or None,
        seed=message.seed,
        timeout_seconds=_seconds(message.timeout) if message.HasField("timeout") else None,
        priority=message.priority,
    )


def _limits(message: server_pb2.Limits) -> records.Limits:
    return records.Limits(
        max_artifact_bytes=message.max_artifact_bytes,
        max_chunk_bytes=message.max_chunk_bytes,
        max_stored_bytes=message.max_stored_bytes,
        max_queued=message.max_queued,
        max_run_seconds=_seconds(message.max_run_time),
        max_queue_seconds=_seconds(message.max_queue_time),
        diagnosis_retention_seconds=_seconds(message.diagnosis_retention),
        artifact_retention_seconds=_seconds(message.artifact_retention),
        max_concurrent_uploads=message.max_concurrent_uploads,
        tenant_max_concurrent_uploads=message.tenant_max_concurrent_uploads,
        tenant_max_stored_bytes=message.tenant_max_stored_bytes,
        tenant_max_queued=message.tenant_max_queued,
        tenant_max_running=message.tenant_max_running,
        submissions_per_second=message.submissions_per_second,
        tenant_submissions_per_second=message.tenant_submissions_per_second,
        submission_burst_seconds=message.submission_burst_seconds,
    )


def _worker(message: server_pb2.LiveWorker) -> records.Worker:
    return records.Worker(
        device=message.device,
        state=message.state,
        version=message.version,
        torch_version=message.torch_version,
        sandbox_level=message.sandbox_level,
        spare_executors=message.spare_executors,
    )


def _name(enum: Any, number: int) -> str | None:
    """The value's name without its enum's prefix; None for UNSPECIFIED; the number where this client is too old."""
    if number == 0:
        return None
    value = enum.DESCRIPTOR.values_by_number.get(number)
    if value is None:
        return str(number)
    unspecified: str = enum.DESCRIPTOR.values_by_number[0].name
    return str(value.name).removeprefix(unspecified.removesuffix("UNSPECIFIED"))


def _optional(message: Message, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None


def _time(message: Message, field: str) -> datetime | None:
    stamp: Timestamp | None = _optional(message, field)
    return None if stamp is None else datetime.fromtimestamp(stamp.seconds + stamp.nanos / _NANOS_PER_SECOND, UTC)


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / _NANOS_PER_SECOND


def _options(struct: Struct) -> dict[str, Any]:
    return dict(MessageToDict(struct))
