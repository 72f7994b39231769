"""The events of a diagnosis, followed as they happen: one stream per diagnosis, its entry ids are the revisions.

Ten minutes after the end the stream goes. Who follows later gets the last event alone, which the record still tells.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store.connection import ANONYMOUS, CONNECT_TIMEOUT_SECONDS, HEALTH_CHECK_SECONDS
from gradclinic_store.diagnoses import KEY
from gradclinic_store.errors import DiagnosisNotFound, StoreUnavailable
from gradclinic_store.record import MS_PER_SECOND, set_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gradclinic_store.diagnoses import Diagnoses
    from gradclinic_store.settings import StoreSettings

EVENTS_KEY = "gradclinic:events:"
LOOK_EVERY_SECONDS = 10.0  # without an event: is the diagnosis still there, and Redis?
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
MOST_CONNECTIONS = 1 << 16  # each who follows waits on one; redis-py would stop at 100
LAST_EVENT = ("state", "stage", "progress", "attempt", "end_ms")  # of a record that is final: its last event
Entry: TypeAlias = tuple[bytes, dict[bytes, bytes]]  # of a stream: its id and fields
AT_ONCE = nullcontext()
FINAL_STATES = frozenset(
    {
        diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED,
        diagnosis_pb2.DIAGNOSIS_STATE_FAILED,
        diagnosis_pb2.DIAGNOSIS_STATE_CANCELLED,
        diagnosis_pb2.DIAGNOSIS_STATE_EXPIRED,
    }
)


class Followers:
    """The connections of those who follow: one for each, or shared while `connected`."""

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self._shared: redis.asyncio.Redis | None = None

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Share connections until the block ends."""
        self._shared = self._client()
        try:
            yield
        finally:
            client, self._shared = self._shared, None
            await client.aclose()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[redis.asyncio.Redis]:
        """Give a client for one who follows."""
        if self._shared is not None:
            yield self._shared
            return
        client = self._client()
        try:
            yield client
        finally:
            # Shielded: who is cancelled while it closes would leave connections open.
            await asyncio.shield(client.aclose())

    def _client(self) -> redis.asyncio.Redis:
        return redis.asyncio.Redis.from_url(
            self.settings.redis_url,
            max_connections=MOST_CONNECTIONS,
            socket_timeout=LOOK_EVERY_SECONDS + CONNECT_TIMEOUT_SECONDS,
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            health_check_interval=HEALTH_CHECK_SECONDS,
            retry=Retry(NoBackoff(), 0),  # `Events` retries, and knows where it was
            **ANONYMOUS,
        )


class Events:
    """Changes of one tenant's diagnoses, in order and without gaps."""

    def __init__(self, followers: Followers, diagnoses: Diagnoses) -> None:
        self._followers = followers
        self._diagnoses = diagnoses

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Let all who follow in this event loop share connections, whatever their tenant.

        Nobody may follow any more when the block ends.
        """
        async with self._followers.connected():
            yield

    async def follow(
        self,
        diagnosis_id: str,
        after_revision: int = 0,
        turn: AbstractAsyncContextManager[object] = AT_ONCE,
    ) -> AsyncIterator[diagnosis_pb2.DiagnosisEvent]:
        """Yield every change after a revision, and end with the final one, without the diagnosis itself.

        Goes on where it was when Redis comes back within a minute. `turn` is held while it begins.

        Raises:
            DiagnosisNotFound: there is no such diagnosis (any more).
            StoreUnavailable: Redis stayed away.
        """
        async with self._followers.client() as client:
            revision = max(0, after_revision)
            block_ms = 1  # the first time: there may be no such diagnosis
            while True:
                async with turn:
                    entries, over = await self._read(client, diagnosis_id, revision, block_ms), False
                turn = AT_ONCE
                if not entries:
                    entries, over = await self._settled(client, diagnosis_id, revision)
                # Not all watches of a process at once: those that begin together would also look together.
                block_ms = round(LOOK_EVERY_SECONDS * MS_PER_SECOND * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                for entry_id, fields in entries:
                    revision = int(entry_id.partition(b"-")[0])
                    event = _event(revision, fields)
                    yield event
                    if event.state in FINAL_STATES:
                        return
                if over:
                    return

    async def _settled(self, client: redis.asyncio.Redis, diagnosis_id: str, revision: int) -> tuple[list[Entry], bool]:
        """Return the last event of what ended so long ago that its events are gone, and whether nothing comes any more.

        An unknown diagnosis raises. Every watch asks this now and then: no thread and no whole record is needed for it.
        """
        try:
            asked: Any = client.hmget(KEY + diagnosis_id, ["tenant", *LAST_EVENT, "revision"])
            tenant, *last, last_revision = await asked
            if tenant is None or tenant.decode() != self._diagnoses.tenant:
                raise DiagnosisNotFound(diagnosis_id)
            if int(last[0]) not in FINAL_STATES:
                return [], False
            if revision >= int(last_revision):
                return [], True
            there: Any = client.exists(self._key(diagnosis_id))
            if await there:
                return [], False  # it came meanwhile
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            return [], False  # the next read waits for Redis to come back
        return [
            (last_revision, dict(zip((b"state", b"stage", b"progress", b"attempt", b"time_ms"), last, strict=True)))
        ], True

    def _key(self, diagnosis_id: str) -> str:
        return f"{EVENTS_KEY}{self._diagnoses.tenant}:{diagnosis_id}"

    async def _read(self, client: redis.asyncio.Redis, diagnosis_id: str, revision: int, block_ms: int) -> list[Entry]:
        """Wait for entries after a revision; none when none came in time."""
        key = self._key(diagnosis_id)
        pause_seconds = FIRST_PAUSE_SECONDS
        waited_seconds = 0.0
        while True:
            try:
                answer: Any = await client.xread({key: f"{revision}-0"}, block=block_ms)
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
                if waited_seconds > self._followers.settings.patience_seconds * 30:
                    raise StoreUnavailable(f"Redis does not answer: {error}") from error
                # The pool forgets a connection that broke, without closing it.
                await client.connection_pool.disconnect(inuse_connections=False)
                await asyncio.sleep(pause_seconds)
                waited_seconds += pause_seconds
                pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
                continue
            if not answer:
                return []
            # RESP3 answers with a mapping, RESP2 with pairs.
            ((stream, batches),) = answer.items() if isinstance(answer, dict) else answer
            if stream != key.encode():
                raise RuntimeError(f"asked for {key} and got {stream!r}")
            entries: list[Entry] = batches[0] if isinstance(answer, dict) else batches
            return entries


def _event(revision: int, fields: dict[bytes, bytes]) -> diagnosis_pb2.DiagnosisEvent:
    event = diagnosis_pb2.DiagnosisEvent(
        revision=revision,
        state=diagnosis_pb2.DiagnosisState.ValueType(int(fields[b"state"])),
        stage=diagnosis_pb2.DiagnosisStage.ValueType(int(fields[b"stage"])),
        progress=float(fields[b"progress"]),
        attempt=int(fields[b"attempt"]),
    )
    set_time(event.time, fields[b"time_ms"])
    return event
