"""`gradclinic work`: flags and environment in, one worker out."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

import click

from gradclinic.command_options import log_to_stderr, read, with_settings
from gradclinic_store.blobs import warm
from gradclinic_worker.cage.sandbox import SandboxLevel
from gradclinic_worker.process.main_process import MainProcess, StartRefused
from gradclinic_worker.settings import (
    AUTO_MEMORY_SHARE,
    CPU_SLACK_SECONDS,
    WorkerSettings,
    available_cpus,
    detected_device,
    machine_memory_bytes,
)


@click.command()
@with_settings(WorkerSettings)
def work(**values: Any) -> None:
    """Work on diagnoses: run models in isolated processes on one device.

    Any number of these may share one Redis, each with its own device. SIGTERM lets the running diagnosis end for
    a while, gives it back to the queue if it does not, and stops; a second one stops at once.
    """
    settings = settings_from(values)
    log_to_stderr(settings.executor.log_level)
    if settings.executor.sandbox is SandboxLevel.NONE:
        logging.getLogger(__name__).warning("models run UNCONFINED: --sandbox none is for debugging only")
    try:
        MainProcess(settings, _tell_ready).run()
    except StartRefused as error:
        raise click.ClickException(str(error)) from error


def _tell_ready(device: str) -> None:
    click.echo(f"gradclinic worker ready on {device}")


def settings_from(values: dict[str, Any]) -> WorkerSettings:
    """The settings that parsed options stand for.

    Raises:
        click.UsageError: A value cannot work, or two do not go together.
    """
    sandbox = SandboxLevel(values["sandbox"])
    required = SandboxLevel(values["required_sandbox"] or sandbox)
    if sandbox.rank < required.rank:
        raise click.UsageError(f"--require-sandbox {required} is not met by --sandbox {sandbox}")
    device = detected_device() if values["device"] == "auto" else values["device"]
    threads = values["threads"] or available_cpus()
    resolved = {
        "device": "cuda:0" if device == "cuda" else device,
        "threads": threads,
        "cpu_limit_seconds": values["run_limit_seconds"] * threads + CPU_SLACK_SECONDS,
        "memory_limit_bytes": values["memory_limit_bytes"] or int(machine_memory_bytes() * AUTO_MEMORY_SHARE),
        "sandbox": sandbox,
        "required_sandbox": required,
        "worker_id": values["worker_id"] or f"{socket.gethostname()}-{os.getpid()}",
        "log_level": values["log_level"].upper(),
    }
    try:
        settings = read(WorkerSettings, values | resolved)
        warm(settings.store.blob_url)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return settings
