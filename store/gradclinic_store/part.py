"""What uploads of one artifact have stored so far: chunks that all uploads of the same bytes share.

A chunk is noted under the SHA-256 of all bytes up to its end. So uploads of the same bytes find each other's chunks,
and an upload of other bytes under the same name finds none of them. See docs/decisions/store-artifacts.md.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from gradclinic_store.blobs import collect
from gradclinic_store.errors import OffsetMismatch, StoreFull, UploadLost
from gradclinic_store.record import milliseconds, to_artifact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradclinic.v1 import artifact_pb2
    from gradclinic_store.blobs import Blobs, Chunk
    from gradclinic_store.connection import Connection
    from gradclinic_store.settings import StoreSettings

PREFIXES_KEY = "gradclinic:prefixes:"
IDLE_SECONDS = 300.0  # so long after its last use an artifact may be evicted when room is needed


class Begun(NamedTuple):
    """Where an upload begins."""

    mark: str  # what its first chunk follows
    names: list[str]  # of the chunks before


class Part:
    """The chunks that are stored of an artifact, as one upload sees them."""

    def __init__(
        self, connection: Connection, blobs: Blobs, tenant: str, declaration: artifact_pb2.ArtifactDeclaration
    ) -> None:
        self.blobs = blobs
        self._connection = connection
        self._tenant = tenant
        self._declaration = declaration
        self._writer = secrets.token_hex(8)
        self._blob = ""
        self._others = False  # whether there are other uploads of it
        self._written = 0  # chunks

    def begin(self) -> Begun | None:
        """Begin, None where the artifact is stored already.

        Raises:
            StoreFull: there is no room for it.
            OffsetMismatch: nothing ends at the declared offset.
        """
        outcome, *rest = self._run(
            "upload_begin",
            self._declaration.size_bytes,
            self._declaration.offset_bytes,
            self._writer,
            secrets.token_hex(16),
            milliseconds(self._connection.settings.upload_retention_seconds),
            *self._limits(),
        )
        if outcome == b"stored":
            return None
        if outcome == b"full":
            raise self._full(rest[0])
        if outcome == b"offset":
            raise OffsetMismatch(self._declaration.offset_bytes, rest[0])
        blob, others, mark, *names = rest
        self._blob, self._others = blob.decode(), bool(others)
        return Begun(mark.decode(), [name.decode() for name in names])

    def store(self, mark: str, chunks: Sequence[tuple[str, Chunk]]) -> bool:
        """Store chunks that follow what ends at a mark; each is given with the mark of its own end.

        Returns False when another upload has stored the artifact meanwhile.

        Raises:
            UploadLost: what came before is gone.
            StoreFull: others store other bytes under this name, and there is no room for both.
        """
        known = self._known([end for end, _ in chunks]) if self._others else set()
        names = {}
        for end, _ in chunks:
            names[end] = "" if end in known else f"{self._blob}/{self._writer}-{self._written}"
            self._written += 1
        self.blobs.write({names[end]: chunk for end, chunk in chunks if end not in known})
        outcome, more, *in_vain = self._run(
            "upload_append",
            self._writer,
            self._blob,
            milliseconds(self._connection.settings.upload_retention_seconds),
            *self._limits(),
            mark,
            *(text for end, name in names.items() for text in (end, name)),
        )
        self.blobs.discard([name.decode() for name in in_vain])
        if outcome == b"gone":
            raise _lost()
        if outcome == b"full":
            raise self._full(more)
        self._others = bool(more)
        return bool(outcome == b"noted")

    def finish(self) -> artifact_pb2.Artifact:
        """Make the chunks, which are all there and verified, an artifact.

        Raises:
            UploadLost: they are not all there any more.
        """
        artifact = to_artifact(
            self._run(
                "upload_finish",
                self._declaration.kind,
                self._declaration.format,
                self._declaration.size_bytes,
                milliseconds(self._connection.settings.artifact_retention_seconds),
                self.blobs.key_prefix,
            )
        )
        if artifact is None:
            raise _lost()
        return artifact

    def stat(self) -> artifact_pb2.Artifact | None:
        """Describe the artifact that another upload has stored."""
        retention_ms = milliseconds(self._connection.settings.artifact_retention_seconds)
        answer = self._run("artifact_touch", retention_ms)
        return None if answer is None else to_artifact(answer[:2])

    def keep(self) -> None:
        """Leave what came so far for an upload that goes on."""
        self._run("upload_leave", self._writer, "kept")

    def drop(self) -> None:
        """Drop what came so far, which is wrong, unless others need it."""
        self._run("upload_leave", self._writer, "refuted" if self._declaration.offset_bytes else "dropped")
        collect(self._connection, self.blobs)

    def _known(self, ends: Sequence[str]) -> set[str]:
        key = f"{PREFIXES_KEY}{self._tenant}:{self._declaration.sha256}"
        found = self._connection.do(lambda client: client.hmget(key, ends))
        return {end for end, chunk in zip(ends, found, strict=True) if chunk is not None}

    def _run(self, script: str, *arguments: str | float) -> Any:
        return self._connection.run(script, self._tenant, self._declaration.sha256, *arguments)

    def _limits(self) -> tuple[int, int, int, int]:
        settings = self._connection.settings
        return (
            settings.max_stored_bytes,
            settings.tenant_max_stored_bytes or settings.max_stored_bytes,
            milliseconds(settings.artifact_retention_seconds),
            milliseconds(IDLE_SECONDS),
        )

    def _full(self, scope: bytes) -> StoreFull:
        return _full(self._connection.settings, self._declaration.size_bytes, scope.decode())


def _lost() -> UploadLost:
    return UploadLost("what was stored of this upload has been dropped meanwhile; send it again from the start")


def _full(settings: StoreSettings, size_bytes: int, scope: str) -> StoreFull:
    """Say whose room it is that has none left; how much the others have is nobody's business."""
    if scope == "tenant":
        limit, value, whose = "tenant_max_stored_bytes", settings.tenant_max_stored_bytes, "your"
    else:
        limit, value, whose = "max_stored_bytes", settings.max_stored_bytes, "the server's"
    return StoreFull(
        f"{whose} {value:,} bytes for artifacts have no room for {size_bytes:,} more until some are no longer in use",
        limit=limit,
        limit_value=value,
        scope=scope,
    )
