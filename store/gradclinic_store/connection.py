"""The connection to Redis: timeouts and retries on every call, scripts by name, errors in the store's own words."""

from __future__ import annotations

import functools
import math
import time
from contextlib import contextmanager
from importlib import resources
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self, TypeVar

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from gradclinic_store.errors import StoreFull, StoreUnavailable, memory_full

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradclinic_store.settings import StoreSettings

CONNECT_TIMEOUT_SECONDS = 2.0
SOCKET_TIMEOUT_SECONDS = 5.0
HEALTH_CHECK_SECONDS = 15
FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 1.0
WRITTEN_WITHIN_SECONDS = 4.0
WRITTEN_PAUSE_SECONDS = 0.003

# redis-py would look up its own version for each new connection, which takes 15 ms in each forked job, and send it.
ANONYMOUS: dict[str, Any] = (
    {"driver_info": None} if find_spec("redis.driver_info") else {"lib_name": None, "lib_version": None}
)

_T = TypeVar("_T")


class PatientRetry(Retry):
    """Retries a call with growing pauses until its time is over, however long a single try took."""

    def __init__(self, patience_seconds: float) -> None:
        super().__init__(ExponentialWithJitterBackoff(cap=LONGEST_PAUSE_SECONDS, base=FIRST_PAUSE_SECONDS), retries=-1)
        self.patience_seconds = patience_seconds
        self._hurried_until = math.inf  # monotonic

    def __deepcopy__(self, _memo: object) -> Self:
        return self  # redis-py copies it for each connection; so all of them hear of a hurry

    def hurry(self, seconds: float) -> None:
        """End all retrying within so many seconds from now, that of calls under way included."""
        self._hurried_until = min(self._hurried_until, time.monotonic() + seconds)

    def call_with_retry(
        self,
        do: Callable[[], _T],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,  # noqa: FBT001, FBT002 - redis-py's signature
    ) -> _T:
        """Run `do` until it succeeds or patience ends."""
        deadline = time.monotonic() + self.patience_seconds

        def in_time(error: Exception) -> bool:
            return time.monotonic() < min(deadline, self._hurried_until) and (
                is_retryable is None or is_retryable(error)
            )

        return super().call_with_retry(do, fail, in_time, with_failure_count)


class Connection:
    """Redis as the store sees it. Thread-safe; after a fork it connects anew."""

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self._retry = PatientRetry(settings.patience_seconds)
        self.client: redis.Redis = redis.Redis.from_url(settings.redis_url, **options(self._retry))
        self._scripts: dict[str, Any] = {}

    def run(self, script: str, *arguments: str | bytes | float) -> Any:
        """Run `lua/<script>.lua` as one atomic step and return its answer (bytes stay bytes).

        A script may run twice when an answer was lost; each is written so that this does no harm.
        """
        with self.translated():
            return self._script(script)(args=arguments)

    def warm(self) -> None:
        """Read all scripts now, so that no forked child has to."""
        for script in (resources.files("gradclinic_store") / "lua").iterdir():
            self._script(script.name.removesuffix(".lua"))

    def use_in_job(self, patience_seconds: float) -> None:
        """Go on in a process that was forked for one job: its connections are new, and need no check before use."""
        self._retry.patience_seconds = patience_seconds
        self.client.connection_pool.connection_kwargs["health_check_interval"] = 0

    def _script(self, name: str) -> Any:
        known = self._scripts.get(name)
        if known is None:
            known = self._scripts[name] = self.client.register_script(source(name))
        return known

    def do(self, work: Callable[[Any], _T]) -> _T:
        """Call `work` with the Redis client, its errors translated."""
        with self.translated():
            return work(self.client)

    def await_written(self) -> None:
        """Wait until all that Redis executed so far is in its append-only file: its death then loses nothing of it.

        With `appendfsync everysec` Redis answers at once, but while a sync of the file is under way it keeps what it
        would write in memory, for up to two seconds. Where there is no such file, there is nothing to wait for.

        Raises:
            StoreUnavailable: it is not written within `WRITTEN_WITHIN_SECONDS`.
        """
        deadline = time.monotonic() + WRITTEN_WITHIN_SECONDS
        while self.do(lambda client: client.info("persistence")).get("aof_buffer_length"):
            if time.monotonic() > deadline:
                raise StoreUnavailable("Redis does not write its append-only file: its disk is slow or full")
            time.sleep(WRITTEN_PAUSE_SECONDS)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn Redis' errors into the store's.

        Raises:
            StoreUnavailable: no answer in time, or Redis refuses to work for now.
            StoreFull: Redis is out of memory.
        """
        try:
            yield
        except redis.exceptions.OutOfMemoryError as error:
            raise self._out_of_memory() from error
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
            raise StoreUnavailable(f"Redis does not answer: {error}") from error
        except (redis.exceptions.ReadOnlyError, redis.exceptions.TryAgainError) as error:
            raise StoreUnavailable(f"Redis takes no writes now: {error}") from error
        except redis.exceptions.ResponseError as error:
            said = str(error).rpartition(" of pipeline caused error: ")[2]  # redis-py names the command before it
            if "OOM command not allowed" in said:
                raise self._out_of_memory() from error
            if said.startswith("MISCONF"):
                raise StoreUnavailable(
                    "Redis takes no writes: it cannot write its own file, is its disk full?"
                ) from error
            if said.startswith(("LOADING", "BUSY ")):
                raise StoreUnavailable(f"Redis takes no commands now: {error}") from error
            raise

    def _out_of_memory(self) -> StoreFull:
        return memory_full(int(self.do(lambda client: client.info("memory"))["maxmemory"]))

    def hurry(self, seconds: float) -> None:
        """Wait for a Redis that is away for at most so many seconds from now, in all calls together."""
        self._retry.hurry(seconds)

    def close(self) -> None:
        """Close all connections."""
        self.client.close()


def options(retry: Retry) -> dict[str, Any]:
    """Return the keyword arguments of every synchronous Redis client of this room."""
    return {
        "socket_timeout": SOCKET_TIMEOUT_SECONDS,
        "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "health_check_interval": HEALTH_CHECK_SECONDS,
        "retry": retry,
        "protocol": 2,  # 3 gives nothing that is used here, and takes a round trip per connection, which is one per job
        **ANONYMOUS,
    }


@functools.cache
def source(script: str) -> str:
    """Return the text of a Lua script: what all scripts share, its own, and the writing of what it counted."""
    folder = resources.files("gradclinic_store") / "lua"
    prelude, own = ((folder / f"{name}.lua").read_text(encoding="utf-8") for name in ("prelude", script))
    return f"{prelude}\nlocal function run()\n{own}\nend\nlocal answer = run()\nwrite_counted()\nreturn answer"
