"""The messages of an upload, read without copying the bytes that they carry.

protobuf copies a `bytes` field when it parses a message, and again whenever the field is looked at.
See docs/decisions/service-uploads.md.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from gradclinic.v1 import artifact_pb2

# First bytes of the fields as they are on the wire: number and wire type.
_CHUNK = 2 << 3 | 2  # UploadArtifactRequest.chunk, length-delimited
_OFFSET = 1 << 3 | 0  # ArtifactChunk.offset_bytes, varint
_CONTENT = 2 << 3 | 2  # ArtifactChunk.content, length-delimited
_LARGEST_INT64 = (1 << 63) - 1
_LONGEST_VARINT_BYTES = 10


class Piece(NamedTuple):
    """A chunk of an upload: a view into the message that brought it."""

    offset_bytes: int
    content: memoryview


Message: TypeAlias = artifact_pb2.UploadArtifactRequest | Piece  # a piece where the message brings a chunk


def read_message(message: bytes) -> Message:
    """Reads one message of an upload; what no common serializer would write goes to protobuf's own parser.

    Raises:
        google.protobuf.message.DecodeError: it is no such message.
    """
    try:
        piece = _piece_of(message)
    except IndexError:
        piece = None
    if piece is not None:
        return piece
    request = artifact_pb2.UploadArtifactRequest.FromString(message)
    if request.WhichOneof("payload") != "chunk":
        return request
    return Piece(request.chunk.offset_bytes, memoryview(request.chunk.content))


def _piece_of(message: bytes) -> Piece | None:
    """The chunk that is all of the message, its content last; None for any other form."""
    if message[0] != _CHUNK:
        return None
    size_bytes, at = _varint(message, 1)
    if at + size_bytes != len(message):
        return None
    offset_bytes = 0
    if message[at] == _OFFSET:
        offset_bytes, at = _varint(message, at + 1)
    if message[at] != _CONTENT or offset_bytes > _LARGEST_INT64:
        return None
    size_bytes, at = _varint(message, at + 1)
    if at + size_bytes != len(message):
        return None
    return Piece(offset_bytes, memoryview(message)[at:])


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number that begins at ``at``, and where it ends.

    Raises:
        IndexError: it does not end, or not after ten bytes.
    """
    value = 0
    for number in range(_LONGEST_VARINT_BYTES):
        byte = message[at + number]
        value |= (byte & 0x7F) << 7 * number
        if byte <= 0x7F:  # noqa: PLR2004 - a larger one says that more follows
            return value, at + number + 1
    raise IndexError
