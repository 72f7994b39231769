"""A real API server in this process on a free port, and what tests of it need."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from gradclinic.addresses import Address
from gradclinic.v1 import artifact_pb2, artifact_pb2_grpc, diagnosis_pb2, diagnosis_pb2_grpc, server_pb2_grpc
from gradclinic_service.credentials import new_token
from gradclinic_service.identity import Role
from gradclinic_service.metrics.process import ProcessMetrics
from gradclinic_service.server import ApiServer
from gradclinic_service.settings import ServiceSettings
from gradclinic_store import Store
from gradclinic_store.settings import StoreSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

M = TypeVar("M", bound=Message)

MODEL = artifact_pb2.ARTIFACT_KIND_MODEL
TENSORS = artifact_pb2.ARTIFACT_KIND_TENSORS
LOSS = artifact_pb2.ARTIFACT_KIND_LOSS
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Api:
    """A running server, the store behind it and stubs to call it."""

    server: ApiServer
    address: Address
    store: Store
    metrics: ProcessMetrics
    channel: grpc.aio.Channel

    @property
    def artifacts(self) -> artifact_pb2_grpc.ArtifactServiceAsyncStub:
        return artifact_pb2_grpc.ArtifactServiceStub(self.channel)  # type: ignore[return-value]  # the stubs' way

    @property
    def diagnoses(self) -> diagnosis_pb2_grpc.DiagnosisServiceAsyncStub:
        return diagnosis_pb2_grpc.DiagnosisServiceStub(self.channel)  # type: ignore[return-value]  # as above

    @property
    def info(self) -> server_pb2_grpc.ServerServiceAsyncStub:
        return server_pb2_grpc.ServerServiceStub(self.channel)  # type: ignore[return-value]  # as above

    async def upload(
        self, content: bytes, kind: artifact_pb2.ArtifactKind.ValueType = MODEL, metadata: Any = ()
    ) -> artifact_pb2.Artifact:
        return await self.artifacts.UploadArtifact(stream_of(content, kind), timeout=30, metadata=metadata)

    async def create(self, *, metadata: Any = (), **spec: Any) -> diagnosis_pb2.Diagnosis:
        """Uploads a model and inputs, and asks for their diagnosis."""
        model = await self.upload(b"model", metadata=metadata)
        inputs = await self.upload(b"inputs", TENSORS, metadata)
        whole = diagnosis_pb2.DiagnosisSpec(model_sha256=model.sha256, inputs_sha256=inputs.sha256, **spec)
        request = diagnosis_pb2.CreateDiagnosisRequest(spec=whole, request_id=str(uuid.uuid4()))
        return await self.diagnoses.CreateDiagnosis(request, timeout=10, metadata=metadata)


@asynccontextmanager
async def running_api(redis_url: str, store: dict[str, Any] | None = None, **changed: Any) -> AsyncIterator[Api]:
    """Starts a server; ``store`` and ``changed`` are settings that differ from the defaults."""
    store_settings = replace(StoreSettings(redis_url=redis_url, patience_seconds=0.3), **(store or {}))
    settings = ServiceSettings(listen=Address("127.0.0.1", 0), store=store_settings, **changed)
    metrics = ProcessMetrics()
    with Store.connect(store_settings) as connected:
        server = ApiServer(connected, settings, metrics)
        address = await server.start()
        try:
            async with grpc.aio.insecure_channel(str(address)) as channel:
                yield Api(server, address, connected, metrics, channel)
        finally:
            await server.stop(0)


def tokens(path: Path, *tenants: str) -> dict[str, Any]:
    """Writes a token file in which each tenant may submit; the metadata that each calls with."""
    made = {tenant: new_token(tenant, Role.SUBMIT) for tenant in tenants}
    path.write_text("".join(f"{credential}\n" for _, credential in made.values()))
    return {tenant: (("authorization", f"Bearer {token}"),) for tenant, (token, _) in made.items()}


async def refused(
    call: Awaitable[Any], code: grpc.StatusCode = grpc.StatusCode.RESOURCE_EXHAUSTED
) -> grpc.aio.AioRpcError:
    """The error that a call must end with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert code == caught.value.code()
    return caught.value


def declaration(
    content: bytes, kind: artifact_pb2.ArtifactKind.ValueType = MODEL, **changed: Any
) -> artifact_pb2.UploadArtifactRequest:
    """The first message of an upload."""
    tensors = kind == TENSORS
    form = artifact_pb2.ARTIFACT_FORMAT_SAFETENSORS if tensors else artifact_pb2.ARTIFACT_FORMAT_TORCHSCRIPT
    whole = {"kind": kind, "format": form, "size_bytes": len(content), "sha256": sha256(content), **changed}
    return artifact_pb2.UploadArtifactRequest(declaration=artifact_pb2.ArtifactDeclaration(**whole))


def chunk(content: bytes, offset_bytes: int = 0) -> artifact_pb2.UploadArtifactRequest:
    """A later message of an upload."""
    return artifact_pb2.UploadArtifactRequest(
        chunk=artifact_pb2.ArtifactChunk(offset_bytes=offset_bytes, content=content)
    )


def stream_of(
    content: bytes,
    kind: artifact_pb2.ArtifactKind.ValueType = MODEL,
    *,
    start_bytes: int = 0,
    chunk_bytes: int = MIB,
    **changed: Any,
) -> Iterator[artifact_pb2.UploadArtifactRequest]:
    """All messages of an upload, from ``start_bytes`` on."""
    yield declaration(content, kind, offset_bytes=start_bytes, **changed)
    for offset in range(start_bytes, len(content), chunk_bytes):
        yield chunk(content[offset : offset + chunk_bytes], offset)


def sha256(content: bytes) -> str:
    """The name of an artifact."""
    return hashlib.sha256(content).hexdigest()


def detail(error: grpc.aio.AioRpcError | grpc.Call, kind: type[M]) -> M:
    """One detail of an error's status.

    Raises:
        LookupError: it has none of that kind.
    """
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = Status.FromString(value)
            for packed in status.details:
                message = kind()
                if packed.Unpack(message):
                    return message
    raise LookupError(f"{kind.__name__} in {error}")


def reason(error: grpc.aio.AioRpcError | grpc.Call) -> str:
    """The stable reason of an error."""
    told: str = detail(error, ErrorInfo).reason
    return told


def fields(error: grpc.aio.AioRpcError | grpc.Call) -> list[str]:
    """The fields that an error names."""
    return [violation.field for violation in detail(error, BadRequest).field_violations]


def metric(metrics: ProcessMetrics, name: str, **labels: str) -> float:
    """A sample's value, 0 where it has none yet."""
    return metrics.registry.get_sample_value(name, labels) or 0.0


async def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits until something holds.

    Raises:
        TimeoutError: it does not.
    """
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110, what is waited for is in a store or a process, not in this loop
            await asyncio.sleep(0.01)
