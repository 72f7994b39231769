"""Options that say how to reach the service, and the client made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from gradclinic import connection
from gradclinic.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradclinic.wire import UploadListener

    Command = TypeVar("Command", bound=Callable[..., Any])

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
        "--token",
        metavar="TOKEN",
        envvar=connection.TOKEN_VARIABLE,
        show_envvar=True,
        help="Token for the service; better kept in the variable.",
    ),
)


def connecting(command: Command) -> Command:
    """Adds the options; the command gets them as ``server``, ``tls_roots`` and ``token``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def connect(server: str, tls_roots: str | None, token: str | None, on_upload: UploadListener | None = None) -> Client:
    """The client that the options ask for."""
    tls: connection.Tls = True if tls_roots == connection.SYSTEM_ROOTS else tls_roots or False
    return Client(server, tls=tls, token=token, on_upload=on_upload)
