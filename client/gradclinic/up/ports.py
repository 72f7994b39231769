"""Addresses that `gradclinic up` listens on: read, and checked before anything starts."""

from __future__ import annotations

import socket
from typing import NamedTuple

import click

from gradclinic.up.errors import PortTaken, UpError

_LARGEST_PORT = 65535


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int  # 0: any free one

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads HOST:PORT.

        Raises:
            click.BadParameter: it is none.
        """
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isdecimal() or int(port) > _LARGEST_PORT:
            raise click.BadParameter(f"expected HOST:PORT, got {text!r}")
        return cls(host, int(port))


def check_free(address: Address, flag: str) -> None:
    """Sees to it that nobody listens on an address yet.

    Raises:
        PortTaken: somebody does.
        UpError: the host is not of this machine.
    """
    if address.port == 0:
        return
    try:
        places = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, place in places:
            with socket.socket(family, kind, protocol) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind(place)
    except socket.gaierror as error:
        raise UpError(f"{flag}: {address.host!r} is no host of this machine: {error.strerror}") from error
    except OSError as error:
        raise PortTaken(
            f"cannot listen on {address}: {error.strerror}. Is another `gradclinic up` running? "
            f"Choose another with {flag} HOST:PORT"
        ) from error
