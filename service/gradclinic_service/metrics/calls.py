"""Counts and times every call, under gRPC's own names, streaming calls included."""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pool

from gradclinic_service.boundary import Context, Continuation, Handler, behaviour_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gradclinic_service.metrics.process import ProcessMetrics

_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
_TYPES = {
    (False, False): "unary",
    (True, False): "client_stream",
    (False, True): "server_stream",
    (True, True): "bidi_stream",
}


class CallMetricsInterceptor(grpc.aio.ServerInterceptor):
    """The outermost interceptor, so that it sees the status that the caller sees."""

    def __init__(self, metrics: ProcessMetrics) -> None:
        self._metrics = metrics

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wraps the handler of one call; an unknown method is nobody's, and not counted."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        service, _, method = handler_call_details.method.lstrip("/").partition("/")
        return _measured(handler, self._metrics, (_kind(service, method), service, method))


@functools.cache
def _kind(service: str, method: str) -> str:
    """The shape of a call by its contract; that of its handler differs, see single_requests.py."""
    known = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]
    return _TYPES[known.client_streaming, known.server_streaming]


class _Call:
    """One call under way."""

    def __init__(self, metrics: ProcessMetrics, labels: tuple[str, str, str]) -> None:
        self._metrics = metrics
        self._labels = labels
        self._begun = time.monotonic()
        self.received = metrics.received.labels(*labels)
        self.sent = metrics.sent.labels(*labels)
        metrics.started.labels(*labels).inc()

    def end(self, code: str) -> None:
        self._metrics.handled.labels(*self._labels, code).inc()
        self._metrics.handling_seconds.labels(*self._labels).observe(time.monotonic() - self._begun)


def _measured(handler: Handler, metrics: ProcessMetrics, labels: tuple[str, str, str]) -> Handler:
    behaviour, make = behaviour_of(handler)

    async def answers_once(request: Any, context: Context) -> Any:
        call = _Call(metrics, labels)
        try:
            response = await behaviour(_counted(request, call, handler), context)
        except BaseException as error:
            call.end(_code_after(error, context))
            raise
        if response is not None:
            call.sent.inc()
        call.end(_code_now(context))
        return response

    async def streams(request: Any, context: Context) -> AsyncIterator[Any]:
        call = _Call(metrics, labels)
        try:
            async with aclosing(behaviour(_counted(request, call, handler), context)) as responses:
                async for response in responses:
                    yield response
                    call.sent.inc()
        except BaseException as error:
            call.end(_code_after(error, context))
            raise
        call.end(_code_now(context))

    wrapped = streams if inspect.isasyncgenfunction(behaviour) else answers_once
    return make(wrapped, handler.request_deserializer, handler.response_serializer)


def _counted(request: Any, call: _Call, handler: Handler) -> Any:
    if handler.request_streaming:
        return _CountedStream(request, call)
    call.received.inc()
    return request


class _CountedStream:
    """A request stream that counts what passes; no generator, since each message's cost counts here."""

    def __init__(self, stream: AsyncIterator[Any], call: _Call) -> None:
        self._stream = stream
        self._received = call.received

    def __aiter__(self) -> _CountedStream:
        # Not before it is asked for: gRPC's own stream complains when it was begun and never read.
        self._next = self._stream.__aiter__().__anext__
        return self

    async def __anext__(self) -> Any:
        message = await self._next()
        self._received.inc()
        return message


def _code_now(context: Context) -> str:
    # grpc.aio hands out a number where its own types promise an enum.
    code: Any = context.code()
    return _NAMES.get(code, "OK") if isinstance(code, int) else code.name if code else "OK"


def _code_after(error: BaseException, context: Context) -> str:
    if isinstance(error, grpc.aio.AbortError):
        return _code_now(context)
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        remaining = context.time_remaining()
        return "DEADLINE_EXCEEDED" if remaining is not None and remaining <= 0 else "CANCELLED"
    return "UNKNOWN"
