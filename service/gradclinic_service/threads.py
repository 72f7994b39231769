"""Blocking store calls, off the event loop and bounded in number."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


class StoreThreads:
    """A bounded pool: at most ``count`` store calls run at once, the others wait their turn."""

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix=name)

    def start(self, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[R]:
        """Starts a call and answers at once with what will be its outcome."""
        return asyncio.get_running_loop().run_in_executor(self._pool, partial(call, *args, **kwargs))

    async def run(self, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs a call and waits for it."""
        return await self.start(call, *args, **kwargs)

    def close(self) -> None:
        """Waits for the calls that have started, and starts no others."""
        self._pool.shutdown(wait=True, cancel_futures=True)
