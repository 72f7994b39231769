"""`gradclinic serve`: flags and environment in, one API process out."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from gradclinic.command_options import log_to_stderr, read, with_settings
from gradclinic_service.allocator import keep_freed_buffers
from gradclinic_service.credentials import BadCredentials, CredentialFile
from gradclinic_service.errors import AddressTaken
from gradclinic_service.process import serve_until_stopped
from gradclinic_service.settings import ServiceSettings, StartSettings
from gradclinic_store.blobs import warm

if TYPE_CHECKING:
    from gradclinic.addresses import Address

logger = logging.getLogger(__name__)

SHARED = (
    "max_stored_bytes",
    "max_queued",
    "max_concurrent_rpcs",
    "max_concurrent_watches",
    "max_concurrent_uploads",
)  # a tenant has a limit of its own of each


@click.command()
@with_settings(ServiceSettings, StartSettings)
def serve(**values: Any) -> None:
    """Serve the gRPC API: takes models in, queues diagnoses, answers with results.

    Any number of these may share one Redis. SIGTERM drains and stops.
    """
    settings = settings_from(values)
    log_to_stderr(values["log_level"])
    if settings.token_file is not None and settings.security is None and not settings.listen.is_loopback:
        logger.warning("tokens come in plain text: whoever sees the traffic can use them, unless a proxy adds TLS")
    keep_freed_buffers()
    try:
        asyncio.run(serve_until_stopped(settings, _tell_ready))
    except AddressTaken as error:
        raise click.ClickException(str(error)) from error


def _tell_ready(address: Address) -> None:
    click.echo(f"gradclinic API listening on {address}")


def settings_from(values: dict[str, Any]) -> ServiceSettings:
    """The settings that parsed options stand for.

    Raises:
        click.UsageError: two options do not go together.
    """
    tenant = {f"tenant_{limit}": _of_a_tenant(values, limit) for limit in SHARED}
    try:
        start = read(StartSettings, values)
        settings = read(ServiceSettings, values | tenant)
        warm(settings.store.blob_url)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _check_callers(settings, start)
    return replace(settings, security=start.security())


def _of_a_tenant(values: dict[str, Any], limit: str) -> int:
    """A tenant's share of a limit, in the store's terms: 0 for all of it."""
    share: int | None = values[f"tenant_{limit}"]
    if share is None:
        return max(1, values[limit] // 2) if values["token_file"] else 0
    return share


def _check_callers(settings: ServiceSettings, start: StartSettings) -> None:
    """Refuses a server that every machine, or no caller, could call."""
    file, listen = settings.token_file, settings.listen
    if file is None:
        if not (listen.is_loopback or start.allow_anonymous):
            raise click.UsageError(
                f"--listen {listen} lets other machines call, and nothing says who may: name a --token-file "
                "(`gradclinic token new` makes one), or say --allow-anonymous"
            )
        return
    try:
        known = CredentialFile(file).current()
    except BadCredentials as error:
        raise click.UsageError(f"--token-file {file}: {error}") from error
    if not known.by_id:
        raise click.UsageError(f"--token-file {file}: the file contains no tokens; `gradclinic token new` adds one")
