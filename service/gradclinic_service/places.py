"""Places for calls: each class of call has its own, and no caller may take all of them."""

from __future__ import annotations

import inspect
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from gradclinic_service.boundary import Context, Continuation, Handler, behaviour_of, when_over
from gradclinic_service.errors import TooManyCalls
from gradclinic_service.identity import OPEN_TO_ALL, caller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gradclinic_service.settings import ServiceSettings

MAX_HEALTH_CHECKS = 200
MAX_HEALTH_WATCHES = 1000  # each takes about 20 KiB


class Places:
    """So many calls of one class at once, and so many of each who calls."""

    def __init__(self, limit: str, most: int, most_of_one: int, scope: str) -> None:
        """Names the limit as callers see it, and for each ``scope`` whose limit is the smaller one."""
        self._limit = limit
        self._most = most
        self._most_of_one = most_of_one or most
        self._scope = scope
        self._taken: Counter[str] = Counter()  # by who calls
        self._all_taken = 0

    def take(self, whose: str) -> Callable[[], None]:
        """Takes a place, and answers with what gives it back.

        Raises:
            TooManyCalls: there is none, or none for this caller.
        """
        if self._taken[whose] >= self._most_of_one:
            raise _too_many(f"{self._scope}_{self._limit}", self._most_of_one, self._scope)
        if self._all_taken >= self._most:
            raise _too_many(self._limit, self._most, "all")
        self._taken[whose] += 1
        self._all_taken += 1

        def give_back() -> None:
            self._all_taken -= 1
            self._taken[whose] -= 1
            if not self._taken[whose]:
                del self._taken[whose]

        return give_back


class PlacesInterceptor(grpc.aio.ServerInterceptor):
    """Gives each call a place until it is over, its answer sent; stands inside what finds out who calls."""

    def __init__(self, settings: ServiceSettings) -> None:
        calls, watches = settings.max_concurrent_rpcs, settings.max_concurrent_watches
        self._calls = Places("max_concurrent_rpcs", calls, settings.tenant_max_concurrent_rpcs, "tenant")
        self._watches = Places("max_concurrent_watches", watches, settings.tenant_max_concurrent_watches, "tenant")
        self._checks = Places("max_health_checks", MAX_HEALTH_CHECKS, MAX_HEALTH_CHECKS // 2, "peer")
        self._health_watches = Places("max_health_watches", MAX_HEALTH_WATCHES, MAX_HEALTH_WATCHES // 2, "peer")

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wraps the handler of one call."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        if handler_call_details.method.startswith(OPEN_TO_ALL):
            return _placed(handler, self._health_watches if handler.response_streaming else self._checks, peer_host)
        return _placed(handler, self._watches if handler.response_streaming else self._calls, _tenant)


def _placed(handler: Handler, places: Places, whose: Callable[[Context], str]) -> Handler:
    behaviour, make = behaviour_of(handler)

    def take(context: Context) -> None:
        when_over(context, places.take(whose(context)))

    async def answers_once(request: Any, context: Context) -> Any:
        take(context)
        return await behaviour(request, context)

    async def streams(request: Any, context: Context) -> AsyncIterator[Any]:
        take(context)
        async with aclosing(behaviour(request, context)) as responses:
            async for response in responses:
                yield response

    wrapped = streams if inspect.isasyncgenfunction(behaviour) else answers_once
    return make(wrapped, handler.request_deserializer, handler.response_serializer)


def _tenant(_: Context) -> str:
    return caller().tenant


def peer_host(context: Context) -> str:
    """The address that a call comes from, without its port, which differs from connection to connection."""
    return context.peer().rpartition(":")[0]


def _too_many(limit: str, most: int, scope: str) -> TooManyCalls:
    whose = {"tenant": "of yours ", "peer": "from your address "}.get(scope, "")
    message = f"{most:,} such calls {whose}are under way here; try again in a moment"
    return TooManyCalls(message, limit=limit, limit_value=str(most), scope=scope)
