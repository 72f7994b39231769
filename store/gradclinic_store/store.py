"""The store as a whole: one connection, and a room's worth of things that stand on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from gradclinic_store.artifacts import Artifacts
from gradclinic_store.connection import Connection
from gradclinic_store.counters import Counters
from gradclinic_store.diagnoses import Diagnoses
from gradclinic_store.events import Events
from gradclinic_store.fleet import Fleet
from gradclinic_store.queue import JobQueue

if TYPE_CHECKING:
    from types import TracebackType

    from gradclinic_store.settings import StoreSettings


@dataclass(frozen=True, slots=True)
class Memory:
    """What Redis has and may have."""

    used_bytes: int
    limit_bytes: int  # 0: as much as the machine has


class Store:
    """Everything that lives in Redis and the blob store. Thread-safe; a forked child may go on using it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.settings = connection.settings
        self.queue = JobQueue(connection)
        self.fleet = Fleet(connection)
        self.counters = Counters(connection)
        self.artifacts = Artifacts(connection)
        self.diagnoses = Diagnoses(connection, self.queue)
        self.events = Events(connection, self.diagnoses)

    @classmethod
    def connect(cls, settings: StoreSettings) -> Store:
        """Return a store; nothing is sent before the first call."""
        return cls(Connection(settings))

    def ping(self) -> None:
        """Ask Redis for a sign of life.

        Raises:
            StoreUnavailable: there is none.
        """
        self.connection.do(lambda client: client.ping())

    def memory(self) -> Memory:
        """Ask Redis for its memory.

        Raises:
            StoreUnavailable: there is no answer.
        """
        answer = self.connection.do(lambda client: client.info("memory"))
        return Memory(int(answer["used_memory"]), int(answer["maxmemory"]))

    def reap(self) -> list[str]:
        """Put right what time or a dead process left behind, in every part of the store.

        Call it every few seconds from any number of processes; returns the ids of diagnoses that changed.
        """
        changed = self.diagnoses.reap()
        self.artifacts.reap()
        self.fleet.forget_dead()
        return changed

    def close(self) -> None:
        """Close all connections."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
