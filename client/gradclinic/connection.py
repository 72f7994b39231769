"""How a client reaches the service: target, credentials, keepalive, and what its errors say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import grpc
from google.rpc import error_details_pb2, status_pb2

import gradclinic
from gradclinic.errors import BY_CODE, BadCall, FieldViolation, ServerDefect, ServerError

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_TARGET: Final = "localhost:50051"
TARGET_VARIABLE: Final = "GRADCLINIC_TARGET"
TOKEN_VARIABLE: Final = "GRADCLINIC_TOKEN"  # noqa: S105 - its name, not a token
ROOTS_VARIABLE: Final = "GRADCLINIC_TLS_ROOTS"
CERTIFICATE_VARIABLE: Final = "GRADCLINIC_TLS_CLIENT_CERTIFICATE"
KEY_VARIABLE: Final = "GRADCLINIC_TLS_CLIENT_KEY"
SYSTEM_ROOTS: Final = "system"
DEFAULT_TIMEOUT_SECONDS: Final = 30.0

# The server has to allow pings this often, or it closes the connection (GOAWAY, too_many_pings).
KEEPALIVE_TIME_SECONDS: Final = 30
KEEPALIVE_TIMEOUT_SECONDS: Final = 10

_NOT_CONNECTED = "failed to connect to all addresses"  # gRPC adds one line of each layer; the last one tells most
_MILLISECONDS = 1000
_LONGEST_RECONNECT_SECONDS = 2
CHANNEL_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", KEEPALIVE_TIME_SECONDS * _MILLISECONDS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * _MILLISECONDS),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", _LONGEST_RECONNECT_SECONDS * _MILLISECONDS),
    ("grpc.enable_retries", 0),  # this package retries itself: it knows what is idempotent
    ("grpc.primary_user_agent", f"gradclinic/{gradclinic.__version__}"),
)


class TlsFiles(NamedTuple):
    """PEM files of an encrypted connection."""

    roots: str | os.PathLike[str] | None = None  # whom to trust; None or `system`: the roots that gRPC ships
    certificate: str | os.PathLike[str] | None = None  # the client's own chain, for a service that asks for one
    private_key: str | os.PathLike[str] | None = None  # of that certificate

    @classmethod
    def from_environment(cls) -> TlsFiles:
        """What GRADCLINIC_TLS_ROOTS, GRADCLINIC_TLS_CLIENT_CERTIFICATE and GRADCLINIC_TLS_CLIENT_KEY say."""
        return cls(*(os.environ.get(name) or None for name in (ROOTS_VARIABLE, CERTIFICATE_VARIABLE, KEY_VARIABLE)))


Tls: TypeAlias = bool | str | os.PathLike[str] | TlsFiles | grpc.ChannelCredentials


def resolved_target(target: str | None) -> str:
    """The target that was given, else GRADCLINIC_TARGET, else the default."""
    target = target if target is not None else os.environ.get(TARGET_VARIABLE) or DEFAULT_TARGET
    if not target.strip() or "://" in target.replace(":///", "", 1):
        raise BadCall(f"target must be HOST:PORT, got {target!r}")
    return target


def credentials(tls: Tls | None) -> grpc.ChannelCredentials | None:
    """Channel credentials; None: no encryption.

    ``tls`` is True (the roots that gRPC ships), the path of a PEM file with
    root certificates, `TlsFiles` (mutual TLS), ready credentials, False (plain
    text), or None: what the environment says, else plain text.

    Raises:
        BadCall: a file cannot be read, or a certificate comes without its key.
    """
    if tls is None:
        tls = TlsFiles.from_environment()
        if not any(tls):
            return None
    if tls is False:
        return None
    if tls is True:
        tls = TlsFiles()
    if isinstance(tls, (str, os.PathLike)):
        tls = TlsFiles(tls)
    if not isinstance(tls, TlsFiles):
        return tls
    if (tls.certificate is None) != (tls.private_key is None):
        raise BadCall("tls: a client certificate and its private key go together; name both files")
    roots = None if tls.roots == SYSTEM_ROOTS else _pem(tls.roots, "root certificates")
    return grpc.ssl_channel_credentials(
        roots, _pem(tls.private_key, "the client's private key"), _pem(tls.certificate, "the client's certificate")
    )


def _pem(file: str | os.PathLike[str] | None, what: str) -> bytes | None:
    if file is None:
        return None
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise BadCall(f"tls: cannot read {what} from {os.fspath(file)!r}: {error.strerror}") from error


def call_metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    """Metadata that goes with every call: the token that was given, else GRADCLINIC_TOKEN, else none."""
    token = os.environ.get(TOKEN_VARIABLE) if token is None else token
    return (("authorization", f"Bearer {token}"),) if token else ()


def server_error(error: grpc.RpcError, target: str) -> ServerError:
    """What an RPC raised, with the google.rpc details that the service attached."""
    code = error.code() if isinstance(error, grpc.Call) or hasattr(error, "code") else grpc.StatusCode.UNKNOWN
    message = (error.details() if hasattr(error, "details") else None) or str(code.name)
    kind = BY_CODE.get(code.name, ServerDefect)
    reason, metadata, violations, retry_after_seconds = "", {}, [], None
    for detail in _details(error):
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            facts = error_details_pb2.ErrorInfo.FromString(detail.value)
            reason, metadata = facts.reason, dict(facts.metadata)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            request = error_details_pb2.BadRequest.FromString(detail.value)
            violations += [FieldViolation(item.field, item.description) for item in request.field_violations]
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
            retry_after_seconds = delay.seconds + delay.nanos / 1e9
    if code is grpc.StatusCode.UNAVAILABLE and not reason:  # the service itself would have given its reason
        cause = message.rpartition(": ")[2] if message.startswith(_NOT_CONNECTED) else message
        message = f"no gradclinic service at {target}: {cause}"
    return kind(
        message,
        code=code.name,
        reason=reason,
        metadata=metadata,
        violations=tuple(violations),
        retry_after_seconds=retry_after_seconds,
    )


def _details(error: grpc.RpcError) -> Iterable[Any]:
    trailing: Any = error.trailing_metadata() if hasattr(error, "trailing_metadata") else None
    for key, value in trailing or ():
        if key == "grpc-status-details-bin":
            return list(status_pb2.Status.FromString(value).details)
    return []
