"""Artifacts: content-addressed bytes, uploaded in pieces, verified, kept while they are used.

The same bytes are stored once, but each tenant sees only what it has sent itself.
"""

from __future__ import annotations

import hashlib
import logging
import re
from typing import TYPE_CHECKING

from gradclinic.v1 import artifact_pb2
from gradclinic_store.blobs import chunks_of, collect
from gradclinic_store.errors import ArtifactNotFound, ArtifactTooLarge, memory_short
from gradclinic_store.part import IDLE_SECONDS, Part
from gradclinic_store.record import milliseconds, to_artifact
from gradclinic_store.upload import Upload
from gradclinic_store.verification import Verification

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradclinic_store.blobs import Blobs
    from gradclinic_store.connection import Connection
    from gradclinic_store.memory import MemoryWatch

logger = logging.getLogger(__name__)

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
        answer = self._connection.run("artifact_touch", self._tenant, sha256, 0)
        return None if answer is None else to_artifact(answer[:2])

    def kinds(self, names: Sequence[str]) -> list[artifact_pb2.ArtifactKind.ValueType | None]:
        """Return the kind of each artifact, None for one that is not there, in one round trip."""
        with self._connection.translated(), self._connection.client.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.hget(f"{ARTIFACT_KEY}{self._tenant}:{name}", "kind")
            kinds = pipeline.execute()
        return [None if kind is None else artifact_pb2.ArtifactKind.ValueType(int(kind)) for kind in kinds]

    def touch(self, sha256: str) -> artifact_pb2.Artifact | None:
        """Describe an artifact, None when there is none; it is kept for a whole retention time from now.

        One whose bytes are not where they should be is none: the next upload brings them again.
        """
        retention_ms = milliseconds(self._connection.settings.artifact_retention_seconds)
        answer = self._connection.run("artifact_touch", self._tenant, sha256, retention_ms)
        if answer is None:
            return None
        *described, blob, names = answer
        artifact = to_artifact(described)
        if artifact is None or self._blobs.has([name.decode() for name in names], artifact.size_bytes):
            return artifact
        self._lose(sha256, blob)
        return None

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
        while (begun := part.begin()) is None:
            stored = self.touch(declaration.sha256)
            if stored is not None:  # else its bytes are gone
                return Upload(part, declaration, stored=stored)
        collect(self._connection, self._blobs)  # what was evicted for it, or left by an earlier upload
        return Upload(part, declaration, begun=begun)

    def read(self, sha256: str) -> Iterator[bytes]:
        """Yield an artifact's bytes in order, a chunk at a time: for workers, who run what was accepted of any tenant.

        The bytes are verified while they are read; what was yielded counts only when the iteration has ended well.

        Raises:
            ArtifactNotFound: it is not there, goes while it is read, or has changed; the next upload brings it again.
        """
        blob = self._connection.do(lambda client: client.hget(BYTES_KEY + sha256, "blob"))
        if blob is None:
            raise ArtifactNotFound(sha256)
        with Verification() as verification:
            for chunk in chunks_of(self._connection, self._blobs, blob.decode()):
                if chunk is None:
                    break
                verification.add(chunk)
                yield chunk
            if verification.sha256 == sha256:
                return
        self._lose(sha256, blob)
        raise ArtifactNotFound(sha256)

    def read_small(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the bytes of those artifacts that are small and in Redis, in one round trip; `read` has the others."""
        contents = self._connection.run("fetch", SMALL_BYTES, *names) if self._blobs.key_prefix else []
        return {
            name: content
            for name, content in zip(names, contents, strict=False)
            if content is not None and hashlib.sha256(content).hexdigest() == name
        }

    def _lose(self, sha256: str, blob: bytes) -> None:
        logger.warning("the stored bytes of an artifact are gone or changed, it has to be sent again sha256=%s", sha256)
        self._connection.run("artifact_lose", sha256, blob)

    def reap(self) -> list[str]:
        """Forget artifacts and interrupted uploads whose time is over, and delete bytes that nobody needs.

        Returns the hashes of what was forgotten, once per tenant that had it.
        """
        over = self._connection.run("over", ARTIFACTS_KEY, AT_MOST)
        dropped = [held.decode().partition(":")[2] for held in over if self._connection.run("artifact_drop", held)]
        for held in self._connection.run("over", PARTS_KEY, AT_MOST):
            self._connection.run("upload_drop", held)
        self._make_room_for_records()
        collect(self._connection, self._blobs)
        return dropped

    def _make_room_for_records(self) -> None:
        """Evict artifacts before Redis is so full that new diagnoses are refused."""
        short_bytes = self._memory.missing_for_records() if self._blobs.key_prefix else 0
        if short_bytes > 0:
            retention_ms = milliseconds(self._connection.settings.artifact_retention_seconds)
            self._connection.run("evict", short_bytes, retention_ms, milliseconds(IDLE_SECONDS))
