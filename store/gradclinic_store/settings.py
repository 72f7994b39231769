"""What one process knows about its store: where it is and how much it may hold."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE_BYTES = 1024 * 1024
GIBIBYTE_BYTES = 1024 * MEBIBYTE_BYTES


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Settings of the store. Processes that share a Redis should agree on them."""

    redis_url: str
    """`redis://`, `rediss://` or `unix://` URL; a password belongs here and nowhere else."""
    blob_url: str = ""
    """fsspec URL that holds the artifacts' bytes; empty: Redis does."""
    max_artifact_bytes: int = 2 * GIBIBYTE_BYTES
    """Largest artifact."""
    max_stored_bytes: int = 4 * GIBIBYTE_BYTES
    """All artifacts together, uploads in progress included at their declared size."""
    tenant_max_stored_bytes: int = 0
    """The artifacts of one tenant together, counted whole also where others have the same bytes; 0: as all together."""
    max_queued: int = 1000
    """Diagnoses that may wait at the same time."""
    tenant_max_queued: int = 0
    """Diagnoses of one tenant that may wait at the same time; 0: as all together."""
    tenant_max_running: int = 0
    """Diagnoses of one tenant that may run at the same time; 0: as many as there are workers."""
    submissions_per_second: float = 0.0
    """Diagnoses that all tenants may create per second in the long run; 0: any number."""
    tenant_submissions_per_second: float = 0.0
    """Diagnoses that one tenant may create per second in the long run; 0: any number."""
    submission_burst_seconds: float = 10.0
    """How many seconds' worth of submissions may come at once after a pause."""
    memory_reserve_share: float = 0.1
    """What share of Redis' `maxmemory` is kept for what was accepted: new work is refused before it is touched."""
    artifact_retention_seconds: float = 24 * 3600.0
    """How long an artifact is kept after it was last used."""
    upload_retention_seconds: float = 3600.0
    """How long an interrupted upload can be resumed."""
    diagnosis_retention_seconds: float = 7 * 24 * 3600.0
    """How long a diagnosis is kept after it ended."""
    queue_ttl_seconds: float = 3600.0
    """How long a diagnosis may wait before it expires."""
    run_limit_seconds: float = 300.0
    """Longest a diagnosis may run; the supervisor enforces it, the queue adapter only backs it up."""
    max_attempts: int = 3
    """How many workers may be lost on one diagnosis before it fails."""
    quarantine_seconds: float = 3600.0
    """How long a model is refused that crashed its process three times, or was lost at every attempt; 0: never."""
    lease_seconds: float = 10.0
    """How long a running diagnosis stays with a worker that does not renew."""
    patience_seconds: float = 2.0
    """How long one call waits for Redis to come back before it gives up."""

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: with the name of the setting.
        """
        if not self.redis_url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError(f"redis_url must start with redis://, rediss:// or unix://, not {self.redis_url!r}")
        if self.max_artifact_bytes > self.max_stored_bytes:
            raise ValueError("max_artifact_bytes must not be above max_stored_bytes")
        for name in ("stored_bytes", "queued"):
            if getattr(self, f"tenant_max_{name}") > getattr(self, f"max_{name}"):
                raise ValueError(f"tenant_max_{name} must not be above max_{name}")
        if not 0 <= self.memory_reserve_share < 1:
            raise ValueError(f"memory_reserve_share must be from 0 to below 1, not {self.memory_reserve_share}")
        positive = {
            "max_artifact_bytes": self.max_artifact_bytes,
            "max_queued": self.max_queued,
            "artifact_retention_seconds": self.artifact_retention_seconds,
            "upload_retention_seconds": self.upload_retention_seconds,
            "diagnosis_retention_seconds": self.diagnosis_retention_seconds,
            "queue_ttl_seconds": self.queue_ttl_seconds,
            "run_limit_seconds": self.run_limit_seconds,
            "max_attempts": self.max_attempts,
            "lease_seconds": self.lease_seconds,
            "patience_seconds": self.patience_seconds,
            "submission_burst_seconds": self.submission_burst_seconds,
        }
        at_least_0 = {
            "quarantine_seconds": self.quarantine_seconds,
            "tenant_max_stored_bytes": self.tenant_max_stored_bytes,
            "tenant_max_queued": self.tenant_max_queued,
            "tenant_max_running": self.tenant_max_running,
            "submissions_per_second": self.submissions_per_second,
            "tenant_submissions_per_second": self.tenant_submissions_per_second,
        }
        for name, value in at_least_0.items():
            if value < 0:
                raise ValueError(f"{name} must not be below 0, not {value}")
        for name, value in positive.items():
            if value <= 0:
                raise ValueError(f"{name} must be above 0, not {value}")
