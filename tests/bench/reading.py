"""What the verification of an artifact adds to a worker's reading of it, from Redis and from files."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench.measured import Measured, median
from gradclinic.v1 import artifact_pb2
from gradclinic_store.artifacts import BYTES_KEY, Artifacts
from gradclinic_store.blobs import blobs_for, chunks_of
from gradclinic_store.connection import Connection
from gradclinic_store.settings import StoreSettings
from gradclinic_store.store import Store
from gradclinic_worker.process import memfd
from real_redis import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterable

MIB_BYTES = 1 << 20
FULL_MIB, SMOKE_MIB = 512, 8
ROUNDS = 5


def measure(*, smoke: bool) -> list[Measured]:
    """Interleaves reads with and without verification, each into a sealed memory file as a worker makes it."""
    with ExitStack() as cleanup:
        directory = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="gradclinic-blobs-"))
        server = RedisServer()
        cleanup.callback(server.remove)
        server.start()
        urls = {"Redis": "", "files": f"file://{directory}"}
        return [
            _row(where, StoreSettings(redis_url=server.url, blob_url=url), smoke=smoke) for where, url in urls.items()
        ]


def _row(where: str, settings: StoreSettings, *, smoke: bool) -> Measured:
    size_mib, rounds = (SMOKE_MIB, 1) if smoke else (FULL_MIB, ROUNDS)
    artifacts = Store.connect(settings).artifacts
    sha256 = _upload(artifacts, size_mib)
    connection = Connection(settings)
    blobs = blobs_for(connection)
    blob = connection.do(lambda client: client.hget(BYTES_KEY + sha256, "blob")).decode()
    verified, plain = [], []
    for _ in range(rounds):
        plain.append(_seconds(chunk for chunk in chunks_of(connection, blobs, blob) if chunk is not None))
        verified.append(_seconds(artifacts.read(sha256)))
    connection.do(lambda client: client.flushall())
    return Measured(
        bench="reading",
        what=f"reading {size_mib} MiB from {where} with verification, time over without",
        value=median(verified) / median(plain),
        at_most=1.1,
        details={
            "verified_mib_per_second": size_mib / median(verified),
            "plain_mib_per_second": size_mib / median(plain),
        },
    )


def _upload(artifacts: Artifacts, size_mib: int) -> str:
    pieces = [os.urandom(MIB_BYTES) for _ in range(size_mib)]
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    declaration = artifact_pb2.ArtifactDeclaration(
        kind=artifact_pb2.ARTIFACT_KIND_MODEL,
        format=artifact_pb2.ARTIFACT_FORMAT_TORCHSCRIPT,
        size_bytes=size_mib * MIB_BYTES,
        sha256=digest.hexdigest(),
    )
    with artifacts.upload(declaration) as upload:
        for number, piece in enumerate(pieces):
            upload.write(number * MIB_BYTES, piece)
        upload.finish()
    return declaration.sha256


def _seconds(chunks: Iterable[bytes]) -> float:
    started = time.perf_counter()
    descriptor = memfd.sealed("read", chunks, lambda: None)
    took = time.perf_counter() - started
    os.close(descriptor)
    return took
