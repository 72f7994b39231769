"""From wire messages to records: diagnoses, events, pages and servers; their results are the codec's."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict

from gradclinic import codec, records
from gradclinic.codec import name_of, optional, seconds
from gradclinic.v1 import artifact_pb2, diagnosis_pb2, server_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.protobuf.struct_pb2 import Struct
    from google.protobuf.timestamp_pb2 import Timestamp

_NANOS_PER_SECOND = 1e9


def diagnosis(message: diagnosis_pb2.Diagnosis) -> records.Diagnosis:
    """One diagnosis, with its result as far as it was sent."""
    result = codec.result(message.result)
    return records.Diagnosis(
        **{field.name: getattr(result, field.name) for field in dataclasses.fields(result)},
        id=message.id,
        state=name_of(diagnosis_pb2.DiagnosisState, message.state) or "QUEUED",
        failure=_failure(message.failure) if message.HasField("failure") else None,
        spec=_spec(message.spec),
        stage=name_of(diagnosis_pb2.DiagnosisStage, message.stage),
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
        state=name_of(diagnosis_pb2.DiagnosisState, message.state) or "QUEUED",
        stage=name_of(diagnosis_pb2.DiagnosisStage, message.stage),
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
        model_formats=tuple(name_of(artifact_pb2.ArtifactFormat, item) or "" for item in message.model_formats),
        losses=tuple(message.losses),
        depths=tuple(name_of(diagnosis_pb2.Depth, item) or "" for item in message.depths),
        sandbox_level=message.sandbox_level,
        caller=records.Caller(message.caller.tenant, message.caller.role),
        usage=records.Usage(message.usage.queued, message.usage.running, message.usage.stored_bytes),
    )


def _failure(message: diagnosis_pb2.Failure) -> records.Failure:
    reason = name_of(diagnosis_pb2.FailureReason, message.reason) or "INTERNAL"
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
        depth=name_of(diagnosis_pb2.Depth, message.depth) or "STANDARD",
        device=message.device,
        labels=dict(message.labels),
        run=message.run or None,
        step=optional(message, "step"),
        output=message.output or None,
        seed=message.seed,
        timeout_seconds=seconds(message.timeout) if message.HasField("timeout") else None,
        priority=message.priority,
    )


def _limits(message: server_pb2.Limits) -> records.Limits:
    return records.Limits(
        max_artifact_bytes=message.max_artifact_bytes,
        max_chunk_bytes=message.max_chunk_bytes,
        max_stored_bytes=message.max_stored_bytes,
        max_queued=message.max_queued,
        max_run_seconds=seconds(message.max_run_time),
        max_queue_seconds=seconds(message.max_queue_time),
        diagnosis_retention_seconds=seconds(message.diagnosis_retention),
        artifact_retention_seconds=seconds(message.artifact_retention),
        max_concurrent_uploads=message.max_concurrent_uploads,
        tenant_max_concurrent_uploads=message.tenant_max_concurrent_uploads,
        max_concurrent_rpcs=message.max_concurrent_rpcs,
        tenant_max_concurrent_rpcs=message.tenant_max_concurrent_rpcs,
        max_concurrent_watches=message.max_concurrent_watches,
        tenant_max_concurrent_watches=message.tenant_max_concurrent_watches,
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


def _time(message: Message, field: str) -> datetime | None:
    stamp: Timestamp | None = optional(message, field)
    return None if stamp is None else datetime.fromtimestamp(stamp.seconds + stamp.nanos / _NANOS_PER_SECOND, UTC)


def _options(struct: Struct) -> dict[str, Any]:
    return dict(MessageToDict(struct))
