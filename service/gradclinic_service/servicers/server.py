"""ServerService: what this server is and can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

from gradclinic import __version__
from gradclinic.v1 import artifact_pb2, diagnosis_pb2, server_pb2, server_pb2_grpc
from gradclinic_engine.losses import FUNCTIONAL_LOSSES
from gradclinic_service.identity import caller
from gradclinic_service.settings import MAX_CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradclinic_service.boundary import Context
    from gradclinic_service.settings import ServiceSettings
    from gradclinic_service.threads import StoreThreads
    from gradclinic_store import Store

SANDBOX_LEVELS = ("none", "process", "seccomp", "cage")  # weakest first, as the worker names them


class ServerServicer(server_pb2_grpc.ServerServiceServicer):
    """Describes this server and the fleet behind it."""

    def __init__(self, store: Store, threads: StoreThreads, settings: ServiceSettings) -> None:
        self._store = store
        self._threads = threads
        self._limits = limits(settings)

    async def GetServerInfo(  # noqa: N802, gRPC's name
        self,
        request: server_pb2.GetServerInfoRequest,  # noqa: ARG002, it is empty
        context: Context,  # noqa: ARG002, gRPC passes it
    ) -> server_pb2.ServerInfo:
        """Versions, limits, live workers and what is accepted."""
        who = caller()
        workers = await self._threads.run(self._store.fleet.live)
        usage = await self._threads.run(self._store.usage, who.tenant)
        return server_pb2.ServerInfo(
            version=__version__,
            limits=self._limits,
            workers=workers,
            model_formats=[artifact_pb2.ARTIFACT_FORMAT_TORCHSCRIPT],
            losses=sorted(FUNCTIONAL_LOSSES),
            depths=[diagnosis_pb2.DEPTH_QUICK, diagnosis_pb2.DEPTH_STANDARD, diagnosis_pb2.DEPTH_THOROUGH],
            sandbox_level=weakest_sandbox([worker.sandbox_level for worker in workers]),
            caller=server_pb2.Caller(tenant=who.tenant, role=str(who.role)),
            usage=server_pb2.Usage(queued=usage.queued, running=usage.running, stored_bytes=usage.stored_bytes),
        )


def weakest_sandbox(levels: Sequence[str]) -> str:
    """The weakest of some sandbox levels, where an unknown one counts as the weakest; empty for none."""
    return min(levels, key=lambda level: SANDBOX_LEVELS.index(level) if level in SANDBOX_LEVELS else -1, default="")


def limits(service: ServiceSettings) -> server_pb2.Limits:
    """The limits in force; they are the same for each tenant."""
    settings = service.store
    return server_pb2.Limits(
        max_artifact_bytes=settings.max_artifact_bytes,
        max_chunk_bytes=MAX_CHUNK_BYTES,
        max_stored_bytes=settings.max_stored_bytes,
        max_queued=settings.max_queued,
        max_run_time=_duration(settings.run_limit_seconds),
        max_queue_time=_duration(settings.queue_ttl_seconds),
        diagnosis_retention=_duration(settings.diagnosis_retention_seconds),
        artifact_retention=_duration(settings.artifact_retention_seconds),
        tenant_max_stored_bytes=settings.tenant_max_stored_bytes or settings.max_stored_bytes,
        tenant_max_queued=settings.tenant_max_queued or settings.max_queued,
        tenant_max_running=settings.tenant_max_running,
        max_concurrent_uploads=service.max_concurrent_uploads,
        tenant_max_concurrent_uploads=service.tenant_max_concurrent_uploads or service.max_concurrent_uploads,
        max_concurrent_rpcs=service.max_concurrent_rpcs,
        tenant_max_concurrent_rpcs=service.tenant_max_concurrent_rpcs or service.max_concurrent_rpcs,
        max_concurrent_watches=service.max_concurrent_watches,
        tenant_max_concurrent_watches=service.tenant_max_concurrent_watches or service.max_concurrent_watches,
        submissions_per_second=settings.submissions_per_second,
        tenant_submissions_per_second=settings.tenant_submissions_per_second,
        submission_burst_seconds=settings.submission_burst_seconds,
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMilliseconds(round(seconds * 1000))
    return duration
