"""The artifacts that a request names: which fields, and whether they are what they are used as."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gradclinic.v1.artifact_pb2 import (
    ARTIFACT_KIND_LOSS,
    ARTIFACT_KIND_MODEL,
    ARTIFACT_KIND_TENSORS,
    ArtifactKind,
)
from gradclinic_service.errors import ArtifactMissing, Violation, require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic.v1.diagnosis_pb2 import DiagnosisSpec
    from gradclinic_store.artifacts import Artifacts


class Named(NamedTuple):
    """An artifact that a request names."""

    field: str
    sha256: str
    kind: ArtifactKind.ValueType


def named_artifacts(spec: DiagnosisSpec) -> Iterator[Named]:
    """The artifacts that a request names, in the order of its fields."""
    loss = spec.loss
    for named in (
        Named("spec.model_sha256", spec.model_sha256, ARTIFACT_KIND_MODEL),
        Named("spec.inputs_sha256", spec.inputs_sha256, ARTIFACT_KIND_TENSORS),
        Named("spec.target_sha256", spec.target_sha256, ARTIFACT_KIND_TENSORS),
        Named("spec.loss.module_sha256", loss.module_sha256, ARTIFACT_KIND_LOSS),
        Named(
            "spec.loss.functional.tensor_options_sha256",
            loss.functional.tensor_options_sha256,
            ARTIFACT_KIND_TENSORS,
        ),
    ):
        if named.sha256:
            yield named


def require_kinds(artifacts: Artifacts, spec: DiagnosisSpec) -> None:
    """Checks what is stored under each name; whether it is stored at all is for the store to say.

    Raises:
        InvalidRequest: some artifacts are of the wrong kind.
    """
    require(_kind_violations(artifacts, spec))


def _kind_violations(artifacts: Artifacts, spec: DiagnosisSpec) -> Iterator[Violation]:
    every = list(named_artifacts(spec))
    for named, kind in zip(every, artifacts.kinds([named.sha256 for named in every]), strict=True):
        if kind is not None and kind != named.kind:
            got, wanted = ArtifactKind.Name(kind), ArtifactKind.Name(named.kind)
            yield Violation(named.field, f"names an artifact of kind {got}; upload one of kind {wanted}")


def missing(spec: DiagnosisSpec, sha256: str) -> ArtifactMissing:
    """The error for a named artifact that is not stored."""
    field = next((named.field for named in named_artifacts(spec) if named.sha256 == sha256), "spec")
    message = f"{field}: no artifact {sha256} is stored; upload it, then ask again with the same request id"
    return ArtifactMissing(message, sha256=sha256, field=field)
