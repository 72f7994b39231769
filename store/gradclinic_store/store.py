"""The store as a whole: one connection, and a room's worth of things that stand on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store.artifacts import Artifacts
from gradclinic_store.blobs import blobs_for
from gradclinic_store.connection import Connection
from gradclinic_store.counters import STORED_KEY, Counters
from gradclinic_store.diagnoses import Diagnoses
from gradclinic_store.events import Events, Followers
from gradclinic_store.fleet import Fleet
from gradclinic_store.memory import Memory, MemoryWatch
from gradclinic_store.queue import JobQueue
from gradclinic_store.tenants import DEFAULT_TENANT, checked

if TYPE_CHECKING:
    from types import TracebackType

    from gradclinic_store.settings import StoreSettings

STATE_KEY = "gradclinic:index:"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tenant takes of its limits."""

    queued: int
    running: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class TenantStore:
    """What one tenant has in the store; nothing of another one can be reached through it."""

    artifacts: Artifacts
    diagnoses: Diagnoses
    events: Events


class Store:
    """Everything that lives in Redis and the blob store. Thread-safe; a forked child may go on using it.

    Its own `artifacts`, `diagnoses` and `events` are those of the default tenant.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.settings = connection.settings
        self.queue = JobQueue(connection)
        self.fleet = Fleet(connection)
        self.counters = Counters(connection)
        self._blobs = blobs_for(connection)
        self._memory = MemoryWatch(connection)
        self._followers = Followers(connection.settings)
        default = self.of(DEFAULT_TENANT)
        self.artifacts, self.diagnoses, self.events = default.artifacts, default.diagnoses, default.events

    @classmethod
    def connect(cls, settings: StoreSettings) -> Store:
        """Return a store; nothing is sent before the first call."""
        return cls(Connection(settings))

    def of(self, tenant: str) -> TenantStore:
        """Return what a tenant has; costs nothing.

        Raises:
            ValueError: that is no tenant's name.
        """
        artifacts = Artifacts(self.connection, self._blobs, self._memory, checked(tenant))
        diagnoses = Diagnoses(self.connection, self.queue, self._memory, tenant)
        return TenantStore(artifacts, diagnoses, Events(self._followers, diagnoses))

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
        return self._memory.read()

    def usage(self, tenant: str) -> Usage:
        """Return what a tenant takes of its limits now."""
        with self.connection.translated(), self.connection.client.pipeline(transaction=False) as pipeline:
            pipeline.zcard(f"{STATE_KEY}{tenant}:state:{diagnosis_pb2.DIAGNOSIS_STATE_QUEUED}")
            pipeline.zcard(f"{STATE_KEY}{tenant}:state:{diagnosis_pb2.DIAGNOSIS_STATE_RUNNING}")
            pipeline.get(f"{STORED_KEY}:{tenant}")
            queued, running, stored = pipeline.execute()
        return Usage(queued, running, int(stored or 0))

    def reap(self) -> list[str]:
        """Put right what time or a dead process left behind, in every part of the store.

        Call it every few seconds from any number of processes; returns the ids of diagnoses that changed.
        """
        self.artifacts.reap()  # first: in a full Redis it makes the room that the others need
        self.fleet.forget_dead()
        return self.diagnoses.reap()

    def close(self) -> None:
        """Close all connections."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
