"""Health check of the service container: exits 0 when the gRPC health service says SERVING."""

import os
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_SECONDS = 4


def serving(target: str) -> bool:
    """Tells whether the server at ``target`` answers that it is serving."""
    with grpc.insecure_channel(target) as channel:
        reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    port = os.environ.get("GRADCLINIC_LISTEN", ":50051").rpartition(":")[2]
    try:
        sys.exit(0 if serving(f"127.0.0.1:{port}") else 1)
    except grpc.RpcError as error:
        sys.exit(f"{error}")
