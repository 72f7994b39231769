"""What an operator can set: one frozen record per process, read once at start."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gradclinic_store.settings import StoreSettings

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024

MAX_MESSAGE_BYTES = 4 * MIB  # gRPC's own default; nothing larger crosses the wire by design
MAX_CHUNK_BYTES = 1 * MIB  # of an upload; larger and smaller ones were slower
_LARGEST_PORT = 65535


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where to listen."""

    host: str
    port: int  # 0: any free one

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads ``HOST:PORT`` or ``[IPV6]:PORT``.

        Raises:
            ValueError: it is neither.
        """
        host, separator, port = text.rpartition(":")
        if not separator or not port.isdecimal() or int(port) > _LARGEST_PORT:
            raise ValueError(
                f"{text!r} is not HOST:PORT with a port of 0 to {_LARGEST_PORT}, for example 0.0.0.0:50051"
            )
        bare = host.removeprefix("[").removesuffix("]")
        if not bare or (":" in bare and bare == host):
            raise ValueError(f"{text!r} names no host; write 0.0.0.0:{port} for all, or [::]:{port} for IPv6")
        return cls(bare, int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


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


_UNITS = {"": 1, "B": 1, "KIB": 1024, "MIB": MIB, "GIB": 1024 * MIB, "TIB": 1024 * 1024 * MIB}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Z]*)")


def size_bytes(text: str) -> int:
    """Reads a size such as ``1048576``, ``512MiB`` or ``1.5GiB``, in bytes.

    Raises:
        ValueError: it is none, or not above zero.
    """
    match = _SIZE.fullmatch(text.strip().upper())
    unit = _UNITS.get(match[2]) if match else None
    if match is None or unit is None or (size := int(float(match[1]) * unit)) < 1:
        raise ValueError(f"{text!r} is no size; write bytes, or a number with KiB, MiB, GiB or TiB, above zero")
    return size
