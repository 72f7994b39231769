"""Finds out who calls, by token or client certificate, and lets only those in who may."""

from __future__ import annotations

import inspect
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from gradclinic_service.boundary import Context, Continuation, Handler, behaviour_of
from gradclinic_service.errors import NotAllowed, NotAuthenticated
from gradclinic_service.identity import ANYBODY, OPEN_TO_ALL, Caller, let_in, needed_role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gradclinic_service.credentials import CredentialFile

_SCHEME = "bearer "


class IdentityInterceptor(grpc.aio.ServerInterceptor):
    """Tells each handler who calls, and refuses who may not; stands inside the boundary that aborts."""

    def __init__(self, credentials: CredentialFile | None) -> None:
        """Without ``credentials`` everybody is let in, as the default tenant."""
        self._credentials = credentials

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wraps the handler of one call; health is open to all."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(OPEN_TO_ALL):
            return handler
        return self._wrapped(handler, method)

    def _wrapped(self, handler: Handler, method: str) -> Handler:
        behaviour, make = behaviour_of(handler)

        async def answers_once(request: Any, context: Context) -> Any:
            let_in(self._allowed(context, method))
            return await behaviour(request, context)

        async def streams(request: Any, context: Context) -> AsyncIterator[Any]:
            let_in(self._allowed(context, method))
            async with aclosing(behaviour(request, context)) as responses:
                async for response in responses:
                    self._allowed(context, method)  # a token that was taken away ends a watch, too
                    yield response

        wrapped = streams if inspect.isasyncgenfunction(behaviour) else answers_once
        return make(wrapped, handler.request_deserializer, handler.response_serializer)

    def _allowed(self, context: Context, method: str) -> Caller:
        caller = ANYBODY if self._credentials is None else _caller(self._credentials, context)
        needed = needed_role(method)
        if caller.role < needed:
            raise NotAllowed(
                f"the role {caller.role} does not allow {method.rpartition('/')[2]}: it needs {needed}; "
                "ask the operator for another token",
                role=str(caller.role),
                needed_role=str(needed),
            )
        return caller


def _caller(file: CredentialFile, context: Context) -> Caller:
    """Who shows a token, or else a certificate that TLS has verified."""
    credentials, now = file.current(), datetime.now(UTC)
    token = _token(context)
    if token is not None:
        credential = credentials.of_token(token, now)
    else:
        credential = credentials.of_certificate(_certificate_names(context), now)
    if credential is None:
        raise NotAuthenticated(
            "this server knows no such token, or it is not valid any more"
            if token is not None
            else "this server wants a token: send the metadata `authorization: Bearer TOKEN`"
        )
    return credential.caller


def _token(context: Context) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            return text[len(_SCHEME) :].strip() if text.lower().startswith(_SCHEME) else ""
    return None


def _certificate_names(context: Context) -> list[str]:
    shown = context.auth_context()
    names = [*shown.get("x509_subject_alternative_name", ()), *shown.get("x509_common_name", ())]
    return [name.decode("utf-8", "replace") for name in names]
