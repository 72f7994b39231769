"""The gRPC server: services, interceptors and transport put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gradclinic.addresses import Address
from gradclinic.v1 import (
    artifact_pb2,
    diagnosis_pb2,
    diagnosis_pb2_grpc,
    server_pb2,
    server_pb2_grpc,
)
from gradclinic_service.answers import ANSWERS_AT_ONCE, AnswerRoom
from gradclinic_service.authentication import IdentityInterceptor
from gradclinic_service.boundary import AbortInterceptor
from gradclinic_service.credentials import CredentialFile
from gradclinic_service.drain import Drain
from gradclinic_service.errors import AddressTaken
from gradclinic_service.metrics.calls import CallMetricsInterceptor
from gradclinic_service.places import PlacesInterceptor
from gradclinic_service.servicers.artifacts import ArtifactServicer, add_artifact_servicer
from gradclinic_service.servicers.diagnoses import DiagnosisServicer
from gradclinic_service.servicers.health import HealthServicer
from gradclinic_service.servicers.server import ServerServicer
from gradclinic_service.settings import MAX_MESSAGE_BYTES, ServiceSettings, TransportSecurity
from gradclinic_service.single_requests import RequestInterceptor
from gradclinic_service.threads import StoreThreads

if TYPE_CHECKING:
    from gradclinic_service.metrics.process import ProcessMetrics
    from gradclinic_store import Store

SERVICES = tuple(
    descriptor.services_by_name[name].full_name
    for descriptor, name in (
        (server_pb2.DESCRIPTOR, "ServerService"),
        (artifact_pb2.DESCRIPTOR, "ArtifactService"),
        (diagnosis_pb2.DESCRIPTOR, "DiagnosisService"),
    )
)

KEEPALIVE_MS = 60_000  # how often the server asks a silent connection whether it still lives
KEEPALIVE_TIMEOUT_MS = 20_000
SHORTEST_CLIENT_PING_MS = 10_000  # clients that ask more often are sent away (GOAWAY)

SETTLE_SECONDS = 5.0  # for uploads that were cut off, to write what had arrived of them

OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", SHORTEST_CLIENT_PING_MS),
    ("grpc.so_reuseport", 0),  # or a second server on the same port would silently take half of the calls
)


class ApiServer:
    """One gRPC server in one event loop; made, started and stopped inside it."""

    def __init__(self, store: Store, settings: ServiceSettings, metrics: ProcessMetrics) -> None:
        self._settings = settings
        self._upload_threads = StoreThreads(settings.upload_threads, "upload")
        self._drain = Drain()
        self._health = HealthServicer(self._drain)
        self._artifacts = ArtifactServicer(store, self._upload_threads, settings, metrics.upload_bytes)
        file = settings.token_file
        credentials = CredentialFile(file, metrics.token_file_errors.inc) if file is not None else None
        share = 1 if credentials is None else 2  # a tenant among others has half
        self._threads = StoreThreads(settings.store_threads, "store", -(-settings.store_threads // share))
        self._room = AnswerRoom(ANSWERS_AT_ONCE // share)
        self._server = grpc.aio.server(
            interceptors=[
                CallMetricsInterceptor(metrics),
                AbortInterceptor(metrics),
                IdentityInterceptor(credentials),
                PlacesInterceptor(settings),
                RequestInterceptor(),
            ],
            options=OPTIONS,
        )
        self._add_services(store)

    @property
    def threads(self) -> StoreThreads:
        """Where background work may call the store."""
        return self._threads

    def _add_services(self, store: Store) -> None:
        settings, server = self._settings, self._server
        server_pb2_grpc.add_ServerServiceServicer_to_server(ServerServicer(store, self._threads, settings), server)
        add_artifact_servicer(self._artifacts, server)
        diagnosis_pb2_grpc.add_DiagnosisServiceServicer_to_server(
            DiagnosisServicer(store, self._threads, self._room, settings.store.run_limit_seconds, self._drain), server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)

    async def start(self) -> Address:
        """Starts to serve, and answers with the address in force.

        Raises:
            AddressTaken: something else listens there, or it is none of this machine's.
        """
        wanted = self._settings.listen
        try:
            port = self._bind(wanted, self._settings.security)
        except RuntimeError as error:
            raise AddressTaken(
                f"cannot listen on {wanted}: another server does, or the host is not this machine"
            ) from error
        await self._server.start()
        for service in SERVICES:
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return Address(wanted.host, port)

    def _bind(self, address: Address, security: TransportSecurity | None) -> int:
        if security is None:
            return self._server.add_insecure_port(str(address))
        credentials = grpc.ssl_server_credentials(
            [(security.private_key, security.certificate)],
            root_certificates=security.client_authority or None,
            require_client_auth=bool(security.client_authority),
        )
        return self._server.add_secure_port(str(address), credentials)

    async def begin_drain(self) -> None:
        """Tells load balancers and watchers that this server is going away, while it still answers."""
        await self._health.enter_graceful_shutdown()
        self._drain.begin()

    async def stop(self, grace_seconds: float) -> None:
        """Takes no more calls, lets those in flight end for so long, then cancels them."""
        await self._server.stop(grace_seconds)
        await self._artifacts.settled(SETTLE_SECONDS)
        self._upload_threads.close()
        self._threads.close()
