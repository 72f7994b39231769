"""Addresses to listen on, as options give them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

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

    @classmethod
    def parse_or_off(cls, text: str) -> Address | None:
        """As ``parse``; None for ``off`` or nothing."""
        return None if text in {"", "off"} else cls.parse(text)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
