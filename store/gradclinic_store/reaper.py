"""Puts right what time or a dead process left behind. Each step is one atomic script: any number may reap at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store.record import milliseconds

if TYPE_CHECKING:
    from gradclinic_store.connection import Connection
    from gradclinic_store.queue import JobQueue

LEASES_KEY = "gradclinic:leases"
DELAYED_KEY = "gradclinic:delayed"
MISSING_KEY = "gradclinic:missing"
RETENTION_KEY = "gradclinic:retention"
PAUSE_SECONDS = 0.5  # after the first lost worker; doubles with each
GRACE_SECONDS = 5.0  # between a pop and the start that follows it nothing is lost yet
AT_MOST = 500  # of each kind in one round


def reap(connection: Connection, queue: JobQueue) -> list[str]:
    """Run one round; returns the ids of diagnoses that were taken away, expired or queued again."""
    _drop_old(connection)
    return [
        *_take_from_lost_workers(connection),
        *_expire_waiting(connection, queue),
        *_queue_due(connection, queue),
        *_queue_missing(connection, queue),
    ]


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


def _queue_due(connection: Connection, queue: JobQueue) -> list[str]:
    due = connection.run("due", AT_MOST)
    for diagnosis_id, name, attempt in due:
        queue.enqueue(diagnosis_id.decode(), int(attempt), name.decode())
    return [diagnosis_id.decode() for diagnosis_id, _, _ in due]


def _queue_missing(connection: Connection, queue: JobQueue) -> list[str]:
    """Queue again what waits but has no queue entry: its creator or the worker that popped it died."""
    again = []
    for name in queue.names():
        waiting, paused, noted = (
            queue.waiting(name),
            _members(connection, DELAYED_KEY),
            _members(connection, MISSING_KEY),
        )
        entries = queue.entries(name)
        for diagnosis_id in waiting - paused - entries:
            answer = connection.run("missing", diagnosis_id, milliseconds(GRACE_SECONDS))
            if answer is not None:
                queue.enqueue_again(diagnosis_id, int(answer[1]), name)
                again.append(diagnosis_id)
        _forget_missing(connection, noted & entries)
    return again


def _drop_old(connection: Connection) -> None:
    for diagnosis_id in _due(connection, RETENTION_KEY):
        connection.run("drop", diagnosis_id, "")


def _due(connection: Connection, key: str) -> list[str]:
    """Return the members of a sorted set of moments whose moment is over, by Redis' own clock."""
    return [member.decode() for member in connection.run("over", key, AT_MOST)]


def _members(connection: Connection, key: str) -> set[str]:
    return {member.decode() for member in connection.do(lambda client: client.zrange(key, 0, -1))}


def _forget_missing(connection: Connection, found: set[str]) -> None:
    if found:
        connection.do(lambda client: client.zrem(MISSING_KEY, *found))
