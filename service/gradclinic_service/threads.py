"""Blocking store calls, off the event loop and bounded in number."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from gradclinic_service.identity import caller_or_none

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


class Turns:
    """So many at once of each tenant; the others wait, first come, first served."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._of_tenant: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()  # those in use

    def of_caller(self) -> asyncio.Semaphore:
        """What the tenant that calls waits at; the process's own work counts as one tenant."""
        who = caller_or_none()
        tenant = who.tenant if who else ""
        turns = self._of_tenant.get(tenant)
        if turns is None:
            turns = self._of_tenant[tenant] = asyncio.Semaphore(self._count)
        return turns


class StoreThreads:
    """A bounded pool: at most ``count`` store calls run at once, the others wait their turn.

    Of one tenant at most ``count_of_one`` do, so that whoever asks for much at once keeps no other one waiting.
    """

    def __init__(self, count: int, name: str, count_of_one: int = 0) -> None:
        """Makes the pool; without ``count_of_one`` one tenant may have all."""
        self._pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix=name)
        self._turns = Turns(count_of_one or count)

    def start(self, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[R]:
        """Starts a call and answers at once with what will be its outcome."""
        return asyncio.get_running_loop().run_in_executor(self._pool, partial(call, *args, **kwargs))

    async def run(self, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Waits for the tenant's turn, runs a call and waits for it."""
        async with self._turns.of_caller():
            return await self.start(call, *args, **kwargs)

    def close(self) -> None:
        """Waits for the calls that have started, and starts no others."""
        self._pool.shutdown(wait=True, cancel_futures=True)
