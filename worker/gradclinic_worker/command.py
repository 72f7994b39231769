"""`gradclinic work`: flags and environment in, one worker out."""

from __future__ import annotations

import logging
import os
import re
import socket
from typing import Any

import click

from gradclinic.command_options import (
    ADDRESS_OR_OFF,
    COUNT,
    COUNT_OR_ZERO,
    LOG_LEVEL,
    SECONDS,
    SECONDS_OR_ZERO,
    SIZE_OR_ZERO,
    URL,
    log_to_stderr,
    option,
    reading,
    with_options,
)
from gradclinic_engine.torchscript.vetting_policy import parse_names
from gradclinic_store.blobs import warm
from gradclinic_store.settings import StoreSettings
from gradclinic_worker.cage.sandbox import SandboxLevel
from gradclinic_worker.process.main_process import MainProcess, StartRefused
from gradclinic_worker.settings import (
    AUTO_MEMORY_SHARE,
    CPU_SLACK_SECONDS,
    ExecutorSettings,
    WorkerSettings,
    available_cpus,
    detected_device,
    machine_memory_bytes,
)

_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


def _device(text: str) -> str:
    if not _DEVICE.fullmatch(text):
        raise ValueError(f"{text!r} is not auto, cpu or cuda:N")
    return text


DEVICE: dict[str, Any] = {"callback": reading(_device), "metavar": "DEVICE"}
NAME: dict[str, Any] = {"type": click.STRING, "metavar": "NAME"}
SHARE: dict[str, Any] = {"type": click.FloatRange(min=0, max=1, min_open=True), "metavar": "SHARE"}
SANDBOX: dict[str, Any] = {"type": click.Choice([level.value for level in SandboxLevel])}
OPERATORS: dict[str, Any] = {"callback": reading(parse_names), "metavar": "NAMES"}

OPTIONS = (
    option(
        "--redis",
        URL,
        "redis://localhost:6379/0",
        "The Redis that all share: redis://, rediss:// or unix:// URL. A password is better kept in the variable.",
        "GRADCLINIC_REDIS_URL",
    ),
    option("--blob-url", URL, "", "fsspec URL (s3://…, file:///…) that holds artifacts; empty: they lie in Redis."),
    option("--device", DEVICE, "auto", "auto, cpu or cuda:N. auto takes the first GPU, if there is one."),
    option("--threads", COUNT_OR_ZERO, 0, "CPU threads of one run; 0: as many as it may use CPUs."),
    option("--spare-executors", COUNT, 1, "Processes kept warm for the next job."),
    option("--memory-limit", SIZE_OR_ZERO, "0", "Memory of one run on a CPU; 0: 80 % of the machine's (container's)."),
    option("--device-memory-share", SHARE, 0.9, "Share of a GPU's memory that one run may take."),
    option("--run-limit", SECONDS, 300.0, "Longest a diagnosis may run."),
    option("--tenant-max-running", COUNT_OR_ZERO, 0, "Diagnoses of one tenant that may run; 0: any. As for `serve`."),
    option("--diagnosis-retention", SECONDS, 7 * 24 * 3600.0, "How long a finished diagnosis is kept."),
    option("--quarantine", SECONDS_OR_ZERO, 3600.0, "How long a model that crashed three times is refused; 0: never."),
    option("--lease", SECONDS, 10.0, "How long a worker that gives no sign of life keeps its diagnosis."),
    option("--drain", SECONDS_OR_ZERO, 25.0, "How long a running diagnosis may go on after SIGTERM."),
    option("--sandbox", SANDBOX, "cage", "How strongly to confine what runs a model, as far as the kernel allows it."),
    option(
        "--require-sandbox",
        SANDBOX,
        None,
        "Refuse to start where the kernel grants less; by default what --sandbox names.",
    ),
    option("--allow-operators", OPERATORS, "", "Operators that a model may use beside arithmetic, with commas."),
    option("--deny-operators", OPERATORS, "", "Operators that no model may use: namespaces or NAMESPACE::NAME."),
    option("--metrics-listen", ADDRESS_OR_OFF, "localhost:9465", "Where to serve /metrics; or off."),
    option("--worker-id", NAME, "", "Name of this worker in the fleet; empty: made from host and process id."),
    option("--log-level", LOG_LEVEL, "info", "What to log, on standard error."),
)


@click.command()
@with_options(OPTIONS)
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
    required = SandboxLevel(values["require_sandbox"] or sandbox)
    if sandbox.rank < required.rank:
        raise click.UsageError(f"--require-sandbox {required} is not met by --sandbox {sandbox}")
    device = detected_device() if values["device"] == "auto" else values["device"]
    threads = values["threads"] or available_cpus()
    executor = ExecutorSettings(
        device="cuda:0" if device == "cuda" else device,
        threads=threads,
        spare_executors=values["spare_executors"],
        memory_limit_bytes=values["memory_limit"] or int(machine_memory_bytes() * AUTO_MEMORY_SHARE),
        cpu_limit_seconds=values["run_limit"] * threads + CPU_SLACK_SECONDS,
        device_memory_share=values["device_memory_share"],
        sandbox=sandbox,
        required_sandbox=required,
        allowed_operators=values["allow_operators"],
        denied_operators=values["deny_operators"],
        zygote_socket="",
        report_pipe="",
        log_level=values["log_level"].upper(),
    )
    try:
        store = StoreSettings(
            redis_url=values["redis"],
            blob_url=values["blob_url"],
            run_limit_seconds=values["run_limit"],
            tenant_max_running=values["tenant_max_running"],
            diagnosis_retention_seconds=values["diagnosis_retention"],
            quarantine_seconds=values["quarantine"],
            lease_seconds=values["lease"],
        )
        warm(store.blob_url)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return WorkerSettings(
        store=store,
        worker_id=values["worker_id"] or f"{socket.gethostname()}-{os.getpid()}",
        drain_seconds=values["drain"],
        metrics_listen=values["metrics_listen"],
        executor=executor,
    )
