"""What options are read into, and the records that are made of them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from gradclinic.addresses import Address
from gradclinic.command_options import (
    COUNT,
    SECONDS,
    SIZE,
    SIZE_OR_ZERO,
    check,
    nested,
    read,
    setting,
    settings_of,
    with_settings,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:50051", Address("localhost", 50051)),
        ("0.0.0.0:0", Address("0.0.0.0", 0)),
        ("[::1]:80", Address("::1", 80)),
    ],
)
def test_an_address_reads_and_prints_the_same(text: str, address: Address) -> None:
    assert address == Address.parse(text)
    assert text == str(address)


@pytest.mark.parametrize("text", ["", "localhost", ":50051", "localhost:http", "localhost:70000", "::1:80", "h:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|names no host"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("1", 1), ("1048576", 1048576), ("512MiB", 512 << 20), ("1.5 gib", 3 << 29), ("2KiB", 2048)]
)
def test_sizes(text: str, expected: int) -> None:
    assert expected == SIZE.type.convert(text, None, None)


@pytest.mark.parametrize("text", ["", "-1", "1MB5", "two", "1.2.3GiB", "5 parsec"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no size"):
        SIZE.type.convert(text, None, None)


def test_zero_is_a_size_only_where_it_means_something() -> None:
    assert 0 == SIZE_OR_ZERO.type.convert("0", None, None)
    with pytest.raises(click.BadParameter, match="too small"):
        SIZE.type.convert("0", None, None)


@dataclass(frozen=True)
class Inner:
    """Settings inside others."""

    wait_seconds: float = setting(SECONDS, 1.5, "How long to wait.")
    most: int = setting(COUNT, 3, "How many.", flag="--at-most", variable="GRADCLINIC_LIMIT")
    secret: int = setting(COUNT, 7, "Not offered.", offered=False)


@dataclass(frozen=True)
class Outer:
    """Settings with others inside."""

    cache_size: int | None = setting(SIZE, None, "Size of the cache.", shown="half of the memory")
    inner: Inner = nested(Inner)
    name: str = ""  # no option


def made(*arguments: str, **environment: str) -> Outer:
    seen: list[Outer] = []

    @click.command()
    @with_settings(Outer)
    def command(**values: Any) -> None:
        seen.append(read(Outer, values))

    result = CliRunner().invoke(command, arguments, env={f"GRADCLINIC_{k.upper()}": v for k, v in environment.items()})
    assert 0 == result.exit_code, result.output
    return seen[0]


def test_a_record_is_made_of_flags_variables_and_defaults() -> None:
    assert Outer() == made()
    assert Outer(cache_size=2048, inner=Inner(wait_seconds=2.0, most=5)) == made(
        "--cache-size=2KiB", "--wait", "2", limit="5"
    )
    assert Inner(most=4) == made("--at-most=4", limit="5").inner


def test_an_empty_variable_is_the_default() -> None:
    assert Outer() == made(limit="", wait="", cache_size="")


def test_options_stand_in_the_order_of_fields() -> None:
    assert ["cache_size", "wait_seconds", "most"] == [name for name, _ in settings_of(Outer)]


def test_only_some_options_of_a_nested_record_may_be_offered() -> None:
    assert ["most"] == nested(Inner, only=("most",)).metadata["nested"][1]
    assert ["most"] == nested(Inner, without=("wait_seconds",)).metadata["nested"][1]


def test_a_record_refuses_what_its_options_refuse() -> None:
    check(Inner())
    with pytest.raises(ValueError, match="secret: 0 is not in the range"):
        check(Inner(secret=0))


def test_what_is_generated_from_the_settings_is_current() -> None:
    tool = Path(__file__).parents[2] / "tools" / "generate_settings.py"
    done = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stdout), done.stderr
