"""A raw gRPC server, the yardstick for uploads: reads a client stream of the same messages and discards them."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import grpc

from gradclinic.v1 import artifact_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def discard(
    requests: AsyncIterator[artifact_pb2.UploadArtifactRequest],
    context: grpc.aio.ServicerContext[artifact_pb2.UploadArtifactRequest, artifact_pb2.Artifact],
) -> artifact_pb2.Artifact:
    """Counts the bytes of an upload and keeps nothing."""
    del context
    size_bytes = 0
    async for request in requests:
        size_bytes += len(request.chunk.content)
    return artifact_pb2.Artifact(size_bytes=size_bytes)


async def serve() -> None:
    """Serves until SIGTERM; prints the port it listens on."""
    server = grpc.aio.server()
    upload = grpc.stream_unary_rpc_method_handler(
        discard,
        request_deserializer=artifact_pb2.UploadArtifactRequest.FromString,
        response_serializer=artifact_pb2.Artifact.SerializeToString,
    )
    service = grpc.method_handlers_generic_handler("gradclinic.v1.ArtifactService", {"UploadArtifact": upload})
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)  # noqa: T201 -- how the benchmark learns the port
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await server.stop(grace=0)


if __name__ == "__main__":
    asyncio.run(serve())
