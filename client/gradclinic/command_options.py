"""Options that the commands of all processes are made of: a flag, its variable, its kind, its default, its text."""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from gradclinic.addresses import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Command = Callable[..., Any]
    Kind = dict[str, Any]

_UNIT_BYTES = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Z]*)")


def reading(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """A callback that turns an option's text into what it stands for; the ValueError of ``parse`` names the option."""

    def callback(context: click.Context, parameter: click.Parameter, text: str | None) -> Any:
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error), context, parameter) from error

    return callback


def size_bytes(text: str) -> int:
    """Reads a size such as ``1048576``, ``512MiB`` or ``1.5GiB``, in bytes.

    Raises:
        ValueError: it is none, or not above zero.
    """
    match = _SIZE.fullmatch(text.strip().upper())
    unit = _UNIT_BYTES.get(match[2]) if match else None
    if match is None or unit is None or (size := int(float(match[1]) * unit)) < 1:
        raise ValueError(f"{text!r} is no size; write bytes, or a number with KiB, MiB, GiB or TiB, above zero")
    return size


def _size_or_zero(text: str) -> int:
    return 0 if text.strip() == "0" else size_bytes(text)


ADDRESS: Kind = {"callback": reading(Address.parse), "metavar": "HOST:PORT"}
ADDRESS_OR_OFF: Kind = {"callback": reading(Address.parse_or_off), "metavar": "HOST:PORT"}
SIZE: Kind = {"callback": reading(size_bytes), "metavar": "SIZE"}
SIZE_OR_ZERO: Kind = {"callback": reading(_size_or_zero), "metavar": "SIZE"}
SECONDS: Kind = {"type": click.FloatRange(min=0, min_open=True), "metavar": "SECONDS"}
SECONDS_OR_ZERO: Kind = {"type": click.FloatRange(min=0), "metavar": "SECONDS"}
COUNT: Kind = {"type": click.IntRange(min=1), "metavar": "COUNT"}
COUNT_OR_ZERO: Kind = {"type": click.IntRange(min=0), "metavar": "COUNT"}
URL: Kind = {"type": click.STRING, "metavar": "URL"}
LOG_LEVEL: Kind = {"type": click.Choice(["debug", "info", "warning", "error"])}


def option(
    flag: str, kind: Kind, default: float | str | None, text: str, variable: str = ""
) -> Callable[[Command], Command]:
    """One option; its environment variable is ``GRADCLINIC_`` and the flag's name, unless another is named."""
    name = variable or "GRADCLINIC_" + flag.removeprefix("--").replace("-", "_").upper()
    return click.option(flag, default=default, envvar=name, show_envvar=True, show_default=True, help=text, **kind)


def with_options(options: Iterable[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    """Puts options on a command, to be shown in this order."""

    def decorate(command: Command) -> Command:
        for each in reversed(tuple(options)):
            command = each(command)
        return command

    return decorate


def log_to_stderr(level: str) -> None:
    """What a process logs, from a level of LOG_LEVEL on."""
    logging.basicConfig(
        level=level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
