"""Options that say how to reach the service, and the client made of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import click

from gradclinic import connection
from gradclinic.client import Client
from gradclinic.command_options import Kind, read, setting, with_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradclinic.wire import UploadListener

    Command = Callable[..., Any]

HOST_AND_PORT: Final = Kind(click.STRING, "HOST:PORT")
FILE: Final = Kind(click.STRING, "FILE")
TOKEN: Final = Kind(click.STRING, "TOKEN")


@dataclass(frozen=True, slots=True)
class Service:
    """A service, as the options name it."""

    server: str = setting(
        HOST_AND_PORT, connection.DEFAULT_TARGET, "Where the service listens.", variable=connection.TARGET_VARIABLE
    )
    tls_roots: str | None = setting(
        FILE, None, "Encrypt, trusting the root certificates in this PEM file; 'system' for public ones."
    )
    tls_client_certificate: str | None = setting(
        FILE, None, "Your own certificate (PEM), where the service asks for one."
    )
    tls_client_key: str | None = setting(FILE, None, "The private key of that certificate (PEM).")
    token: str | None = setting(TOKEN, None, "Token for the service; better kept in the variable.")

    def connect(self, on_upload: UploadListener | None = None) -> Client:
        """The client that the options ask for."""
        files = connection.TlsFiles(
            self.tls_roots or None, self.tls_client_certificate or None, self.tls_client_key or None
        )
        return Client(self.server, tls=files if any(files) else False, token=self.token, on_upload=on_upload)


def connecting(command: Command) -> Command:
    """Adds the options; the command gets them as one ``service``."""

    @with_settings(Service)
    @functools.wraps(command)
    def with_service(**values: Any) -> Any:
        service = read(Service, values)
        return command(service=service, **{name: value for name, value in values.items() if name not in _NAMES})

    return with_service


_NAMES: Final = frozenset(each.name for each in fields(Service))
