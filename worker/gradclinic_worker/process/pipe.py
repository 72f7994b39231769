"""The pipe between supervisor and executor: length-prefixed messages on a stream socket, descriptors beside them."""

from __future__ import annotations

import socket
import struct

from gradclinic_worker.limits import MAX_MESSAGE_BYTES

MAX_DESCRIPTORS = 8

_LENGTH = struct.Struct("!I")
_READ_BYTES = 256 * 2**10


class MessageTooLarge(Exception):
    """A message is larger than the pipe carries."""


class PipeClosed(Exception):
    """The other side has gone in the middle of a message, or before one."""


def send(pipe: socket.socket, message: bytes, descriptors: tuple[int, ...] = ()) -> None:
    """Send one message on a blocking socket.

    Raises:
        MessageTooLarge: Before anything is sent.
        PipeClosed: The other side has gone.
    """
    if len(message) > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(f"a message of {len(message)} bytes exceeds {MAX_MESSAGE_BYTES}")
    try:
        header = _LENGTH.pack(len(message))
        if descriptors:
            socket.send_fds(pipe, [header[:1]], list(descriptors))  # they ride on the first byte
            header = header[1:]
        pipe.sendall(header + message)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise PipeClosed("the other side has gone") from error


def receive(pipe: socket.socket) -> tuple[bytes, list[int]]:
    """Wait on a blocking socket for one message and the descriptors that came with it.

    Raises:
        MessageTooLarge: The announced length is over the limit.
        PipeClosed: The other side has gone.
    """
    try:
        first, descriptors, _, _ = socket.recv_fds(pipe, 1, MAX_DESCRIPTORS)
        header = first + _receive_exactly(pipe, _LENGTH.size - 1) if first else b""
    except ConnectionResetError as error:
        raise PipeClosed("the other side has gone") from error
    if not header:
        raise PipeClosed("the other side has gone")
    (length,) = _LENGTH.unpack(header)
    if length > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(f"a message of {length} bytes exceeds {MAX_MESSAGE_BYTES}")
    return _receive_exactly(pipe, length), descriptors


def _receive_exactly(pipe: socket.socket, size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        piece = pipe.recv(min(size - len(content), _READ_BYTES))
        if not piece:
            raise PipeClosed("the other side has gone in the middle of a message")
        content += piece
    return bytes(content)


class MessageReader:
    """Takes messages apart as their bytes arrive, for a reader that must never wait for an untrusted writer."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, pipe: socket.socket) -> tuple[list[bytes], bool]:
        """Read what a non-blocking socket has ready.

        Returns:
            The messages that are complete now, and whether the other side has gone.

        Raises:
            MessageTooLarge: As soon as a length over the limit is announced.
        """
        try:
            piece = pipe.recv(_READ_BYTES)
        except BlockingIOError:
            return [], False
        except ConnectionResetError:
            return [], True
        self._buffer += piece
        return self._complete(), not piece

    def _complete(self) -> list[bytes]:
        messages = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_MESSAGE_BYTES:
                raise MessageTooLarge(f"a message of {length} bytes exceeds {MAX_MESSAGE_BYTES}")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            messages.append(bytes(self._buffer[_LENGTH.size : end]))
            del self._buffer[:end]
        return messages
