"""Settings: one field of a record says flag, environment variable, kind, default and text of an option.

A process has one frozen record of them. Its command gets the options from the fields (`with_settings`), and the
record from what was given (`read`). `make settings` writes the table in the docs and `deploy/env.example` from them.
"""

from __future__ import annotations

import logging
import re
import sys
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from gradclinic.addresses import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    Command = Callable[..., Any]

Record = TypeVar("Record")

_UNIT_BYTES: Final = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Z]*)")
_SETTING, _NESTED = "setting", "nested"  # keys of a field's metadata


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions only
    """Text that a function reads; its ValueError says what is wrong with it."""

    def __init__(self, metavar: str, parse: Callable[[str], Any]) -> None:
        self.name = metavar.lower()
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value that a text gives; a value that is not a text was read before."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Size(click.ParamType):  # type: ignore[type-arg]  # as above
    """A number of bytes, such as ``1048576``, ``512MiB`` or ``1.5GiB``."""

    name = "size"

    def __init__(self, at_least_bytes: int) -> None:
        self._at_least_bytes = at_least_bytes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes."""
        match = _SIZE.fullmatch(str(value).strip().upper())
        unit = _UNIT_BYTES.get(match[2]) if match else None
        if match is None or unit is None:
            self.fail(f"{value!r} is no size; write bytes, or a number with KiB, MiB, GiB or TiB", param, ctx)
        if (size := int(float(match[1]) * unit)) < self._at_least_bytes:
            self.fail(f"{value!r} is too small; the least is {self._at_least_bytes}", param, ctx)
        return size


@dataclass(frozen=True, slots=True)
class Kind:
    """What an option may be."""

    type: click.ParamType[Any]
    metavar: str | None = None
    is_flag: bool = False


def parsed(metavar: str, parse: Callable[[str], Any]) -> Kind:
    """Text that a function reads."""
    return Kind(Parsed(metavar, parse), metavar)


ADDRESS: Final = parsed("HOST:PORT", Address.parse)
ADDRESS_OR_OFF: Final = parsed("HOST:PORT", Address.parse_or_off)
SIZE: Final = Kind(Size(1), "SIZE")
SIZE_OR_ZERO: Final = Kind(Size(0), "SIZE")
SECONDS: Final = Kind(click.FloatRange(min=0, min_open=True), "SECONDS")
SECONDS_OR_ZERO: Final = Kind(click.FloatRange(min=0), "SECONDS")
COUNT: Final = Kind(click.IntRange(min=1), "COUNT")
COUNT_OR_ZERO: Final = Kind(click.IntRange(min=0), "COUNT")
URL: Final = Kind(click.STRING, "URL")
NAME: Final = Kind(click.STRING, "NAME")
SWITCH: Final = Kind(click.BOOL, is_flag=True)
LOG_LEVEL: Final = Kind(click.Choice(["debug", "info", "warning", "error"]))


@dataclass(frozen=True, slots=True)
class Setting:
    """The option of a field."""

    kind: Kind
    default: Any  # as on the command line; a function is called for it; None: nothing is given
    text: str
    flag: str
    variable: str
    shown: str | None  # what `--help` shows as the default; None: the default itself
    offered: bool  # whether there is an option at all

    def option(self, name: str) -> Callable[[Command], Command]:
        """The option of a command whose argument has the field's name."""
        return click.option(
            self.flag or flag_of(name),
            name,
            default=self.default,
            envvar=self.variable or variable_of(self.flag or flag_of(name)),
            show_envvar=True,
            show_default=self.shown or True,
            help=self.text,
            type=self.kind.type,
            is_flag=self.kind.is_flag or None,
            metavar=self.kind.metavar,
        )


def setting(  # noqa: PLR0913 - one per part of an option
    kind: Kind,
    default: Any,
    text: str,
    *,
    flag: str = "",
    variable: str = "",
    shown: str | None = None,
    offered: bool = True,
    unset: Any = None,
) -> Any:
    """A field of a frozen record that is an option too.

    Args:
        kind: what it may be.
        default: as on the command line; None: the field is ``unset``.
        text: what `--help` says.
        flag: default: the field's name, without `_seconds`.
        variable: default: ``GRADCLINIC_`` and the flag's name.
        shown: what `--help` shows as the default, where that is not the default itself.
        offered: whether there is an option; otherwise the field only has a default and is checked.
        unset: the field's value where nothing is given and ``default`` is None.
    """
    metadata = {_SETTING: Setting(kind, default, text, flag, variable, shown, offered)}
    if callable(default):
        return field(metadata=metadata)
    return field(default=unset if default is None else kind.type.convert(default, None, None), metadata=metadata)


def nested(record: type[Any], *, only: Collection[str] = (), without: Collection[str] = ()) -> Any:
    """A field that is a record of settings itself, of which all options are offered, ``only`` some, or ``without``."""
    offered = [name for name, _ in settings_of(record) if (not only or name in only) and name not in without]
    return field(default_factory=record, metadata={_NESTED: (record, offered)})


def flag_of(name: str) -> str:
    """The flag of a field."""
    return "--" + name.removesuffix("_seconds").replace("_", "-")


def variable_of(flag: str) -> str:
    """The environment variable of a flag."""
    return "GRADCLINIC_" + flag.removeprefix("--").replace("-", "_").upper()


def settings_of(record: type[Any]) -> Iterator[tuple[str, Setting]]:
    """The offered settings of a record by field, those of nested records where these stand."""
    for each in fields(record):
        if _NESTED in each.metadata:
            inner, offered = each.metadata[_NESTED]
            yield from ((name, setting) for name, setting in settings_of(inner) if name in offered)
        elif _SETTING in each.metadata and each.metadata[_SETTING].offered:
            yield each.name, each.metadata[_SETTING]


def with_settings(*records: type[Any]) -> Callable[[Command], Command]:
    """Puts the options of records on a command, to be shown in the order of their fields."""
    options = [setting.option(name) for record in records for name, setting in settings_of(record)]

    def decorate(command: Command) -> Command:
        for each in reversed(options):
            command = each(command)
        return command

    return decorate


def read(record: type[Record], values: Mapping[str, Any]) -> Record:
    """The record that options stand for; ``values`` may hold more.

    Raises:
        ValueError: the record refuses its fields.
    """
    found = {}
    for each in fields(record):  # type: ignore[arg-type]  # every record is a dataclass
        if _NESTED in each.metadata:
            found[each.name] = read(each.metadata[_NESTED][0], values)
        elif each.name in values:
            found[each.name] = values[each.name]
    return record(**found)


def check(record: object) -> None:
    """Refuses a record with a field that its option would not take.

    Raises:
        ValueError: with the name of the field.
    """
    for each in fields(record):  # type: ignore[arg-type]  # every record is a dataclass
        value = getattr(record, each.name)
        if _SETTING not in each.metadata or (each.default is not MISSING and value == each.default):
            continue
        try:
            each.metadata[_SETTING].kind.type.convert(value, None, None)
        except click.BadParameter as error:
            raise ValueError(f"{each.name}: {error.message}") from error


def log_to_stderr(level: str) -> None:
    """What a process logs, from a level of LOG_LEVEL on."""
    logging.basicConfig(
        level=level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
