"""What one process knows about its store: where it is and how much it may hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import click

from gradclinic.command_options import (
    COUNT,
    COUNT_OR_ZERO,
    SECONDS,
    SECONDS_OR_ZERO,
    SIZE,
    URL,
    Kind,
    check,
    setting,
)

MEBIBYTE_BYTES: Final = 1024 * 1024

RATE: Final = Kind(click.FloatRange(min=0), "COUNT")
SHARE_OF_MEMORY: Final = Kind(click.FloatRange(min=0, max=1, max_open=True), "SHARE")
HALF: Final = "half of all with --token-file, else all"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Settings of the store. Processes that share a Redis should agree on them."""

    redis_url: str = setting(
        URL,
        "redis://localhost:6379/0",
        "The Redis that all share: redis://, rediss:// or unix:// URL. A password is better kept in the variable.",
        flag="--redis",
        variable="GRADCLINIC_REDIS_URL",
    )
    blob_url: str = setting(URL, "", "fsspec URL (s3://…, file:///…) for artifacts; empty: they lie in Redis.")
    max_artifact_bytes: int = setting(SIZE, "2GiB", "Largest artifact.")
    max_stored_bytes: int = setting(SIZE, "4GiB", "All artifacts together, uploads with their declared size.")
    tenant_max_stored_bytes: int = setting(SIZE, None, "The artifacts of one tenant.", shown=HALF, unset=0)
    """Counted whole also where others have the same bytes; 0: as all together."""
    artifact_retention_seconds: float = setting(
        SECONDS, 24 * 3600.0, "How long an artifact is kept after its last use."
    )
    upload_retention_seconds: float = setting(
        SECONDS, 3600.0, "How long an interrupted upload can be resumed.", offered=False
    )
    diagnosis_retention_seconds: float = setting(SECONDS, 7 * 24 * 3600.0, "How long a finished diagnosis is kept.")
    max_queued: int = setting(COUNT, 1000, "Diagnoses that may wait; more are refused.")
    tenant_max_queued: int = setting(COUNT, None, "Diagnoses of one tenant that may wait.", shown=HALF, unset=0)
    """0: as all together."""
    tenant_max_running: int = setting(
        COUNT_OR_ZERO, 0, "Diagnoses of one tenant that may run; 0: any. The same for `serve` and `work`."
    )
    submissions_per_second: float = setting(
        RATE, 500.0, "Diagnoses that may be created, in the long run; 0: any number."
    )
    tenant_submissions_per_second: float = setting(RATE, 100.0, "The same for one tenant.")
    submission_burst_seconds: float = setting(
        SECONDS, 10.0, "How many seconds' worth of them may come at once after a pause."
    )
    memory_reserve_share: float = setting(
        SHARE_OF_MEMORY, 0.1, "Share of Redis' maxmemory that new work must leave alone.", flag="--memory-reserve"
    )
    queue_ttl_seconds: float = setting(SECONDS, 3600.0, "How long a diagnosis may wait before it expires.")
    run_limit_seconds: float = setting(SECONDS, 300.0, "Longest a diagnosis may run.")
    max_attempts: int = setting(COUNT, 3, "How many workers may be lost on a diagnosis before it fails.")
    quarantine_seconds: float = setting(
        SECONDS_OR_ZERO, 3600.0, "How long a model that crashed three times is refused; 0: never."
    )
    lease_seconds: float = setting(SECONDS, 10.0, "How long a worker that gives no sign of life keeps its diagnosis.")
    patience_seconds: float = setting(
        SECONDS, 2.0, "How long one call waits for Redis to come back before it gives up.", offered=False
    )

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: with the name of the setting.
        """
        check(self)
        if not self.redis_url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError(f"redis_url must start with redis://, rediss:// or unix://, not {self.redis_url!r}")
        if self.max_artifact_bytes > self.max_stored_bytes:
            raise ValueError("max_artifact_bytes must not be above max_stored_bytes")
        for name in ("stored_bytes", "queued"):
            if getattr(self, f"tenant_max_{name}") > getattr(self, f"max_{name}"):
                raise ValueError(f"tenant_max_{name} must not be above max_{name}")
