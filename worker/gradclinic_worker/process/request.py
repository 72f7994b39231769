"""What a diagnosis asks of its supervisor: which artifacts, for how long, on what device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic.v1 import executor_pb2

if TYPE_CHECKING:
    from gradclinic.v1 import diagnosis_pb2


def wanted_artifacts(
    spec: diagnosis_pb2.DiagnosisSpec,
) -> list[tuple[executor_pb2.Attachment.ValueType, str, str]]:
    """What to fetch: what it is, its SHA-256, and the field of the request that names it."""
    named = [
        (executor_pb2.ATTACHMENT_MODEL, spec.model_sha256, "spec.model_sha256"),
        (executor_pb2.ATTACHMENT_INPUTS, spec.inputs_sha256, "spec.inputs_sha256"),
        (executor_pb2.ATTACHMENT_TARGET, spec.target_sha256, "spec.target_sha256"),
        (executor_pb2.ATTACHMENT_LOSS, spec.loss.module_sha256, "spec.loss.module_sha256"),
        (
            executor_pb2.ATTACHMENT_LOSS_OPTIONS,
            spec.loss.functional.tensor_options_sha256,
            "spec.loss.functional.tensor_options_sha256",
        ),
    ]
    return [one for one in named if one[1]]


def run_seconds(spec: diagnosis_pb2.DiagnosisSpec, limit_seconds: float) -> float:
    """How long the run may take: what was asked for, at most the server's limit."""
    asked = spec.timeout.ToNanoseconds() / 1e9 if spec.HasField("timeout") else limit_seconds
    return min(asked, limit_seconds) if asked > 0 else limit_seconds


def runs_on(spec: diagnosis_pb2.DiagnosisSpec, device_kind: str) -> bool:
    """Whether a worker with that kind of device, `cpu` or `cuda`, may take it."""
    return not spec.device or spec.device.partition(":")[0] == device_kind
