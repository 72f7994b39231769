"""Which subcommands there are, each loaded when it is called."""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import Final

import click

_OWN: Final = {  # name -> (where it is, its line in the list)
    "up": ("gradclinic.up.command:up", "Start everything on this machine: store, API and workers."),
    "demo": ("gradclinic.demo.command:demo", "Diagnose healthy and broken example models."),
    "diagnose": ("gradclinic.cli.diagnose:diagnose", "Diagnose a TorchScript model."),
    "show": ("gradclinic.cli.reading:show", "Show one diagnosis."),
    "list": ("gradclinic.cli.reading:list_", "List diagnoses, newest first."),
    "watch": ("gradclinic.cli.reading:watch", "Follow a diagnosis until it is finished, then show it."),
    "cancel": ("gradclinic.cli.reading:cancel", "Cancel a diagnosis."),
    "delete": ("gradclinic.cli.reading:delete", "Delete a finished diagnosis."),
    "explain": ("gradclinic.cli.explain:explain", "Explain a finding's code."),
}
_LENT_GROUP: Final = "gradclinic.commands"  # entry points of other rooms
_LENT: Final = {  # name -> (the extra that brings what it needs, its line in the list)
    "serve": ("service", "Serve the gRPC API."),
    "work": ("worker", "Run a worker."),
    "token": ("service", "Say who may call: make, list and revoke tokens."),
}


class Commands(click.Group):
    """Loads a subcommand on demand, so that `--help` needs neither grpc nor torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Own commands in order of use, then those lent by other rooms."""
        del ctx
        return [*_OWN, *_LENT, *sorted(set(_lent_entry_points()) - set(_LENT))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command by its name; None if there is none."""
        del ctx
        if cmd_name in _OWN:
            module, _, name = _OWN[cmd_name][0].partition(":")
            command: click.Command = getattr(importlib.import_module(module), name)
            return command
        entry_point = _lent_entry_points().get(cmd_name)
        if entry_point is None:
            return None
        return _lent(cmd_name, entry_point)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands without loading them."""
        lines = {name: line for name, (_, line) in (_OWN | _LENT).items()}
        rows = [(name, lines.get(name, "")) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _lent_entry_points() -> dict[str, EntryPoint]:
    return {entry_point.name: entry_point for entry_point in entry_points(group=_LENT_GROUP)}


def _lent(name: str, entry_point: EntryPoint) -> click.Command:
    try:
        command: click.Command = entry_point.load()
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] == entry_point.module.partition(".")[0]:
            raise  # the room itself is broken, which no extra repairs
        extra = _LENT.get(name, ("all", ""))[0]
        raise click.ClickException(
            f"`gradclinic {name}` needs {error.name}, which is not installed: pip install 'gradclinic[{extra}]'"
        ) from error
    return command
