"""What options are read into."""

from __future__ import annotations

import pytest

from gradclinic.addresses import Address
from gradclinic.command_options import size_bytes


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
    assert expected == size_bytes(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "1MB5", "two", "1.2.3GiB", "5 parsec"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        size_bytes(text)
