"""A patient caller of the API: retries what the contract says may be retried, and writes down what it was told."""

from __future__ import annotations

import hashlib
import time
import uuid
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from chaos.ledger import FINAL_STATES, Broken, Ledger
from gradclinic.v1 import artifact_pb2, artifact_pb2_grpc, diagnosis_pb2, diagnosis_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
M = TypeVar("M", bound=Message)

CALL_SECONDS = 5.0
RUN_SECONDS = 60  # longest run that is asked for
PATIENCE_SECONDS = 40.0
PAUSE_SECONDS = 0.1
LOOK_EVERY_SECONDS = 0.05
CHUNK_BYTES = 1 << 18
MODEL = b"a model" * 1000
INPUTS = b"some inputs"
Code = grpc.StatusCode
RETRIED = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED})
UPLOAD_RETRIED = RETRIED | {Code.ABORTED, Code.FAILED_PRECONDITION}  # taken over; resumes elsewhere than it thought
OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
)


class GaveUp(Exception):
    """The caller's patience ended."""


class Caller:
    """One channel to the API. Thread-safe."""

    def __init__(self, target: str, ledger: Ledger, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.ledger = ledger
        self.patience_seconds = patience_seconds
        self._channel = grpc.insecure_channel(target, options=OPTIONS)
        self.artifacts = artifact_pb2_grpc.ArtifactServiceStub(self._channel)
        self.diagnoses = diagnosis_pb2_grpc.DiagnosisServiceStub(self._channel)

    def __enter__(self) -> Self:
        """Give the caller."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the channel."""
        self._channel.close()

    def create(self, body: str, *, model: bytes = MODEL, seed: int = 0, request_id: str = "") -> str:
        """Have a diagnosis accepted whose executor runs a body; returns its id.

        Raises:
            GaveUp: nobody accepted it in time.
        """
        spec = diagnosis_pb2.DiagnosisSpec(
            model_sha256=self.upload(model),
            inputs_sha256=self.upload(INPUTS, artifact_pb2.ARTIFACT_KIND_TENSORS),
            labels={"body": body},
            run=self.ledger.scene,
            seed=seed,
        )
        spec.timeout.FromSeconds(RUN_SECONDS)
        request = diagnosis_pb2.CreateDiagnosisRequest(spec=spec, request_id=request_id or str(uuid.uuid4()))
        made = self.patiently(lambda: self.diagnoses.CreateDiagnosis(request, timeout=CALL_SECONDS))
        self.ledger.accept(made.id, request.request_id)
        return made.id

    def upload(
        self,
        content: bytes,
        kind: artifact_pb2.ArtifactKind.ValueType = artifact_pb2.ARTIFACT_KIND_MODEL,
        pause_seconds: float = 0.0,
    ) -> str:
        """Store an artifact, going on where an interrupted stream was; returns its SHA-256."""
        sha256 = hashlib.sha256(content).hexdigest()

        def send() -> None:
            begin = self._received(sha256)
            if begin is not None:
                stream = stream_of(content, kind, begin, pause_seconds)
                self.artifacts.UploadArtifact(stream, timeout=PATIENCE_SECONDS)

        self.patiently(send, UPLOAD_RETRIED)
        return sha256

    def get(self, diagnosis_id: str) -> diagnosis_pb2.Diagnosis:
        """Read a diagnosis; a final one is noted as shown."""
        request = diagnosis_pb2.GetDiagnosisRequest(id=diagnosis_id)
        diagnosis = self.patiently(lambda: self.diagnoses.GetDiagnosis(request, timeout=CALL_SECONDS))
        if diagnosis.state in FINAL_STATES:
            self.ledger.show(diagnosis)
        return diagnosis

    def final(self, diagnosis_id: str, seconds: float = PATIENCE_SECONDS) -> diagnosis_pb2.Diagnosis | None:
        """Wait until a diagnosis has ended; None when it does not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            diagnosis = self.get(diagnosis_id)
            if diagnosis.state in FINAL_STATES:
                return diagnosis
            time.sleep(LOOK_EVERY_SECONDS)
        return None

    def cancel(self, diagnosis_id: str) -> diagnosis_pb2.Diagnosis:
        """Cancel a diagnosis."""
        request = diagnosis_pb2.CancelDiagnosisRequest(id=diagnosis_id)
        return self.patiently(lambda: self.diagnoses.CancelDiagnosis(request, timeout=CALL_SECONDS))

    def patiently(self, call: Callable[[], T], retried: frozenset[Code] = RETRIED) -> T:
        """Call until it works, as the statuses advise.

        Raises:
            GaveUp: it did not in time.
            grpc.RpcError: a status that is not to be retried.
        """
        deadline = time.monotonic() + self.patience_seconds
        while True:
            try:
                return call()
            except grpc.RpcError as error:
                self.ledger.note(error.code().name)
                if error.code() not in retried:
                    raise
                if time.monotonic() > deadline:
                    raise GaveUp(str(error)) from error
                time.sleep(self._advice(error))

    def _advice(self, error: grpc.RpcError) -> float:
        """How long to wait; where the server itself refuses to work for now, it must say so."""
        advice = told(error, RetryInfo)
        if advice is not None:
            return min(1.0, float(advice.retry_delay.ToTimedelta().total_seconds()))
        if error.code() in RETRIED and told(error, ErrorInfo) is not None:
            self.ledger.broke(Broken.UNCLEAR, f"no retry advice in {error.code().name}: {error.details()}")
        return PAUSE_SECONDS

    def _received(self, sha256: str) -> int | None:
        """From where to send, None when it is there already."""
        try:
            self.artifacts.GetArtifact(artifact_pb2.GetArtifactRequest(sha256=sha256), timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            if error.code() is not Code.NOT_FOUND:
                raise
            answer = told(error, ErrorInfo)
            return int(answer.metadata["received_bytes"]) if answer else 0
        return None


def told(error: grpc.RpcError, kind: type[M]) -> M | None:
    """Return the first detail of a kind in an error's status, None where the server told none."""
    metadata: Any = error.trailing_metadata() or ()
    for key, value in metadata:
        if key == "grpc-status-details-bin":
            for packed in Status.FromString(value).details:
                detail = kind()
                if packed.Unpack(detail):
                    return detail
    return None


def stream_of(
    content: bytes, kind: artifact_pb2.ArtifactKind.ValueType, begin_bytes: int, pause_seconds: float
) -> Iterator[artifact_pb2.UploadArtifactRequest]:
    """Yield the messages of an upload from a byte on, with a pause before each chunk."""
    tensors = kind == artifact_pb2.ARTIFACT_KIND_TENSORS
    yield artifact_pb2.UploadArtifactRequest(
        declaration=artifact_pb2.ArtifactDeclaration(
            kind=kind,
            format=artifact_pb2.ARTIFACT_FORMAT_SAFETENSORS if tensors else artifact_pb2.ARTIFACT_FORMAT_TORCHSCRIPT,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            offset_bytes=begin_bytes,
        )
    )
    for offset in range(begin_bytes, len(content), CHUNK_BYTES):
        time.sleep(pause_seconds)
        chunk = artifact_pb2.ArtifactChunk(offset_bytes=offset, content=content[offset : offset + CHUNK_BYTES])
        yield artifact_pb2.UploadArtifactRequest(chunk=chunk)
