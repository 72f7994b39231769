"""The messages of an upload, read by hand: whatever protobuf reads in them, and nothing that it refuses."""

from __future__ import annotations

import random

import pytest
from google.protobuf.message import DecodeError

from gradclinic.v1 import artifact_pb2
from gradclinic_service.upload_messages import Piece, read_message

MIB = 1024 * 1024
LARGEST_INT64 = (1 << 63) - 1


def chunk_of(offset_bytes: int, content: bytes) -> bytes:
    chunk = artifact_pb2.ArtifactChunk(offset_bytes=offset_bytes, content=content)
    return artifact_pb2.UploadArtifactRequest(chunk=chunk).SerializeToString()


def read_by_protobuf(message: bytes) -> artifact_pb2.UploadArtifactRequest | tuple[int, bytes] | None:
    try:
        request = artifact_pb2.UploadArtifactRequest.FromString(message)
    except DecodeError:
        return None
    if request.WhichOneof("payload") != "chunk":
        return request
    return request.chunk.offset_bytes, request.chunk.content


def read_by_hand(message: bytes) -> artifact_pb2.UploadArtifactRequest | tuple[int, bytes] | None:
    try:
        read = read_message(message)
    except DecodeError:
        return None
    return (read.offset_bytes, bytes(read.content)) if isinstance(read, Piece) else read


@pytest.mark.parametrize("content", [b"", b"x", b"y" * 127, b"z" * 128, bytes(MIB)], ids=len)
@pytest.mark.parametrize("offset_bytes", [0, 1, 127, 128, MIB, 5 << 31, LARGEST_INT64, -1])
def test_chunks(offset_bytes: int, content: bytes) -> None:
    assert (offset_bytes, content) == read_by_hand(chunk_of(offset_bytes, content))


def test_a_chunk_is_not_copied() -> None:
    message = chunk_of(3 * MIB, bytes(MIB))
    piece = read_message(message)
    assert isinstance(piece, Piece)
    assert message is piece.content.obj


def test_declarations_and_empty_messages() -> None:
    declaration = artifact_pb2.UploadArtifactRequest(declaration=artifact_pb2.ArtifactDeclaration(size_bytes=7))
    assert declaration == read_message(declaration.SerializeToString())
    assert artifact_pb2.UploadArtifactRequest() == read_message(b"")


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"\x12\x05\x12\x01x\x08\x07", id="content before offset"),
        pytest.param(b"\x12\x07\x08\x01\x08\x07\x12\x01x", id="offset twice"),
        pytest.param(b"\x12\x06\x12\x01x\x12\x01y", id="content twice"),
        pytest.param(b"\x12\x05\x08\x01\x12\x01x\x12\x02\x08\x07", id="chunk twice"),
        pytest.param(b"\x12\x05\x08\x01\x12\x01x\x0a\x00", id="declaration after chunk"),
        pytest.param(b"\x12\x05\x08\x01\x12\x01x\x78\x01", id="unknown field after chunk"),
        pytest.param(b"\x12\x85\x00\x08\x01\x12\x01x", id="length longer than needed"),
        pytest.param(b"\x12\x05\x08\x01\x12\x02x", id="content ends early"),
        pytest.param(b"\x12" + b"\xff" * 4 * MIB, id="length without end"),
        pytest.param(b"\x12\x0b\x08" + b"\xff" * 10, id="offset without end"),
    ],
)
def test_odd_messages_are_read_as_protobuf_reads_them(message: bytes) -> None:
    assert read_by_protobuf(message) == read_by_hand(message)


def test_damaged_messages_are_read_as_protobuf_reads_them() -> None:
    chance = random.Random(0)
    for _ in range(20_000):
        message = bytearray(chunk_of(chance.choice([0, 5, 300]), b"abcdefg"[: chance.randrange(8)]))
        for _ in range(chance.randrange(1, 3)):
            message[chance.randrange(len(message))] = chance.choice([chance.randrange(256), 0x12, 0x08, 0x80])
        assert read_by_protobuf(bytes(message)) == read_by_hand(bytes(message)), message.hex()
