"""The one place where a call is aborted: errors become statuses, unknown ones become INTERNAL without detail."""

from __future__ import annotations

import inspect
import logging
import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import grpc
import grpc.aio

from gradclinic_service.statuses import internal_status, known_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from google.rpc.status_pb2 import Status

logger = logging.getLogger(__name__)

# Texts, since grpc's classes are generic only in their stubs.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

STATUS_DETAILS_KEY = "grpc-status-details-bin"


class ErrorObserver(Protocol):
    """Hears of every error that ends a call."""

    def known_error(self, error: Exception) -> None:
        """An error of the table."""

    def unknown_error(self, method: str) -> None:
        """A defect."""


class AbortInterceptor(grpc.aio.ServerInterceptor):
    """Aborts a call with the status that its error stands for."""

    def __init__(self, observer: ErrorObserver) -> None:
        self._observer = observer

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wraps the handler of one call."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method

        async def on_error(error: Exception, context: Context) -> None:
            await _abort(context, self._status_of(error, method))

        return None if handler is None else guarded(handler, on_error)

    def _status_of(self, error: Exception, method: str) -> Status:
        status = known_status(error)
        if status is not None:
            self._observer.known_error(error)
            return status
        incident = uuid.uuid4().hex
        logger.error("call failed unexpectedly method=%s incident=%s", method, incident, exc_info=error)
        self._observer.unknown_error(method)
        return internal_status(incident)


async def _abort(context: Context, status: Status) -> None:
    details = ((STATUS_DETAILS_KEY, status.SerializeToString()),)
    await context.abort(_CODES[status.code], status.message, details)


_CODES = {code.value[0]: code for code in grpc.StatusCode}

OnError: TypeAlias = "Callable[[Exception, Context], Awaitable[None]]"


def guarded(handler: Handler, on_error: OnError) -> Handler:
    """The same handler, with ``on_error`` called for whatever it raises but cancellation and gRPC's own abort."""
    behaviour, make = behaviour_of(handler)

    async def answers_once(request: Any, context: Context) -> Any:
        try:
            return await behaviour(request, context)
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001, this is the boundary: nothing above it handles errors
            await on_error(error, context)

    async def streams(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            async with aclosing(behaviour(request, context)) as responses:
                async for response in responses:
                    yield response
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001, as above
            await on_error(error, context)

    wrapped = streams if inspect.isasyncgenfunction(behaviour) else answers_once
    return make(wrapped, handler.request_deserializer, handler.response_serializer)


def when_over(context: Context, act: Callable[[], None]) -> None:
    """Has ``act`` called when a call is over: its answer is sent, or its caller has gone."""
    # The stubs have a class where gRPC takes any callable.
    context.add_done_callback(lambda _: act())  # type: ignore[arg-type]


def behaviour_of(handler: Handler) -> tuple[Callable[..., Any], Callable[..., Handler]]:
    """A handler's function, and what makes a handler of that shape from another function."""
    if handler.request_streaming and handler.response_streaming:
        return _present(handler.stream_stream), grpc.stream_stream_rpc_method_handler
    if handler.request_streaming:
        return _present(handler.stream_unary), grpc.stream_unary_rpc_method_handler
    if handler.response_streaming:
        return _present(handler.unary_stream), grpc.unary_stream_rpc_method_handler
    return _present(handler.unary_unary), grpc.unary_unary_rpc_method_handler


def _present(behaviour: Callable[..., Any] | None) -> Callable[..., Any]:
    if behaviour is None:
        raise TypeError("the handler lacks the function of its own shape")
    return behaviour
