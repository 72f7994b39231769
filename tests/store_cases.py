"""What tests of the store begin with: a store on a real server, artifacts in it, specs, results."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from gradclinic.v1 import artifact_pb2, diagnosis_pb2, finding_pb2, flow_pb2

if TYPE_CHECKING:
    from gradclinic_store import Attempt, Store, TenantStore

MODEL = b"not really a model"
QUEUE = "gradclinic:cpu"


def sha256_of(content: bytes) -> str:
    """Return the name of an artifact."""
    return hashlib.sha256(content).hexdigest()


def declaration_of(content: bytes, offset_bytes: int = 0) -> artifact_pb2.ArtifactDeclaration:
    """Return what an upload of these bytes begins with."""
    return artifact_pb2.ArtifactDeclaration(
        kind=artifact_pb2.ARTIFACT_KIND_MODEL,
        format=artifact_pb2.ARTIFACT_FORMAT_TORCHSCRIPT,
        size_bytes=len(content),
        sha256=sha256_of(content),
        offset_bytes=offset_bytes,
    )


def upload(store: Store | TenantStore, content: bytes, piece_bytes: int = 1024 * 1024) -> artifact_pb2.Artifact:
    """Upload bytes in pieces."""
    with store.artifacts.upload(declaration_of(content)) as running:
        for offset in range(0, len(content), piece_bytes):
            running.write(offset, content[offset : offset + piece_bytes])
        return running.finish()


def spec_of(
    store: Store | TenantStore, run: str = "", labels: dict[str, str] | None = None, seed: int = 0
) -> diagnosis_pb2.DiagnosisSpec:
    """Return a spec whose artifacts are stored."""
    return diagnosis_pb2.DiagnosisSpec(model_sha256=upload(store, MODEL).sha256, run=run, labels=labels, seed=seed)


def result_of(severity: finding_pb2.Severity.ValueType = finding_pb2.SEVERITY_WARNING) -> diagnosis_pb2.DiagnosisResult:
    """Return a result with one finding, one site and one parameter."""
    result = diagnosis_pb2.DiagnosisResult(
        verdict=finding_pb2.Verdict.ValueType(severity),
        findings=[finding_pb2.Finding(code="dead-relu", severity=severity)],
        sites=[flow_pb2.Site(index=0, dtype="float32")],
        parameters=[flow_pb2.ParameterGradient(name="weight")],
    )
    timing = result.environment.timings.add(stage=diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD)
    timing.duration.FromMilliseconds(40)
    return result


def started(store: Store, diagnosis_id: str, worker_id: str = "worker") -> Attempt:
    """Start a diagnosis that must be queued."""
    attempt = store.diagnoses.start(diagnosis_id, worker_id)
    if attempt is None:
        raise AssertionError(f"{diagnosis_id} is not queued")
    return attempt
