"""Options that say how to reach the service, and the client made of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradclinic import connection
from gradclinic.client import Client
from gradclinic.command_options import option, with_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradclinic.wire import UploadListener

    Command = Callable[..., Any]

FILE: dict[str, Any] = {"metavar": "FILE"}
TOKEN: dict[str, Any] = {"metavar": "TOKEN"}

OPTIONS = (
    option(
        "--server",
        {"metavar": "HOST:PORT"},
        connection.DEFAULT_TARGET,
        "Where the service listens.",
        connection.TARGET_VARIABLE,
    ),
    option(
        "--tls-roots",
        FILE,
        None,
        "Encrypt, trusting the root certificates in this PEM file; 'system' for public ones.",
        connection.ROOTS_VARIABLE,
    ),
    option(
        "--tls-client-certificate",
        FILE,
        None,
        "Your own certificate (PEM), where the service asks for one.",
        connection.CERTIFICATE_VARIABLE,
    ),
    option("--tls-client-key", FILE, None, "The private key of that certificate (PEM).", connection.KEY_VARIABLE),
    option("--token", TOKEN, None, "Token for the service; better kept in the variable.", connection.TOKEN_VARIABLE),
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

    @with_options(OPTIONS)
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

    return with_service
