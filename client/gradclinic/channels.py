"""Opens the blocking and the asynchronous channel to a service, with the stubs of its three services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import grpc.aio

from gradclinic.connection import CHANNEL_OPTIONS, credentials
from gradclinic.v1 import artifact_pb2_grpc, diagnosis_pb2_grpc, server_pb2_grpc

if TYPE_CHECKING:
    from gradclinic.connection import Tls


class Service(NamedTuple):
    """A blocking channel and its stubs."""

    channel: grpc.Channel
    artifacts: artifact_pb2_grpc.ArtifactServiceStub
    diagnoses: diagnosis_pb2_grpc.DiagnosisServiceStub
    server: server_pb2_grpc.ServerServiceStub


class AsyncService(NamedTuple):
    """An asynchronous channel and its stubs: the same classes, only their types know which channel they got."""

    channel: grpc.aio.Channel
    artifacts: artifact_pb2_grpc.ArtifactServiceAsyncStub
    diagnoses: diagnosis_pb2_grpc.DiagnosisServiceAsyncStub
    server: server_pb2_grpc.ServerServiceAsyncStub


def open_channel(target: str, tls: Tls | None) -> Service:
    """Opens a blocking channel, which connects with the first call.

    Raises:
        BadCall: the credentials cannot be read.
    """
    return Service(*_opened(grpc, target, tls))


def open_async_channel(target: str, tls: Tls | None) -> AsyncService:
    """Opens an asynchronous channel, which connects with the first call.

    Raises:
        BadCall: the credentials cannot be read.
    """
    return AsyncService(*_opened(grpc.aio, target, tls))


def _opened(kind: Any, target: str, tls: Tls | None) -> tuple[Any, Any, Any, Any]:
    secure = credentials(tls)
    channel = (
        kind.secure_channel(target, secure, options=CHANNEL_OPTIONS)
        if secure
        else kind.insecure_channel(target, options=CHANNEL_OPTIONS)
    )
    return (
        channel,
        artifact_pb2_grpc.ArtifactServiceStub(channel),
        diagnosis_pb2_grpc.DiagnosisServiceStub(channel),
        server_pb2_grpc.ServerServiceStub(channel),
    )
