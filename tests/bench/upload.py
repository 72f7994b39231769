"""Upload throughput next to a raw gRPC stream of the same chunks, and what it costs the API in memory."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import redis

from bench.measured import Measured, median
from gradclinic.v1 import artifact_pb2, artifact_pb2_grpc
from real_stack import RealStack

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 1 << 20
FULL_SIZE_BYTES = 1 << 30
SMOKE_SIZE_BYTES = 64 << 20
DISTINCT_CHUNKS = 16
UPLOAD_TIMEOUT_SECONDS = 300.0
MIB_BYTES = 1 << 20
AIMS = {"redis": 0.5, "file": 0.75}  # Redis copies each byte three more times: in, into its log, out to the file


class Payload:
    """The messages of one upload; each payload has bytes of its own."""

    def __init__(self, size_bytes: int) -> None:
        """``size_bytes`` is a multiple of the chunk size."""
        self.size_bytes = size_bytes
        self._first = os.urandom(CHUNK_BYTES)
        self._repeated = [os.urandom(CHUNK_BYTES) for _ in range(DISTINCT_CHUNKS)]
        digest = hashlib.sha256()
        for content in self._contents():
            digest.update(content)
        self._declaration = artifact_pb2.ArtifactDeclaration(
            kind=artifact_pb2.ARTIFACT_KIND_MODEL,
            format=artifact_pb2.ARTIFACT_FORMAT_TORCHSCRIPT,
            size_bytes=size_bytes,
            sha256=digest.hexdigest(),
        )

    def requests(self) -> Iterator[artifact_pb2.UploadArtifactRequest]:
        """The stream's messages, made while it is sent."""
        yield artifact_pb2.UploadArtifactRequest(declaration=self._declaration)
        for number, content in enumerate(self._contents()):
            chunk = artifact_pb2.ArtifactChunk(offset_bytes=number * CHUNK_BYTES, content=content)
            yield artifact_pb2.UploadArtifactRequest(chunk=chunk)

    def _contents(self) -> Iterator[bytes]:
        yield self._first
        for number in range(1, self.size_bytes // CHUNK_BYTES):
            yield self._repeated[number % DISTINCT_CHUNKS]


def measure(*, smoke: bool) -> list[Measured]:
    """Interleaves raw streams, uploads into Redis and uploads into files."""
    size_bytes = SMOKE_SIZE_BYTES if smoke else FULL_SIZE_BYTES
    rounds = 1 if smoke else 3
    seconds: dict[str, list[float]] = {"raw": [], "redis": [], "file": []}
    growth_bytes: dict[str, list[int]] = {"redis": [], "file": []}
    with ExitStack() as stacks:
        blobs = stacks.enter_context(tempfile.TemporaryDirectory(prefix="gradclinic-blobs-"))
        discard_target = stacks.enter_context(discard_server())
        stores = {
            "redis": stacks.enter_context(RealStack()),
            "file": stacks.enter_context(RealStack(serve_options=("--blob-url", f"file://{blobs}"))),
        }
        for target in (discard_target, *(stack.target for stack in stores.values())):
            send(target, Payload(8 * CHUNK_BYTES))  # connection, imports and allocator are warm
        for _ in range(rounds):
            payload = Payload(size_bytes)
            seconds["raw"].append(send(discard_target, payload))
            for name, stack in stores.items():
                before_bytes = reset_peak_memory(stack.service.process.pid)
                seconds[name].append(send(stack.target, payload))
                growth_bytes[name].append(peak_memory(stack.service.process.pid) - before_bytes)
                empty(stack, Path(blobs))
    return [row for name in stores for row in _rows(name, size_bytes, seconds, growth_bytes[name])]


def _rows(name: str, size_bytes: int, seconds: dict[str, list[float]], growth_bytes: list[int]) -> list[Measured]:
    rate = {key: size_bytes / MIB_BYTES / median(values) for key, values in seconds.items()}
    return [
        Measured(
            bench="upload",
            what=f"upload of {size_bytes // MIB_BYTES} MiB into {name}, rate over a raw gRPC stream",
            value=rate[name] / rate["raw"],
            at_least=AIMS[name],
            details={"upload_mib_per_second": rate[name], "raw_mib_per_second": rate["raw"]},
        ),
        Measured(
            bench="upload",
            what=f"growth of the API's memory meanwhile ({name}), MiB",
            value=max(growth_bytes) / MIB_BYTES,
            at_most=64,
        ),
    ]


def send(target: str, payload: Payload) -> float:
    """Uploads and returns the seconds it took."""
    with grpc.insecure_channel(target) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
        stub = artifact_pb2_grpc.ArtifactServiceStub(channel)
        started = time.perf_counter()
        artifact = stub.UploadArtifact(payload.requests(), timeout=UPLOAD_TIMEOUT_SECONDS)
        took = time.perf_counter() - started
    if artifact.size_bytes != payload.size_bytes:
        raise RuntimeError(f"{target} took {artifact.size_bytes} of {payload.size_bytes} bytes")
    return took


@contextmanager
def discard_server() -> Iterator[str]:
    """HOST:PORT of a running yardstick server."""
    command = [sys.executable, "-m", "bench.discard_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            raise RuntimeError("the yardstick server has no output")
        try:
            yield f"127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def reset_peak_memory(pid: int) -> int:
    """Makes the kernel forget the peak of a process; returns its resident bytes now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _status_bytes(pid, "VmRSS")


def peak_memory(pid: int) -> int:
    """Largest number of resident bytes of a process since the reset."""
    return _status_bytes(pid, "VmHWM")


def empty(stack: RealStack, blobs: Path) -> None:
    """Forgets every artifact of the stack, so that the next round has room."""
    with redis.Redis.from_url(stack.redis.url) as client:
        client.flushall()
    for blob in blobs.rglob("*"):
        if blob.is_file():
            blob.unlink()


def _status_bytes(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise RuntimeError(f"process {pid} has no {field}")
