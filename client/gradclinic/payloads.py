"""Bytes on their way to the service: where they lie, what they are, and how they are cut into chunks."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gradclinic.errors import BadCall
from gradclinic.v1 import artifact_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Payload:
    """One artifact that a request needs."""

    name: str  # which argument it came from, for example `model`
    kind: artifact_pb2.ArtifactKind.ValueType
    format: artifact_pb2.ArtifactFormat.ValueType
    content: bytes | memoryview | Path
    sha256: str
    size_bytes: int

    @classmethod
    def of(
        cls,
        name: str,
        kind: artifact_pb2.ArtifactKind.ValueType,
        content: bytes | memoryview | str | os.PathLike[str],
    ) -> Payload:
        """Reads and hashes the content once; a file is not held in memory.

        Raises:
            BadCall: the file cannot be read, or there is nothing in it.
        """
        tensors = kind == artifact_pb2.ARTIFACT_KIND_TENSORS
        encoding = artifact_pb2.ARTIFACT_FORMAT_SAFETENSORS if tensors else artifact_pb2.ARTIFACT_FORMAT_TORCHSCRIPT
        if isinstance(content, (bytes, bytearray, memoryview)):
            source: bytes | memoryview | Path = content
            digest, size_bytes = hashlib.sha256(content).hexdigest(), len(content)
        else:
            source = Path(content)
            try:
                with source.open("rb") as file:
                    digest, size_bytes = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
            except OSError as error:
                raise BadCall(f"{name}: cannot read {os.fspath(source)!r}: {error.strerror}") from error
        if not size_bytes:
            where = f"{os.fspath(source)!r} is empty" if isinstance(source, Path) else "got no bytes"
            raise BadCall(f"{name}: {where}")
        return cls(name, kind, encoding, source, digest, size_bytes)

    def declaration(self, offset_bytes: int) -> artifact_pb2.UploadArtifactRequest:
        """The first message of an upload that goes on at ``offset_bytes``."""
        return artifact_pb2.UploadArtifactRequest(
            declaration=artifact_pb2.ArtifactDeclaration(
                kind=self.kind,
                format=self.format,
                size_bytes=self.size_bytes,
                sha256=self.sha256,
                offset_bytes=offset_bytes,
            )
        )

    def pieces(self, offset_bytes: int) -> Iterator[bytes]:
        """The content from ``offset_bytes`` on, in pieces of at most 1 MiB."""
        if isinstance(self.content, Path):
            with self.content.open("rb", buffering=0) as file:
                file.seek(offset_bytes)
                while piece := file.read(CHUNK_BYTES):
                    yield piece
        else:
            for start in range(offset_bytes, self.size_bytes, CHUNK_BYTES):
                yield bytes(self.content[start : start + CHUNK_BYTES])

    def requests(self, offset_bytes: int) -> Iterator[artifact_pb2.UploadArtifactRequest]:
        """The messages of an upload that goes on at ``offset_bytes``."""
        yield self.declaration(offset_bytes)
        for piece in self.pieces(offset_bytes):
            chunk = artifact_pb2.ArtifactChunk(offset_bytes=offset_bytes, content=piece)
            yield artifact_pb2.UploadArtifactRequest(chunk=chunk)
            offset_bytes += len(piece)
