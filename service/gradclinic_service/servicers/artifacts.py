"""ArtifactService: bytes in."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import grpc

from gradclinic.v1 import artifact_pb2, artifact_pb2_grpc
from gradclinic_service.errors import ArtifactUnknown, TooManyUploads, UploadStalled, Violation, require
from gradclinic_service.identity import caller
from gradclinic_service.upload_messages import Piece, read_message
from gradclinic_service.uploads import STEP_BYTES, Pace, UploadPipeline
from gradclinic_service.validation.fields import sha256_violations
from gradclinic_service.validation.requests import chunk_violations, declaration_violations
from gradclinic_store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from prometheus_client import Counter

    from gradclinic_service.boundary import Context
    from gradclinic_service.settings import ServiceSettings
    from gradclinic_service.threads import StoreThreads
    from gradclinic_service.upload_messages import Message
    from gradclinic_store import Store
    from gradclinic_store.artifacts import Artifacts
    from gradclinic_store.upload import Upload

logger = logging.getLogger(__name__)


class ArtifactServicer(artifact_pb2_grpc.ArtifactServiceServicer):
    """Takes uploads and tells what is stored."""

    def __init__(self, store: Store, threads: StoreThreads, settings: ServiceSettings, received: Counter) -> None:
        self._store = store
        self._threads = threads
        self._most_at_once = settings.max_concurrent_uploads
        self._most_of_a_tenant = settings.tenant_max_concurrent_uploads or settings.max_concurrent_uploads
        self._idle_seconds = settings.upload_idle_seconds
        self._received = received  # bytes
        self._under_way: dict[asyncio.Task[Any], str] = {}  # whose each is

    async def settled(self, patience_seconds: float) -> None:
        """Waits until cancelled uploads have written what had arrived of them."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=patience_seconds)

    async def GetArtifact(  # noqa: N802, gRPC's name
        self,
        request: artifact_pb2.GetArtifactRequest,
        context: Context,  # noqa: ARG002, gRPC passes it
    ) -> artifact_pb2.Artifact:
        """Describes a stored artifact, and keeps it for as long again."""
        require(sha256_violations("sha256", request.sha256, if_empty="send the SHA-256 of the artifact"))
        artifacts = self._mine()
        artifact = await self._threads.run(artifacts.touch, request.sha256)
        if artifact is not None:
            return artifact
        received = await self._threads.run(artifacts.received, request.sha256)
        raise ArtifactUnknown(
            f"no artifact {request.sha256} is stored; upload it from byte {received} on",
            sha256=request.sha256,
            received_bytes=str(received),
        )

    async def UploadArtifact(  # noqa: N802, gRPC's name
        self,
        request_iterator: AsyncIterator[Message],
        context: Context,  # noqa: ARG002, gRPC passes it
    ) -> artifact_pb2.Artifact:
        """Stores what arrives; answers at once where it is stored already."""
        messages = request_iterator.__aiter__()
        pace = Pace(self._idle_seconds)
        declaration = await self._declaration(messages, pace)
        with self._counted():
            stored = await self._threads.run(self._mine().touch, declaration.sha256)
            if stored is not None:
                require(_other_kind(stored, declaration))
                return stored
            async with self._opened(declaration) as pipeline:
                while not pipeline.stored and (message := await self._next(messages, pace)) is not None:
                    require(chunk_violations(message))
                    self._received.inc(len(message.content))
                    await pipeline.add(message)
                    pace.arrived(len(message.content))
                stored = await pipeline.finish()
            require(_other_kind(stored, declaration))
            return stored

    def _mine(self) -> Artifacts:
        """What the caller's tenant has."""
        return self._store.of(caller().tenant).artifacts

    async def _declaration(self, messages: AsyncIterator[Any], pace: Pace) -> artifact_pb2.ArtifactDeclaration:
        first = await self._next(messages, pace)
        if first is None or isinstance(first, Piece) or first.WhichOneof("payload") != "declaration":
            require([Violation("declaration", "is missing; the first message of an upload declares what will come")])
        declaration: artifact_pb2.ArtifactDeclaration = first.declaration
        require(declaration_violations(declaration))
        return declaration

    async def _next(self, messages: AsyncIterator[Any], pace: Pace) -> Any:
        try:
            async with asyncio.timeout_at(pace.deadline):
                return await anext(messages, None)
        except TimeoutError as error:
            raise UploadStalled(
                f"less than {STEP_BYTES // 1024} KiB arrived in {self._idle_seconds:g} s; "
                "resume from `received_bytes` of GetArtifact",
                limit="upload_idle_seconds",
                limit_value=f"{self._idle_seconds:g}",
                scope="request",
            ) from error

    @contextmanager
    def _counted(self) -> Iterator[None]:
        tenant = caller().tenant
        own = sum(whose == tenant for whose in self._under_way.values())
        if len(self._under_way) >= self._most_at_once:
            raise _too_many("", "max_concurrent_uploads", self._most_at_once, "all")
        if own >= self._most_of_a_tenant:
            raise _too_many("of yours ", "tenant_max_concurrent_uploads", self._most_of_a_tenant, "tenant")
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("an upload runs in a task of its own")
        self._under_way[task] = tenant
        try:
            yield
        finally:
            del self._under_way[task]

    @asynccontextmanager
    async def _opened(self, declaration: artifact_pb2.ArtifactDeclaration) -> AsyncIterator[UploadPipeline]:
        upload = await self._threads.run(self._mine().upload, declaration)
        pipeline = UploadPipeline(upload, self._threads)
        try:
            yield pipeline
        except BaseException as error:
            # Cancelled, for example: the caller has gone, but the bytes need not be sent twice.
            await asyncio.shield(self._leave(upload, pipeline, error))
            raise
        else:
            await self._threads.run(upload.__exit__, None, None, None)

    async def _leave(self, upload: Upload, pipeline: UploadPipeline, error: BaseException) -> None:
        try:
            await pipeline.settle()
        except StoreError as second:
            error = second
        try:
            await self._threads.run(upload.__exit__, type(error), error, error.__traceback__)
        except StoreError as third:
            logger.info("an interrupted upload could not be kept whole error=%s", third)


def add_artifact_servicer(servicer: ArtifactServicer, server: grpc.aio.Server) -> None:
    """Adds the service as the generated code does, but for how the messages of an upload are read."""
    upload = grpc.stream_unary_rpc_method_handler(
        servicer.UploadArtifact,
        request_deserializer=read_message,
        response_serializer=artifact_pb2.Artifact.SerializeToString,
    )
    service = artifact_pb2.DESCRIPTOR.services_by_name["ArtifactService"].full_name
    # The first handler that knows a method has it.
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"UploadArtifact": upload}),))
    artifact_pb2_grpc.add_ArtifactServiceServicer_to_server(servicer, server)


def _too_many(whose: str, limit: str, most: int, scope: str) -> TooManyUploads:
    message = f"{most} uploads {whose}are under way here; try again in a moment"
    return TooManyUploads(message, limit=limit, limit_value=str(most), scope=scope)


def _other_kind(stored: artifact_pb2.Artifact, declaration: artifact_pb2.ArtifactDeclaration) -> Iterator[Violation]:
    if stored.kind != declaration.kind:
        kind = artifact_pb2.ArtifactKind.Name(stored.kind)
        yield Violation("declaration.kind", f"these bytes are stored as {kind} already; declare them as that")
