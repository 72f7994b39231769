"""What each request of the API must look like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic.v1 import artifact_pb2, diagnosis_pb2, finding_pb2
from gradclinic_service.errors import Violation
from gradclinic_service.settings import MAX_CHUNK_BYTES
from gradclinic_service.upload_messages import Piece
from gradclinic_service.validation.fields import (
    MAX_RUN_CHARACTERS,
    enum_violations,
    id_violations,
    label_violations,
    request_id_violations,
    sha256_violations,
    shown,
    text_violations,
)
from gradclinic_service.validation.losses import loss_violations, optimizer_violations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.duration_pb2 import Duration

    from gradclinic_service.upload_messages import Message

DEVICE_KINDS = ("cpu", "cuda")
MAX_OUTPUT_CHARACTERS = 256
MAX_PRIORITY = 100
MAX_SPEC_BYTES = 64 * 1024  # twice as much as all labels may have; lists carry each spec
_NANOSECONDS = 1e9

_TORCHSCRIPT = artifact_pb2.ARTIFACT_FORMAT_TORCHSCRIPT
_FORMAT_OF_KIND = {
    artifact_pb2.ARTIFACT_KIND_MODEL: _TORCHSCRIPT,
    artifact_pb2.ARTIFACT_KIND_LOSS: _TORCHSCRIPT,
    artifact_pb2.ARTIFACT_KIND_TENSORS: artifact_pb2.ARTIFACT_FORMAT_SAFETENSORS,
}


def create_violations(
    request: diagnosis_pb2.CreateDiagnosisRequest, *, run_limit_seconds: float
) -> Iterator[Violation]:
    """A request for a diagnosis, apart from whether its artifacts are stored."""
    wrong = list(_create_violations(request, run_limit_seconds))
    size_bytes = request.spec.ByteSize()
    if not wrong and size_bytes > MAX_SPEC_BYTES:  # fields that this version does not know are kept as well
        wrong.append(Violation("spec", f"has {size_bytes} bytes; send at most {MAX_SPEC_BYTES}"))
    yield from wrong


def _create_violations(request: diagnosis_pb2.CreateDiagnosisRequest, run_limit_seconds: float) -> Iterator[Violation]:
    spec = request.spec
    yield from request_id_violations("request_id", request.request_id)
    yield from sha256_violations("spec.model_sha256", spec.model_sha256, if_empty="upload the model and name it here")
    yield from sha256_violations(
        "spec.inputs_sha256", spec.inputs_sha256, if_empty="upload the inputs and name them here"
    )
    yield from sha256_violations("spec.target_sha256", spec.target_sha256)
    yield from loss_violations(spec)
    yield from optimizer_violations(spec.optimizer)
    yield from enum_violations("spec.depth", spec.depth, diagnosis_pb2.Depth)
    yield from _device_violations(spec.device)
    if request.wait_for_device and not spec.device:
        yield Violation("wait_for_device", "has no effect without spec.device; name the device, or leave it out")
    yield from label_violations("spec.labels", spec.labels)
    yield from text_violations("spec.run", spec.run, MAX_RUN_CHARACTERS)
    yield from text_violations("spec.output", spec.output, MAX_OUTPUT_CHARACTERS)
    if spec.HasField("step") and spec.step < 0:
        yield Violation("spec.step", f"{spec.step} is negative; count training steps from 0")
    if not -MAX_PRIORITY <= spec.priority <= MAX_PRIORITY:
        yield Violation("spec.priority", f"{spec.priority} is out of range; send -{MAX_PRIORITY} to {MAX_PRIORITY}")
    if spec.HasField("timeout"):
        yield from _timeout_violations(spec.timeout, run_limit_seconds)


def _device_violations(device: str) -> Iterator[Violation]:
    if not device or device in DEVICE_KINDS:
        return
    kind, separator, _ = device.partition(":")
    if separator and kind in DEVICE_KINDS:
        yield Violation(
            "spec.device", f"{shown(device)} is one device; name its kind, {kind!r}, and any worker with one may run it"
        )
    else:
        yield Violation(
            "spec.device", f"{shown(device)} is not known; send 'cpu', 'cuda' or nothing for whatever is free"
        )


def _timeout_violations(timeout: Duration, run_limit_seconds: float) -> Iterator[Violation]:
    seconds = timeout.seconds + timeout.nanos / _NANOSECONDS
    if seconds <= 0:
        yield Violation("spec.timeout", f"{seconds:g} s is no time to run; send more than 0, or leave it out")
    elif seconds > run_limit_seconds:
        yield Violation(
            "spec.timeout", f"{seconds:g} s is above this server's limit; send at most {run_limit_seconds:g} s"
        )


def list_violations(request: diagnosis_pb2.ListDiagnosesRequest) -> Iterator[Violation]:
    """A request for a page."""
    if request.page_size < 0:
        yield Violation("page_size", f"{request.page_size} is negative; send 0 for the default, or 1 to 1000")
    wanted = request.filter
    yield from text_violations("filter.run", wanted.run, MAX_RUN_CHARACTERS)
    yield from label_violations("filter.labels", wanted.labels)
    yield from enum_violations("filter.state", wanted.state, diagnosis_pb2.DiagnosisState)
    yield from enum_violations("filter.verdict", wanted.verdict, finding_pb2.Verdict)


def get_violations(request: diagnosis_pb2.GetDiagnosisRequest) -> Iterator[Violation]:
    """A request for one diagnosis."""
    yield from id_violations("id", request.id)
    yield from enum_violations("view", request.view, diagnosis_pb2.DiagnosisView)


def watch_violations(request: diagnosis_pb2.WatchDiagnosisRequest) -> Iterator[Violation]:
    """A request to watch."""
    yield from id_violations("id", request.id)
    if request.after_revision < 0:
        yield Violation("after_revision", f"{request.after_revision} is negative; send the last revision seen, or 0")


def declaration_violations(declaration: artifact_pb2.ArtifactDeclaration) -> Iterator[Violation]:
    """The first message of an upload, apart from whether its size is allowed."""
    kind, form = declaration.kind, declaration.format
    yield from enum_violations("declaration.kind", kind, artifact_pb2.ArtifactKind, required=True)
    yield from enum_violations("declaration.format", form, artifact_pb2.ArtifactFormat, required=True)
    expected = _FORMAT_OF_KIND.get(kind)
    if expected is not None and form in artifact_pb2.ArtifactFormat.values() and form not in (0, expected):
        names = artifact_pb2.ArtifactFormat.Name(form), artifact_pb2.ArtifactFormat.Name(expected)
        what = artifact_pb2.ArtifactKind.Name(kind)
        yield Violation("declaration.format", f"{names[0]} is not accepted for {what}; send {names[1]}")
    if declaration.size_bytes < 1:
        yield Violation(
            "declaration.size_bytes",
            f"is {declaration.size_bytes}; an artifact has at least one byte, is the file empty?",
        )
    yield from sha256_violations("declaration.sha256", declaration.sha256, if_empty="hash the whole artifact")
    if not 0 <= declaration.offset_bytes <= max(declaration.size_bytes, 0):
        yield Violation(
            "declaration.offset_bytes",
            f"{declaration.offset_bytes} lies outside the artifact; send 0, or `received_bytes` of GetArtifact",
        )


def chunk_violations(message: Message) -> Iterator[Violation]:
    """Every later message of an upload, apart from where it belongs."""
    if not isinstance(message, Piece):
        yield Violation("chunk", "is missing; only the first message of an upload is a declaration")
        return
    size_bytes = len(message.content)
    if size_bytes == 0:
        yield Violation("chunk.content", "is empty; leave such chunks out")
    elif size_bytes > MAX_CHUNK_BYTES:
        yield Violation("chunk.content", f"has {size_bytes} bytes; send at most {MAX_CHUNK_BYTES} in a chunk")
