"""How full Redis is, looked at now and then: near its limit new work is refused, so that accepted work can end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradclinic_store.connection import Connection

LOOK_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What Redis has and may have."""

    used_bytes: int
    limit_bytes: int  # 0: as much as the machine has


class MemoryWatch:
    """Redis' memory, as of a moment ago."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._last = Memory(0, 0)
        self._look_again_at = 0.0  # monotonic

    def read(self) -> Memory:
        """Ask Redis.

        Raises:
            StoreUnavailable: there is no answer.
        """
        answer = self._connection.do(lambda client: client.info("memory"))
        return Memory(int(answer["used_memory"]), int(answer["maxmemory"]))

    def short_of(self) -> int:
        """Return the limit in bytes that Redis is near, 0 when it is not.

        Raises:
            StoreUnavailable: there is no answer.
        """
        now = time.monotonic()
        if now >= self._look_again_at:
            self._last = self.read()
            self._look_again_at = now + LOOK_EVERY_SECONDS
        usable_bytes = self._last.limit_bytes * (1 - self._connection.settings.memory_reserve_share)
        return self._last.limit_bytes if self._last.used_bytes > usable_bytes else 0
