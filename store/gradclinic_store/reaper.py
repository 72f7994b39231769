"""Puts right what time or a dead process left behind. Each step is one atomic script: any number may reap at once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store.record import MS_PER_SECOND, milliseconds

if TYPE_CHECKING:
    from gradclinic_store.connection import Connection
    from gradclinic_store.queue import JobQueue

LEASES_KEY = "gradclinic:leases"
RETENTION_KEY = "gradclinic:retention"
PAUSE_SECONDS = 0.5  # after the first lost worker; doubles with each
GRACE_SECONDS = 5.0  # between taking a ticket and the start that follows it nothing is lost yet
AT_MOST = 500  # of each kind in one round


def reap(connection: Connection, queue: JobQueue) -> list[str]:
    """Run one round; returns the ids of diagnoses that were taken away, expired or lined up again."""
    _drop_old(connection)
    changed = [
        *_take_from_lost_workers(connection),
        *_expire_waiting(connection, queue),
        *_line_up_due(connection, queue),
    ]
    for name in queue.names():
        queue.settle(name, GRACE_SECONDS)
    return changed


def _take_from_lost_workers(connection: Connection) -> list[str]:
    settings = connection.settings
    failure = diagnosis_pb2.Failure(
        reason=diagnosis_pb2.FAILURE_REASON_WORKER_LOST,
        message=f"the worker was lost {settings.max_attempts} times while it ran this diagnosis; "
        "see the workers' logs, and submit it again when they are well",
    )
    changed = []
    for diagnosis_id in _due(connection, LEASES_KEY):
        outcome = connection.run(
            "lose",
            diagnosis_id,
            settings.max_attempts,
            milliseconds(PAUSE_SECONDS),
            milliseconds(settings.diagnosis_retention_seconds),
            failure.SerializeToString(),
            round(settings.quarantine_seconds * MS_PER_SECOND),
        )
        if outcome is not None:
            changed.append(diagnosis_id)
    return changed


def _expire_waiting(connection: Connection, queue: JobQueue) -> list[str]:
    settings = connection.settings
    expired: list[str] = []
    for name in queue.names():
        late = connection.run(
            "expire",
            name,
            milliseconds(settings.queue_ttl_seconds),
            milliseconds(settings.diagnosis_retention_seconds),
            AT_MOST,
        )
        expired += [diagnosis_id.decode() for diagnosis_id in late]
    return expired


def _line_up_due(connection: Connection, queue: JobQueue) -> list[str]:
    due = connection.run("due", AT_MOST)
    for name, tickets in Counter(name.decode() for _, name in due).items():
        queue.call(name, tickets)
    return [diagnosis_id.decode() for diagnosis_id, _ in due]


def _drop_old(connection: Connection) -> None:
    for diagnosis_id in _due(connection, RETENTION_KEY):
        connection.run("drop", diagnosis_id, "")


def _due(connection: Connection, key: str) -> list[str]:
    """Return the members of a sorted set of moments whose moment is over, by Redis' own clock."""
    return [member.decode() for member in connection.run("over", key, AT_MOST)]
