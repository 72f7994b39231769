"""Lets only callers in that send the token, where one is set."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from gradclinic_service.boundary import Context, Continuation, Handler, behaviour_of
from gradclinic_service.errors import NotAuthenticated

if TYPE_CHECKING:
    from collections.abc import Mapping

OPEN_TO_ALL = "/grpc.health.v1.Health/"  # probes carry no token


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls without ``authorization: Bearer TOKEN``; stands inside the boundary that aborts."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Passes the call on, or puts a refusal in the place of its handler."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(OPEN_TO_ALL):
            return handler
        metadata: Mapping[str, str | bytes] = dict(handler_call_details.invocation_metadata or ())
        given = metadata.get("authorization", b"")
        if hmac.compare_digest(given.encode() if isinstance(given, str) else given, self._expected):
            return handler
        _, make = behaviour_of(handler)
        return make(_refuse, handler.request_deserializer, handler.response_serializer)


async def _refuse(request: Any, context: Context) -> Any:  # noqa: ARG001, gRPC's signature
    raise NotAuthenticated("this server wants a token: send the metadata `authorization: Bearer TOKEN`")
