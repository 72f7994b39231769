"""`gradclinic serve`: flags and environment in, one API process out."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradclinic.command_options import (
    ADDRESS,
    ADDRESS_OR_OFF,
    COUNT,
    COUNT_OR_ZERO,
    LOG_LEVEL,
    SECONDS,
    SECONDS_OR_ZERO,
    SIZE,
    URL,
    log_to_stderr,
    option,
    with_options,
)
from gradclinic_service.allocator import keep_freed_buffers
from gradclinic_service.credentials import BadCredentials, CredentialFile
from gradclinic_service.errors import AddressTaken
from gradclinic_service.process import serve_until_stopped
from gradclinic_service.settings import ServiceSettings, TransportSecurity
from gradclinic_store.blobs import warm
from gradclinic_store.settings import StoreSettings

if TYPE_CHECKING:
    from gradclinic.addresses import Address

logger = logging.getLogger(__name__)


RATE: dict[str, Any] = {"type": click.FloatRange(min=0), "metavar": "COUNT"}
SHARE_OF_MEMORY: dict[str, Any] = {"type": click.FloatRange(min=0, max=1, max_open=True), "metavar": "SHARE"}
SHARE = "[default: half of all with --token-file, else all]"
FILE: dict[str, Any] = {"type": click.Path(exists=True, dir_okay=False, path_type=Path)}
SWITCH: dict[str, Any] = {"is_flag": True}

OPTIONS = (
    option("--listen", ADDRESS, "localhost:50051", "Where to serve gRPC; port 0 takes any free one."),
    option(
        "--redis",
        URL,
        "redis://localhost:6379/0",
        "The Redis that all share: redis://, rediss:// or unix:// URL. A password is better kept in the variable.",
        "GRADCLINIC_REDIS_URL",
    ),
    option("--metrics-listen", ADDRESS_OR_OFF, "localhost:9464", "Where to serve /metrics, or `off`."),
    option("--blob-url", URL, "", "fsspec URL (s3://…, file:///…) for artifacts; empty: they lie in Redis."),
    option("--max-artifact-bytes", SIZE, "2GiB", "Largest artifact."),
    option("--max-stored-bytes", SIZE, "4GiB", "All artifacts together."),
    option("--tenant-max-stored-bytes", SIZE, None, f"The artifacts of one tenant. {SHARE}"),
    option("--artifact-retention", SECONDS, 24 * 3600.0, "How long an artifact is kept after its last use."),
    option("--diagnosis-retention", SECONDS, 7 * 24 * 3600.0, "How long a finished diagnosis is kept."),
    option("--max-queued", COUNT, 1000, "Diagnoses that may wait; more are refused."),
    option("--tenant-max-queued", COUNT, None, f"Diagnoses of one tenant that may wait. {SHARE}"),
    option("--tenant-max-running", COUNT_OR_ZERO, 0, "Diagnoses of one tenant that may run; 0: any. As for `work`."),
    option("--submissions-per-second", RATE, 500.0, "Diagnoses that may be created, in the long run; 0: any number."),
    option("--tenant-submissions-per-second", RATE, 100.0, "The same for one tenant."),
    option("--submission-burst", SECONDS, 10.0, "How many seconds' worth of them may come at once after a pause."),
    option("--memory-reserve", SHARE_OF_MEMORY, 0.1, "Share of Redis' maxmemory that new work must leave alone."),
    option("--queue-ttl", SECONDS, 3600.0, "How long a diagnosis may wait before it expires."),
    option("--run-limit", SECONDS, 300.0, "Longest a diagnosis may run."),
    option("--quarantine", SECONDS_OR_ZERO, 3600.0, "How long a model that crashed three times is refused; 0: never."),
    option("--max-attempts", COUNT, 3, "How many workers may be lost on a diagnosis before it fails."),
    option("--max-concurrent-rpcs", COUNT, 2000, "Calls at once, watchers included; more are refused."),
    option("--max-concurrent-uploads", COUNT, 64, "Uploads at once in this process; each holds about 8 MiB."),
    option("--tenant-max-concurrent-uploads", COUNT, None, f"Uploads of one tenant at once. {SHARE}"),
    option("--upload-idle", SECONDS, 60.0, "An upload that brings less than 64 KiB in this time is dropped."),
    option("--store-threads", COUNT, 16, "Store calls at once."),
    option("--upload-threads", COUNT, 4, "Threads that hash and write uploads."),
    option("--reap-interval", SECONDS, 2.0, "How often lost jobs are looked for."),
    option("--drain-delay", SECONDS_OR_ZERO, 0.5, "How long to go on as NOT_SERVING after SIGTERM."),
    option("--drain-grace", SECONDS_OR_ZERO, 10.0, "How long calls in flight may then take."),
    option("--tls-certificate", FILE, None, "PEM file of the server's certificate chain; without it, plain text."),
    option("--tls-private-key", FILE, None, "PEM file of the certificate's key."),
    option("--tls-client-authority", FILE, None, "PEM file; clients must then show a certificate signed by it."),
    option("--token-file", FILE, None, "File that says who may call, see `gradclinic token`; without it, anybody may."),
    option("--allow-anonymous", SWITCH, None, "Without --token-file, listen also where other machines can call."),
    option("--log-level", LOG_LEVEL, "info", "What to log, on standard error."),
)


@click.command()
@with_options(OPTIONS)
def serve(log_level: str, **values: Any) -> None:
    """Serve the gRPC API: takes models in, queues diagnoses, answers with results.

    Any number of these may share one Redis. SIGTERM drains and stops.
    """
    settings = settings_from(values)
    log_to_stderr(log_level)
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
    try:
        store = _store_settings(values)
        warm(store.blob_url)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return ServiceSettings(
        listen=values["listen"],
        metrics_listen=values["metrics_listen"],
        store=store,
        security=_security(values),
        token_file=_token_file(values),
        store_threads=values["store_threads"],
        upload_threads=values["upload_threads"],
        max_concurrent_rpcs=values["max_concurrent_rpcs"],
        max_concurrent_uploads=values["max_concurrent_uploads"],
        tenant_max_concurrent_uploads=_of_a_tenant(values, "max_concurrent_uploads"),
        upload_idle_seconds=values["upload_idle"],
        reap_interval_seconds=values["reap_interval"],
        drain_delay_seconds=values["drain_delay"],
        drain_grace_seconds=values["drain_grace"],
    )


def _store_settings(values: dict[str, Any]) -> StoreSettings:
    return StoreSettings(
        redis_url=values["redis"],
        blob_url=values["blob_url"],
        max_artifact_bytes=values["max_artifact_bytes"],
        max_stored_bytes=values["max_stored_bytes"],
        tenant_max_stored_bytes=_of_a_tenant(values, "max_stored_bytes"),
        max_queued=values["max_queued"],
        tenant_max_queued=_of_a_tenant(values, "max_queued"),
        tenant_max_running=values["tenant_max_running"],
        submissions_per_second=values["submissions_per_second"],
        tenant_submissions_per_second=values["tenant_submissions_per_second"],
        submission_burst_seconds=values["submission_burst"],
        memory_reserve_share=values["memory_reserve"],
        artifact_retention_seconds=values["artifact_retention"],
        diagnosis_retention_seconds=values["diagnosis_retention"],
        queue_ttl_seconds=values["queue_ttl"],
        run_limit_seconds=values["run_limit"],
        max_attempts=values["max_attempts"],
        quarantine_seconds=values["quarantine"],
    )


def _of_a_tenant(values: dict[str, Any], limit: str) -> int:
    """A tenant's share of a limit, in the store's terms: 0 for all of it."""
    share: int | None = values[f"tenant_{limit}"]
    if share is None:
        return max(1, values[limit] // 2) if values["token_file"] else 0
    return share


def _security(values: dict[str, Any]) -> TransportSecurity | None:
    certificate, key, authority = (values[f"tls_{name}"] for name in ("certificate", "private_key", "client_authority"))
    if certificate is None and key is None and authority is None:
        return None
    if certificate is None or key is None:
        raise click.UsageError("--tls-certificate and --tls-private-key go together")
    return TransportSecurity(
        certificate.read_bytes(), key.read_bytes(), authority.read_bytes() if authority is not None else b""
    )


def _token_file(values: dict[str, Any]) -> Path | None:
    file: Path | None = values["token_file"]
    listen: Address = values["listen"]
    if file is None:
        if not (listen.is_loopback or values["allow_anonymous"]):
            raise click.UsageError(
                f"--listen {listen} lets other machines call, and nothing says who may: name a --token-file "
                "(`gradclinic token new` makes one), or say --allow-anonymous"
            )
        return None
    try:
        known = CredentialFile(file).current()
    except BadCredentials as error:
        raise click.UsageError(f"--token-file {file}: {error}") from error
    if not known.by_id:
        raise click.UsageError(f"--token-file {file}: nobody is in it, so that nobody could call")
    return file
