"""Answers that may be large: so many at once, since each takes memory until its caller has read it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gradclinic_service.boundary import when_over
from gradclinic_service.threads import Turns

if TYPE_CHECKING:
    from gradclinic_service.boundary import Context

ANSWERS_AT_ONCE = 16  # each takes up to 16 MiB: at most 4 on the wire, and as much again read, parsed and serialized


class AnswerRoom:
    """Where answers with diagnoses wait for room, in the order in which they come."""

    def __init__(self, count_of_one: int = ANSWERS_AT_ONCE) -> None:
        """Of one tenant at most ``count_of_one`` have room at once."""
        self._all = asyncio.Semaphore(ANSWERS_AT_ONCE)
        self._turns = Turns(count_of_one)

    async def enter(self, context: Context) -> None:
        """Waits for room; the call has it until its answer is sent."""
        for room in (self._turns.of_caller(), self._all):
            await room.acquire()
            when_over(context, room.release)
