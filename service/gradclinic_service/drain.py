"""Whether this server is going away, so that long calls can end by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from gradclinic_service.errors import Draining

T = TypeVar("T")

CANCEL_AGAIN_SECONDS = 0.1


class Drain:
    """A switch that is thrown once."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()

    def begin(self) -> None:
        """Throws it."""
        self._begun.set()

    async def wait(self) -> None:
        """Waits until it is thrown."""
        await self._begun.wait()

    async def until(self, source: AsyncIterator[T]) -> AsyncGenerator[T, None]:
        """Passes a stream of anything but None on, until it ends or the server drains.

        Raises:
            Draining: the server drains; the caller can go on elsewhere.
        """
        begun = asyncio.ensure_future(self.wait())
        following: asyncio.Future[T | None] | None = None
        try:
            while True:
                following = asyncio.ensure_future(anext(source, None))
                await asyncio.wait((following, begun), return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    raise Draining("this server is going away; call again, another one answers")
                item = following.result()
                if item is None:
                    return
                yield item
        finally:
            begun.cancel()
            if following is not None:
                await _ended(following)
            if isinstance(source, AsyncGenerator):
                await source.aclose()


async def _ended(following: asyncio.Future[T | None]) -> None:
    """Cancels what is not done, and takes its outcome: asyncio logs an error for an exception that is never read."""
    while not following.done():
        following.cancel()  # again: one that met redis.asyncio while it connects was seen to get lost
        await asyncio.wait((following,), timeout=CANCEL_AGAIN_SECONDS)
    if not following.cancelled():
        following.exception()
