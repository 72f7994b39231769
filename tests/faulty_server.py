"""A real gRPC server that keeps the contract in memory, and breaks on purpose: for tests of the client."""

# ruff: noqa: N802, ARG002 - servicer methods have gRPC's names and arguments
from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from gradclinic.v1 import (
    artifact_pb2,
    artifact_pb2_grpc,
    diagnosis_pb2,
    diagnosis_pb2_grpc,
    finding_pb2,
    server_pb2,
    server_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message

MEBIBYTE = 1 << 20


def abort(context: grpc.ServicerContext, code: grpc.StatusCode, message: str, *details: Message) -> None:
    packed = []
    for detail in details:
        item = any_pb2.Any()
        item.Pack(detail)
        packed.append(item)
    status = status_pb2.Status(code=code.value[0], message=message, details=packed)
    context.abort_with_status(rpc_status.to_status(status))


@dataclass
class Faults:
    """What goes wrong, how often: each call takes one from its list."""

    create: list[Callable[[grpc.ServicerContext], None]] = field(default_factory=list)
    get_artifact: list[Callable[[grpc.ServicerContext], None]] = field(default_factory=list)
    break_upload_after_bytes: list[int] = field(default_factory=list)
    break_watch_after_events: list[int] = field(default_factory=list)


class Server(
    artifact_pb2_grpc.ArtifactServiceServicer,
    diagnosis_pb2_grpc.DiagnosisServiceServicer,
    server_pb2_grpc.ServerServiceServicer,
):
    """Keeps the contract in memory, and what it was asked."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.artifacts: dict[str, bytes] = {}
        self.partial: dict[str, bytes] = {}
        self.declarations: list[tuple[int, int]] = []  # offset and chunk count of each upload
        self.created: dict[str, diagnosis_pb2.Diagnosis] = {}  # by request id
        self.watched_after: list[int] = []
        self.events = [
            diagnosis_pb2.DiagnosisEvent(revision=1, state=diagnosis_pb2.DIAGNOSIS_STATE_QUEUED),
            diagnosis_pb2.DiagnosisEvent(
                revision=2,
                state=diagnosis_pb2.DIAGNOSIS_STATE_RUNNING,
                stage=diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD,
                progress=0.5,
            ),
        ]
        self.final = diagnosis_pb2.Diagnosis(
            id="d1",
            state=diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED,
            result=diagnosis_pb2.DiagnosisResult(verdict=finding_pb2.VERDICT_HEALTHY),
        )
        self.hold_final = threading.Event()
        self.hold_final.set()

    def GetArtifact(
        self, request: artifact_pb2.GetArtifactRequest, context: grpc.ServicerContext
    ) -> artifact_pb2.Artifact:
        if self.faults.get_artifact:
            self.faults.get_artifact.pop(0)(context)
        if request.sha256 not in self.artifacts:
            received = str(len(self.partial.get(request.sha256, b"")))
            cause = error_details_pb2.ErrorInfo(
                reason="ARTIFACT_NOT_FOUND", domain="gradclinic", metadata={"received_bytes": received}
            )
            abort(context, grpc.StatusCode.NOT_FOUND, "no such artifact", cause)
        return artifact_pb2.Artifact(sha256=request.sha256)

    def UploadArtifact(
        self, requests: Iterator[artifact_pb2.UploadArtifactRequest], context: grpc.ServicerContext
    ) -> artifact_pb2.Artifact:
        declaration = next(requests).declaration
        content = self.partial.get(declaration.sha256, b"")
        assert len(content) >= declaration.offset_bytes
        content = content[: declaration.offset_bytes]
        limit = self.faults.break_upload_after_bytes.pop(0) if self.faults.break_upload_after_bytes else None
        chunks = 0
        for request in requests:
            assert len(content) == request.chunk.offset_bytes
            assert len(request.chunk.content) <= MEBIBYTE
            content += request.chunk.content
            chunks += 1
            if limit is not None and len(content) >= limit:
                self.partial[declaration.sha256] = content
                self.declarations.append((declaration.offset_bytes, chunks))
                context.abort(grpc.StatusCode.UNAVAILABLE, "broken")
        assert hashlib.sha256(content).hexdigest() == declaration.sha256
        assert len(content) == declaration.size_bytes
        self.artifacts[declaration.sha256] = content
        self.declarations.append((declaration.offset_bytes, chunks))
        return artifact_pb2.Artifact(sha256=declaration.sha256)

    def CreateDiagnosis(
        self, request: diagnosis_pb2.CreateDiagnosisRequest, context: grpc.ServicerContext
    ) -> diagnosis_pb2.Diagnosis:
        known = self.created.setdefault(
            request.request_id,
            diagnosis_pb2.Diagnosis(
                id=f"d{len(self.created) + 1}", spec=request.spec, state=diagnosis_pb2.DIAGNOSIS_STATE_QUEUED
            ),
        )
        if self.faults.create:
            self.faults.create.pop(0)(context)
        return known

    def WatchDiagnosis(
        self, request: diagnosis_pb2.WatchDiagnosisRequest, context: grpc.ServicerContext
    ) -> Iterator[diagnosis_pb2.DiagnosisEvent]:
        self.watched_after.append(request.after_revision)
        limit = self.faults.break_watch_after_events.pop(0) if self.faults.break_watch_after_events else None
        for sent, event in enumerate(e for e in self.events if e.revision > request.after_revision):
            if sent == limit:
                context.abort(grpc.StatusCode.UNAVAILABLE, "broken")
            yield event
        while not self.hold_final.wait(0.02):
            if not context.is_active():
                return
        yield diagnosis_pb2.DiagnosisEvent(revision=3, state=self.final.state, diagnosis=self.final)

    def GetServerInfo(
        self, request: server_pb2.GetServerInfoRequest, context: grpc.ServicerContext
    ) -> server_pb2.ServerInfo:
        return server_pb2.ServerInfo(version="9")
