"""What an operator can set: one frozen record per process, read once at start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gradclinic.command_options import (
    ADDRESS,
    ADDRESS_OR_OFF,
    COUNT,
    LOG_LEVEL,
    SECONDS,
    SECONDS_OR_ZERO,
    SWITCH,
    Kind,
    nested,
    setting,
)
from gradclinic_store.settings import HALF, StoreSettings

if TYPE_CHECKING:
    from gradclinic.addresses import Address

MIB = 1024 * 1024

MAX_MESSAGE_BYTES = 4 * MIB  # gRPC's own default; nothing larger crosses the wire by design
MAX_CHUNK_BYTES = 1 * MIB  # of an upload; larger and smaller ones were slower

FILE: Final = Kind(click.Path(exists=True, dir_okay=False, path_type=Path))


@dataclass(frozen=True, slots=True)
class TransportSecurity:
    """The server's certificate, and whom it trusts; PEM bytes."""

    certificate: bytes
    private_key: bytes
    client_authority: bytes = b""  # empty: clients need no certificate


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Settings of one API process."""

    listen: Address = setting(ADDRESS, "localhost:50051", "Where to serve gRPC; port 0 takes any free one.")
    metrics_listen: Address | None = setting(ADDRESS_OR_OFF, "localhost:9464", "Where to serve /metrics, or `off`.")
    store: StoreSettings = nested(StoreSettings, without=("lease_seconds",))  # which workers hold
    max_concurrent_rpcs: int = setting(COUNT, 2000, "Calls at once in this process, watches apart; more are refused.")
    tenant_max_concurrent_rpcs: int = setting(COUNT, None, "Calls of one tenant at once.", shown=HALF, unset=0)
    """0: as all together."""
    max_concurrent_watches: int = setting(COUNT, 2000, "Watches at once in this process; more are refused.")
    tenant_max_concurrent_watches: int = setting(COUNT, None, "Watches of one tenant at once.", shown=HALF, unset=0)
    """0: as all together."""
    max_concurrent_uploads: int = setting(COUNT, 64, "Uploads at once in this process; each holds about 8 MiB.")
    tenant_max_concurrent_uploads: int = setting(COUNT, None, "Uploads of one tenant at once.", shown=HALF, unset=0)
    """0: as all together."""
    upload_idle_seconds: float = setting(
        SECONDS, 60.0, "An upload that brings less than 64 KiB in this time is dropped, to be resumed."
    )
    store_threads: int = setting(COUNT, 16, "Store calls at once.")
    upload_threads: int = setting(COUNT, 4, "Threads that hash and write uploads.")
    reap_interval_seconds: float = setting(SECONDS, 2.0, "How often lost jobs are looked for.")
    drain_delay_seconds: float = setting(
        SECONDS_OR_ZERO, 0.5, "How long to go on as NOT_SERVING after SIGTERM, so that load balancers notice."
    )
    drain_grace_seconds: float = setting(SECONDS_OR_ZERO, 10.0, "How long calls in flight may then take.")
    token_file: Path | None = setting(
        FILE, None, "File that says who may call, see `gradclinic token`; without it, every caller may."
    )
    security: TransportSecurity | None = None  # None: plain text


@dataclass(frozen=True, slots=True)
class StartSettings:
    """What is needed at the start of an API process only."""

    tls_certificate: Path | None = setting(
        FILE, None, "PEM file of the server's certificate chain; without it, plain text."
    )
    tls_private_key: Path | None = setting(FILE, None, "PEM file of the certificate's key.")
    tls_client_authority: Path | None = setting(
        FILE, None, "PEM file; clients must then show a certificate signed by it."
    )
    allow_anonymous: bool = setting(
        SWITCH, default=False, text="Without --token-file, listen also where other machines can call."
    )
    log_level: str = setting(LOG_LEVEL, "info", "What to log, on standard error.")

    def __post_init__(self) -> None:
        """Refuse half a certificate.

        Raises:
            ValueError: with the names of the flags.
        """
        files = self.tls_certificate, self.tls_private_key
        if (any(files) or self.tls_client_authority) and not all(files):
            raise ValueError("--tls-certificate and --tls-private-key go together")

    def security(self) -> TransportSecurity | None:
        """What the files hold; None: plain text."""
        if self.tls_certificate is None or self.tls_private_key is None:
            return None
        authority = self.tls_client_authority.read_bytes() if self.tls_client_authority else b""
        return TransportSecurity(self.tls_certificate.read_bytes(), self.tls_private_key.read_bytes(), authority)
