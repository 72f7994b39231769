"""`gradclinic work`: flags and environment in, one worker out."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from typing import TYPE_CHECKING, Any

import click

from gradclinic_store.settings import StoreSettings
from gradclinic_worker.cage.sandbox import SandboxLevel
from gradclinic_worker.engine.vetting_policy import parse_names
from gradclinic_worker.process.main_process import MainProcess, StartRefused
from gradclinic_worker.settings import (
    AUTO_MEMORY_SHARE,
    ExecutorSettings,
    WorkerSettings,
    available_cpus,
    detected_device,
    machine_memory_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., None]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB)?")
_UNIT_BYTES = {None: 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}")


def _matching(pattern: re.Pattern[str], form: str) -> Callable[[str], str]:
    """A reader of text of a certain form; empty text means none."""

    def read(text: str) -> str:
        if text and not pattern.fullmatch(text):
            raise ValueError(f"{text!r} is not {form}")
        return text

    return read


def _address(text: str) -> str:
    return "" if text == "off" else _matching(_ADDRESS, "HOST:PORT or off")(text)


def _size_bytes(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a size like 800MiB or 4GiB")
    return int(float(match[1]) * _UNIT_BYTES[match[2]])


def _read(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, str], Any]:
    """A callback that reads an option's text."""

    def callback(context: click.Context, parameter: click.Parameter, text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error), context, parameter) from error

    return callback


ADDRESS: dict[str, Any] = {"callback": _read(_address), "metavar": "HOST:PORT"}
DEVICE: dict[str, Any] = {"callback": _read(_matching(_DEVICE, "auto, cpu or cuda:N")), "metavar": "DEVICE"}
URL: dict[str, Any] = {"type": click.STRING, "metavar": "URL"}
NAME: dict[str, Any] = {"type": click.STRING, "metavar": "NAME"}
SECONDS: dict[str, Any] = {"type": click.FloatRange(min=0, min_open=True), "metavar": "SECONDS"}
SECONDS_OR_NONE: dict[str, Any] = {"type": click.FloatRange(min=0), "metavar": "SECONDS"}
SIZE: dict[str, Any] = {"callback": _read(_size_bytes), "metavar": "SIZE"}
COUNT: dict[str, Any] = {"type": click.IntRange(min=1), "metavar": "COUNT"}
COUNT_OR_NONE: dict[str, Any] = {"type": click.IntRange(min=0), "metavar": "COUNT"}
SHARE: dict[str, Any] = {"type": click.FloatRange(min=0, max=1, min_open=True), "metavar": "SHARE"}
SANDBOX: dict[str, Any] = {"type": click.Choice([level.value for level in SandboxLevel])}
OPERATORS: dict[str, Any] = {"callback": _read(parse_names), "metavar": "NAMES"}
LOG_LEVEL: dict[str, Any] = {"type": click.Choice(["debug", "info", "warning", "error"])}


def _option(
    flag: str, kind: dict[str, Any], default: float | str | None, text: str, variable: str = ""
) -> Callable[[Command], Command]:
    name = variable or "GRADCLINIC_" + flag.removeprefix("--").replace("-", "_").upper()
    return click.option(flag, default=default, envvar=name, show_envvar=True, show_default=True, help=text, **kind)


OPTIONS = (
    _option(
        "--redis",
        URL,
        "redis://localhost:6379/0",
        "The Redis that all share: redis://, rediss:// or unix:// URL. A password is better kept in the variable.",
        "GRADCLINIC_REDIS_URL",
    ),
    _option("--blob-url", URL, "", "fsspec URL (s3://…, file:///…) that holds artifacts; empty: they lie in Redis."),
    _option("--device", DEVICE, "auto", "auto, cpu or cuda:N. auto takes the first GPU, if there is one."),
    _option("--threads", COUNT_OR_NONE, 0, "CPU threads of one run; 0: as many as there are CPUs."),
    _option("--spare-executors", COUNT, 1, "Processes kept warm for the next job."),
    _option("--memory-limit", SIZE, "0", "Memory of one run on a CPU; 0: 80 % of the machine's (or container's)."),
    _option("--device-memory-share", SHARE, 0.9, "Share of a GPU's memory that one run may take."),
    _option("--run-limit", SECONDS, 300.0, "Longest a diagnosis may run."),
    _option("--tenant-max-running", COUNT_OR_NONE, 0, "Diagnoses of one tenant that may run; 0: any. As for `serve`."),
    _option("--diagnosis-retention", SECONDS, 7 * 24 * 3600.0, "How long a finished diagnosis is kept."),
    _option("--quarantine", SECONDS_OR_NONE, 3600.0, "How long a model that crashed three times is refused; 0: never."),
    _option("--lease", SECONDS, 10.0, "How long a worker that gives no sign of life keeps its diagnosis."),
    _option("--drain", SECONDS_OR_NONE, 25.0, "How long a running diagnosis may go on after SIGTERM."),
    _option("--sandbox", SANDBOX, "cage", "How strongly to confine what runs a model, as far as the kernel allows it."),
    _option("--require-sandbox", SANDBOX, "none", "Refuse to start where the kernel grants less."),
    _option("--allow-operators", OPERATORS, "", "Operators that a model may use beside arithmetic, with commas."),
    _option("--deny-operators", OPERATORS, "", "Operators that no model may use: namespaces or NAMESPACE::NAME."),
    _option("--metrics-listen", ADDRESS, "localhost:9465", "Where to serve /metrics; or off."),
    _option("--worker-id", NAME, "", "Name of this worker in the fleet; empty: made from host and process id."),
    _option("--log-level", LOG_LEVEL, "info", "What to log, on standard error."),
)


def _with_options(command: Command) -> Command:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@click.command()
@_with_options
def work(**values: Any) -> None:
    """Work on diagnoses: run models in isolated processes on one device.

    Any number of these may share one Redis, each with its own device. SIGTERM lets the running diagnosis end for
    a while, gives it back to the queue if it does not, and stops; a second one stops at once.
    """
    settings = settings_from(values)
    logging.basicConfig(
        level=settings.executor.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
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
    sandbox, required = SandboxLevel(values["sandbox"]), SandboxLevel(values["require_sandbox"])
    if sandbox.rank < required.rank:
        raise click.UsageError(f"--require-sandbox {required} is not met by --sandbox {sandbox}")
    device = detected_device() if values["device"] == "auto" else values["device"]
    executor = ExecutorSettings(
        device="cuda:0" if device == "cuda" else device,
        threads=values["threads"] or available_cpus(),
        spare_executors=values["spare_executors"],
        memory_limit_bytes=values["memory_limit"] or int(machine_memory_bytes() * AUTO_MEMORY_SHARE),
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
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return WorkerSettings(
        store=store,
        worker_id=values["worker_id"] or f"{socket.gethostname()}-{os.getpid()}",
        drain_seconds=values["drain"],
        metrics_listen=values["metrics_listen"],
        executor=executor,
    )
