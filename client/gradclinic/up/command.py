"""`gradclinic up`: everything on this machine by one command."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradclinic.command_options import ADDRESS, ADDRESS_OR_OFF, Kind, read, setting, with_settings
from gradclinic.up.child import Program
from gradclinic.up.errors import NotInstalled
from gradclinic.up.ports import check_free
from gradclinic.up.stack import Stack, StopRequests
from gradclinic.up.state import StateDirectory, default_state_dir
from gradclinic.up.store_server import store_program, store_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradclinic.addresses import Address

READY_PREFIX = "gradclinic is up: "
_NEEDED = ("redis", "rq", "torch", "grpc_health")
_DRAIN_SECONDS = "2"  # so that Ctrl-C takes less than 5 s; what is interrupted is taken up by the next `up`


@dataclass(frozen=True, slots=True, kw_only=True)
class UpSettings:
    """What `gradclinic up` was asked for."""

    listen: Address = setting(ADDRESS, "localhost:50051", "Where to serve the API; port 0 takes any free one.")
    workers: int = setting(Kind(click.IntRange(1, 64)), 1, "Number of workers.")
    device: str = setting(Kind(click.STRING), "auto", "Device of the workers: auto, cpu or cuda:N.")
    metrics_listen: Address | None = setting(
        ADDRESS_OR_OFF,
        "localhost:9464",
        "Where the API serves /metrics, worker N doing so N ports above; or `off`.",
    )
    state_dir: Path = setting(
        Kind(click.Path(file_okay=False, path_type=Path)),
        default_state_dir,
        "Where diagnoses, artifacts and logs are kept.",
        shown="$XDG_STATE_HOME/gradclinic",
    )


@click.command()
@with_settings(UpSettings)
def up(**values: Any) -> None:
    """Start a private store, the API and workers; Ctrl-C stops all of it.

    Diagnoses are kept in the state directory and are there again after a restart.
    """
    settings = read(UpSettings, values)
    _check_installed()
    with StateDirectory(settings.state_dir) as state, StopRequests() as stops:
        for flag, address in _addresses(settings):
            check_free(address, flag)
        stack = Stack(state, stops, click.echo)
        try:
            if _start(stack, settings, state):
                stack.watch()
                click.echo("stopping")
        finally:
            stack.stop()


def _start(stack: Stack, settings: UpSettings, state: StateDirectory) -> bool:
    """Starts everything and says where; False if a stop was requested before."""
    socket_path = state.socket_path()
    if stack.start(store_program(state.store_path, socket_path)) is None:
        return False
    environment = {
        "GRADCLINIC_REDIS_URL": store_url(socket_path),
        "GRADCLINIC_BLOB_URL": f"file://{state.artifacts_path}",
    }
    if settings.listen.is_loopback:  # the models are those of this machine's users
        environment["GRADCLINIC_REQUIRE_SANDBOX"] = os.environ.get("GRADCLINIC_REQUIRE_SANDBOX", "none")
    api = _api(settings, environment, str(settings.listen))
    ready = stack.start(api, *(_worker(settings, number, environment) for number in range(1, settings.workers + 1)))
    if ready is None:
        return False
    api_address = ready.pop(api.name).removeprefix(api.ready_prefix).strip()
    stack.amend(_api(settings, environment, api_address))  # a free port that was found once is kept
    state.write_owner(api_address)
    click.echo(f"{READY_PREFIX}{api_address}")
    for name, line in ready.items():
        click.echo(f"  {name:9} {line.rpartition(' ready ')[2]}")
    if settings.metrics_listen is not None:
        click.echo(f"  metrics   {', '.join(_metrics_urls(settings, settings.metrics_listen))}")
    click.echo(f"  state     {state.path} (logs in logs/)")
    click.echo(f"Try `gradclinic demo --server {api_address}`. Ctrl-C stops everything.")
    return True


def _api(settings: UpSettings, environment: Mapping[str, str], listen: str) -> Program:
    arguments = (
        *("--listen", listen, "--metrics-listen", str(settings.metrics_listen or "off")),
        *("--drain-delay", "0", "--drain-grace", _DRAIN_SECONDS),
    )
    prefix = "gradclinic API listening on "
    return Program("api", (*_gradclinic("serve"), *arguments), prefix, environment=environment)


def _worker(settings: UpSettings, number: int, environment: Mapping[str, str]) -> Program:
    metrics = "off" if settings.metrics_listen is None else str(_above(settings.metrics_listen, number))
    arguments = ("--device", settings.device, "--metrics-listen", metrics, "--drain", _DRAIN_SECONDS)
    prefix = "gradclinic worker ready"
    return Program(f"worker-{number}", (*_gradclinic("work"), *arguments), prefix, environment=environment)


def _gradclinic(command: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "gradclinic", command)


def _addresses(settings: UpSettings) -> list[tuple[str, Address]]:
    addresses = [("--listen", settings.listen)]
    if (first := settings.metrics_listen) is not None:
        addresses += [("--metrics-listen", _above(first, number)) for number in range(settings.workers + 1)]
    return addresses


def _metrics_urls(settings: UpSettings, first: Address) -> list[str]:
    return [f"http://{_above(first, number)}/metrics" for number in range(settings.workers + 1)]


def _above(address: Address, ports: int) -> Address:
    """The address some ports above; any free port stays any free port."""
    return replace(address, port=address.port + ports) if address.port else address


def _check_installed() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise NotInstalled(
            f"`gradclinic up` needs {', '.join(missing)}, which is not installed: pip install 'gradclinic[all]'"
        )
