"""How full Redis is, looked at now and then: near its limit new work is refused, so that accepted work can end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradclinic_store.connection import Connection

LOOK_EVERY_SECONDS = 1.0
KEPT_FREE_SHARE = 0.05  # of the limit: so long before new work would be refused, artifacts make room for records


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
        last = self._lately()
        return last.limit_bytes if last.used_bytes > self._usable_bytes(last) else 0

    def missing_for_records(self) -> int:
        """Return how many bytes have to come free so that records go on having room; not above 0 when none have.

        Raises:
            StoreUnavailable: there is no answer.
        """
        last = self._lately()
        if not last.limit_bytes:
            return 0
        return last.used_bytes - round(self._usable_bytes(last) - KEPT_FREE_SHARE * last.limit_bytes)

    def _lately(self) -> Memory:
        now = time.monotonic()
        if now >= self._look_again_at:
            self._last = self.read()
            self._look_again_at = now + LOOK_EVERY_SECONDS
        return self._last

    def _usable_bytes(self, memory: Memory) -> float:
        return memory.limit_bytes * (1 - self._connection.settings.memory_reserve_share)
