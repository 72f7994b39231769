"""The request of a call that has one: read once its caller is let in, within a time, and reported where malformed."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from gradclinic_service.boundary import Context, Continuation, Handler, behaviour_of
from gradclinic_service.errors import RequestMalformed, RequestMissing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

REQUEST_SECONDS = 10.0  # from the start of a call until its request is there


class RequestInterceptor(grpc.aio.ServerInterceptor):
    """The innermost interceptor: all that surrounds it acts before a message is read.

    gRPC itself reads the one request of a call before it calls any handler: a call that sends none would never come to
    those who check tokens and count places. So each handler becomes one of a request stream; the wire is the same.
    """

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wraps the handler of one call."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        parse = _parse_with(handler.request_deserializer, handler_call_details.method)
        if handler.request_streaming:
            behaviour, make = behaviour_of(handler)
            return make(behaviour, parse, handler.response_serializer)
        return _of_a_stream(handler, parse)


def _parse_with(parse: Callable[[bytes], Any] | None, method: str) -> Callable[[bytes], Any]:
    def parsed(message: bytes) -> Any:
        try:
            return message if parse is None else parse(message)
        except DecodeError as error:
            what = method.rpartition("/")[2]
            raise RequestMalformed(
                f"a message of {what} cannot be parsed ({error}); generate the stubs from this server's .proto files"
            ) from error

    return parsed


def _of_a_stream(handler: Handler, parse: Callable[[bytes], Any]) -> Handler:
    behaviour, _ = behaviour_of(handler)

    async def answers_once(messages: AsyncIterator[Any], context: Context) -> Any:
        return await behaviour(await _only(messages), context)

    async def streams(messages: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        async with aclosing(behaviour(await _only(messages), context)) as responses:
            async for response in responses:
                yield response

    wrapped = streams if inspect.isasyncgenfunction(behaviour) else answers_once
    make = grpc.stream_stream_rpc_method_handler if handler.response_streaming else grpc.stream_unary_rpc_method_handler
    return make(wrapped, parse, handler.response_serializer)


async def _only(messages: AsyncIterator[Any]) -> Any:
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            request = await anext(aiter(messages), None)
    except TimeoutError as error:
        raise RequestMissing(f"no request came within {REQUEST_SECONDS:g} s; send it as the call begins") from error
    if request is None:
        raise RequestMissing("the call ended without a request; send one message")
    return request
