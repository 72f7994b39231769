"""Addresses that `gradclinic up` listens on, checked before anything starts."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from gradclinic.up.errors import PortTaken, UpError

if TYPE_CHECKING:
    from gradclinic.addresses import Address


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
