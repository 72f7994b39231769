"""What an operator can set: one frozen record per process, read once at start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gradclinic.addresses import Address
from gradclinic_store.settings import StoreSettings

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024

MAX_MESSAGE_BYTES = 4 * MIB  # gRPC's own default; nothing larger crosses the wire by design
MAX_CHUNK_BYTES = 1 * MIB  # of an upload; larger and smaller ones were slower


@dataclass(frozen=True, slots=True)
class TransportSecurity:
    """The server's certificate, and whom it trusts; PEM bytes."""

    certificate: bytes
    private_key: bytes
    client_authority: bytes = b""  # empty: clients need no certificate


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Settings of one API process."""

    listen: Address = Address("localhost", 50051)
    metrics_listen: Address | None = Address("localhost", 9464)  # None: off
    store: StoreSettings = field(default_factory=lambda: StoreSettings(redis_url="redis://localhost:6379/0"))
    security: TransportSecurity | None = None  # None: plain text
    token_file: Path | None = None  # who may call, see credentials.py; None: anybody
    store_threads: int = 16  # how many blocking store calls run at once
    upload_threads: int = 4  # how many batches of uploads are hashed and written at once
    max_concurrent_rpcs: int = 2000  # more are refused at once with RESOURCE_EXHAUSTED
    max_concurrent_uploads: int = 64  # each holds at most about 8 MiB
    tenant_max_concurrent_uploads: int = 0  # of one tenant; 0: as all together
    upload_idle_seconds: float = 60.0  # an upload that sends less than 64 KiB in so long is dropped, to be resumed
    reap_interval_seconds: float = 2.0
    drain_delay_seconds: float = 0.5  # stays up as NOT_SERVING, so that load balancers notice
    drain_grace_seconds: float = 10.0  # then calls in flight may take so long
