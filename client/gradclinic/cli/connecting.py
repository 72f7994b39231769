"""Options that say how to reach the service, and the client made of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from gradclinic import connection
from gradclinic.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradclinic.wire import UploadListener

    Command = Callable[..., Any]

_OPTIONS = (
    click.option(
        "--server",
        metavar="HOST:PORT",
        envvar=connection.TARGET_VARIABLE,
        show_envvar=True,
        default=connection.DEFAULT_TARGET,
        show_default=True,
        help="Where the service listens.",
    ),
    click.option(
        "--tls-roots",
        metavar="FILE",
        envvar=connection.ROOTS_VARIABLE,
        show_envvar=True,
        help="Encrypt, trusting the root certificates in this PEM file; 'system' for public ones.",
    ),
    click.option(
        "--tls-client-certificate",
        metavar="FILE",
        envvar=connection.CERTIFICATE_VARIABLE,
        show_envvar=True,
        help="Your own certificate (PEM), where the service asks for one.",
    ),
    click.option(
        "--tls-client-key",
        metavar="FILE",
        envvar=connection.KEY_VARIABLE,
        show_envvar=True,
        help="The private key of that certificate (PEM).",
    ),
    click.option(
        "--token",
        metavar="TOKEN",
        envvar=connection.TOKEN_VARIABLE,
        show_envvar=True,
        help="Token for the service; better kept in the variable.",
    ),
)


@dataclass(frozen=True, slots=True)
class Service:
    """A service, as the options name it."""

    server: str
    tls: connection.Tls = False
    token: str | None = None

    def connect(self, on_upload: UploadListener | None = None) -> Client:
        """The client that the options ask for."""
        return Client(self.server, tls=self.tls, token=self.token, on_upload=on_upload)


def connecting(command: Command) -> Command:
    """Adds the options; the command gets them as one ``service``."""

    @functools.wraps(command)
    def with_service(
        *,
        server: str,
        tls_roots: str | None,
        tls_client_certificate: str | None,
        tls_client_key: str | None,
        token: str | None,
        **values: Any,
    ) -> Any:
        files = connection.TlsFiles(tls_roots or None, tls_client_certificate or None, tls_client_key or None)
        return command(service=Service(server, files if any(files) else False, token), **values)

    for option in reversed(_OPTIONS):
        with_service = option(with_service)
    return with_service
