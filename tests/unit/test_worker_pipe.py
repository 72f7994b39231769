"""Length-prefixed messages between a supervisor and an executor that may lie."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradclinic_worker.limits import MAX_MESSAGE_BYTES
from gradclinic_worker.process import pipe

if TYPE_CHECKING:
    from collections.abc import Iterator

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def test_messages_arrive_in_order(ends: Ends) -> None:
    left, right = ends
    for message in (b"one", b"", b"x" * 1000):
        pipe.send(left, message)
    assert [pipe.receive(right) for _ in range(3)] == [(b"one", []), (b"", []), (b"x" * 1000, [])]


def test_descriptors_travel_beside_the_message(ends: Ends) -> None:
    left, right = ends
    read_end, write_end = os.pipe()
    pipe.send(left, b"here", (read_end,))
    os.write(write_end, b"through")
    message, (received,) = pipe.receive(right)
    assert (message, os.read(received, 100)) == (b"here", b"through")
    for descriptor in (read_end, write_end, received):
        os.close(descriptor)


def test_too_large_a_message_is_not_sent(ends: Ends) -> None:
    left, right = ends
    with pytest.raises(pipe.MessageTooLarge, match="4194305 bytes exceeds 4194304"):
        pipe.send(left, bytes(MAX_MESSAGE_BYTES + 1))
    left.close()
    with pytest.raises(pipe.PipeClosed):
        pipe.receive(right)


def test_too_large_a_message_is_not_read(ends: Ends) -> None:
    left, right = ends
    left.sendall(struct.pack("!I", 2**32 - 1))
    with pytest.raises(pipe.MessageTooLarge):
        pipe.receive(right)


def test_an_end_in_the_middle_of_a_message_is_an_error(ends: Ends) -> None:
    left, right = ends
    left.sendall(struct.pack("!I", 10) + b"half")
    left.close()
    with pytest.raises(pipe.PipeClosed, match="middle"):
        pipe.receive(right)


def test_sending_to_nobody_is_an_error(ends: Ends) -> None:
    left, right = ends
    right.close()
    with pytest.raises(pipe.PipeClosed):
        pipe.send(left, b"hello")


@settings(deadline=None)  # a busy machine is no failure
@given(messages=st.lists(st.binary(max_size=50), max_size=8), cut=st.integers(1, 20))
def test_a_reader_finds_the_messages_however_their_bytes_arrive(messages: list[bytes], cut: int) -> None:
    stream = b"".join(struct.pack("!I", len(message)) + message for message in messages)
    left, right = socket.socketpair()
    with left, right:
        right.settimeout(0.0)
        reader = pipe.MessageReader()
        found: list[bytes] = []
        for start in range(0, len(stream), cut):
            left.sendall(stream[start : start + cut])
            complete, gone = reader.feed(right)
            assert not gone
            found += complete
        left.close()
        assert reader.feed(right) == ([], True)
    assert found == messages


def test_a_reader_refuses_a_length_before_the_bytes_come(ends: Ends) -> None:
    left, right = ends
    right.settimeout(0.0)
    left.sendall(struct.pack("!I", MAX_MESSAGE_BYTES + 1))
    with pytest.raises(pipe.MessageTooLarge):
        pipe.MessageReader().feed(right)


def test_a_reader_does_not_wait(ends: Ends) -> None:
    _, right = ends
    right.settimeout(0.0)
    assert pipe.MessageReader().feed(right) == ([], False)
