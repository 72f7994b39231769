"""Artifacts: content-addressed bytes, uploaded in pieces, verified, kept while they are used.

The same bytes are stored once, but each tenant sees only what it has sent itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gradclinic.v1 import artifact_pb2
from gradclinic_store.blobs import chunks_of, collect
from gradclinic_store.errors import ArtifactNotFound, ArtifactTooLarge, memory_short
from gradclinic_store.part import Part
from gradclinic_store.record import milliseconds, to_artifact
from gradclinic_store.upload import Upload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradclinic_store.blobs import Blobs
    from gradclinic_store.connection import Connection
    from gradclinic_store.memory import MemoryWatch

ARTIFACT_KEY = "gradclinic:artifact:"
BYTES_KEY = "gradclinic:bytes:"
PART_KEY = "gradclinic:part:"
ARTIFACTS_KEY = "gradclinic:artifacts"
PARTS_KEY = "gradclinic:parts"
AT_MOST = 1000  # of each kind in one round of the reaper
SMALL_BYTES = 256 * 1024  # up to here an artifact is read together with others
SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")


class Artifacts:
    """The artifacts of one tenant, by SHA-256; reading and reaping know no tenants."""

    def __init__(self, connection: Connection, blobs: Blobs, memory: MemoryWatch, tenant: str) -> None:
        self._connection = connection
        self._blobs = blobs
        self._memory = memory
        self._tenant = tenant

    def stat(self, sha256: str) -> artifact_pb2.Artifact | None:
        """Describe an artifact, None when there is none; its retention time stays."""
        return to_artifact(self._connection.run("artifact_touch", self._tenant, sha256, 0))

    def kinds(self, names: Sequence[str]) -> list[artifact_pb2.ArtifactKind.ValueType | None]:
        """Return the kind of each artifact, None for one that is not there, in one round trip."""
        with self._connection.translated(), self._connection.client.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.hget(f"{ARTIFACT_KEY}{self._tenant}:{name}", "kind")
            kinds = pipeline.execute()
        return [None if kind is None else artifact_pb2.ArtifactKind.ValueType(int(kind)) for kind in kinds]

    def touch(self, sha256: str) -> artifact_pb2.Artifact | None:
        """Describe an artifact, None when there is none; it is kept for a whole retention time from now."""
        retention_ms = milliseconds(self._connection.settings.artifact_retention_seconds)
        return to_artifact(self._connection.run("artifact_touch", self._tenant, sha256, retention_ms))

    def received(self, sha256: str) -> int:
        """Return from where an interrupted upload can go on, in bytes; 0 when there is nothing to resume."""
        key = f"{PART_KEY}{self._tenant}:{sha256}"
        received, refuted = self._connection.do(lambda client: client.hmget(key, "received_bytes", "refuted"))
        return 0 if refuted else int(received or 0)

    def upload(self, declaration: artifact_pb2.ArtifactDeclaration) -> Upload:
        """Begin an upload, or go on with an interrupted one at its `offset_bytes`.

        Any number of uploads of the same bytes may run at once: each stores what the others have not stored yet.

        Raises:
            ArtifactTooLarge: its declared size is above the limit.
            StoreFull: there is no room for it, and nothing that could be evicted; or Redis is near its limit.
            OffsetMismatch: it cannot be resumed there.
            ValueError: no SHA-256, a negative size or offset.
        """
        settings = self._connection.settings
        if not SHA256_PATTERN.fullmatch(declaration.sha256):
            raise ValueError("sha256 must be 64 lower-case hexadecimal digits")
        if declaration.size_bytes < 0 or declaration.offset_bytes < 0:
            raise ValueError("size_bytes and offset_bytes must not be negative")
        if declaration.size_bytes > settings.max_artifact_bytes:
            raise ArtifactTooLarge(declaration.size_bytes, settings.max_artifact_bytes)
        if self._blobs.key_prefix and (limit_bytes := self._memory.short_of()):
            raise memory_short(limit_bytes)
        part = Part(self._connection, self._blobs, self._tenant, declaration)
        begun = part.begin()
        if begun is None:
            return Upload(part, declaration, stored=self.touch(declaration.sha256))
        collect(self._connection, self._blobs)  # what was evicted for it, or left by an earlier upload
        return Upload(part, declaration, begun=begun)

    def read(self, sha256: str) -> Iterator[bytes]:
        """Yield an artifact's bytes in order, a chunk at a time: for workers, who run what was accepted of any tenant.

        Raises:
            ArtifactNotFound: it is not there, or goes while it is read.
        """
        blob = self._connection.do(lambda client: client.hget(BYTES_KEY + sha256, "blob"))
        if blob is None:
            raise ArtifactNotFound(sha256)
        for chunk in chunks_of(self._connection, self._blobs, blob.decode()):
            if chunk is None:
                raise ArtifactNotFound(sha256)
            yield chunk

    def read_small(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the bytes of those artifacts that are small and in Redis, in one round trip; `read` has the others."""
        contents = self._connection.run("fetch", SMALL_BYTES, *names) if self._blobs.key_prefix else []
        return {name: content for name, content in zip(names, contents, strict=False) if content is not None}

    def reap(self) -> list[str]:
        """Forget artifacts and interrupted uploads whose time is over, and delete bytes that nobody needs.

        Returns the hashes of what was forgotten, once per tenant that had it.
        """
        over = self._connection.run("over", ARTIFACTS_KEY, AT_MOST)
        dropped = [held.decode().partition(":")[2] for held in over if self._connection.run("artifact_drop", held)]
        for held in self._connection.run("over", PARTS_KEY, AT_MOST):
            self._connection.run("upload_drop", held)
        collect(self._connection, self._blobs)
        return dropped
