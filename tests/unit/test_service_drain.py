"""A drain ends the streams that pass through it, whatever they wait for."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import pytest

from gradclinic_service.drain import Drain
from gradclinic_service.errors import Draining

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def numbers(swallowed: int) -> AsyncIterator[int]:
    """One number, then a wait that swallows some cancellations, as redis.asyncio does while it connects."""
    yield 1
    for _ in range(swallowed):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
    await asyncio.sleep(60)


async def test_a_stream_that_ends_is_passed_on_whole() -> None:
    async def few() -> AsyncIterator[int]:
        yield 1
        yield 2

    assert [1, 2] == [number async for number in Drain().until(few())]


@pytest.mark.parametrize("swallowed", [0, 1, 3])
async def test_a_drain_ends_a_stream_that_waits(swallowed: int) -> None:
    drain = Drain()
    stream = drain.until(numbers(swallowed))
    assert 1 == await anext(stream)
    asyncio.get_running_loop().call_later(0.05, drain.begin)
    async with asyncio.timeout(5):
        with pytest.raises(Draining):
            await anext(stream)


@pytest.mark.parametrize("swallowed", [0, 1, 3])
async def test_a_caller_that_goes_away_ends_it_too(swallowed: int) -> None:
    async def watch() -> None:
        async with aclosing(Drain().until(numbers(swallowed))) as stream:
            async for _ in stream:
                pass

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.05)
    watching.cancel()
    done, _ = await asyncio.wait((watching,), timeout=5)
    assert {watching} == done


class Gone(Exception):
    """What a stream raises in these tests."""


@pytest.mark.parametrize("error", [None, Gone])
async def test_a_caller_that_goes_away_as_the_stream_ends_leaves_no_exception_behind(
    error: type[Exception] | None, unhandled: list[str]
) -> None:
    go_on = asyncio.Event()

    async def ends() -> AsyncIterator[int]:
        yield 1
        await go_on.wait()
        if error is not None:
            raise error

    async def watch() -> None:
        async with aclosing(Drain().until(ends())) as stream:
            async for _ in stream:
                pass

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.05)
    go_on.set()
    await asyncio.sleep(0)  # the stream ends here,
    watching.cancel()  # and its caller goes away before it hears of that
    await asyncio.wait((watching,))
    del watching
    gc.collect()
    await asyncio.sleep(0)
    assert [] == unhandled


@pytest.fixture
async def unhandled() -> list[str]:
    """What asyncio would log as an error of this test's loop."""
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    return told
