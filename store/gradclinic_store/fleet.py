"""The live workers: each reports every few seconds, and is gone when it stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic.v1 import server_pb2

if TYPE_CHECKING:
    from gradclinic_store.connection import Connection

WORKERS_KEY = "gradclinic:workers"  # set of worker ids
WORKER_KEY = "gradclinic:worker:"
REPORT_EVERY_SECONDS = 2.0
REPORT_TTL_SECONDS = 6.0


class Fleet:
    """The workers that reported within the last seconds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def report(self, worker_id: str, worker: server_pb2.LiveWorker) -> None:
        """Say that a worker lives; good for `REPORT_TTL_SECONDS`, repeat every `REPORT_EVERY_SECONDS`."""
        with self._connection.translated(), self._connection.client.pipeline(transaction=False) as pipeline:
            pipeline.sadd(WORKERS_KEY, worker_id)
            pipeline.set(WORKER_KEY + worker_id, worker.SerializeToString(), px=round(REPORT_TTL_SECONDS * 1000))
            pipeline.execute()

    def leave(self, worker_id: str) -> None:
        """Say that a worker ends."""
        with self._connection.translated(), self._connection.client.pipeline(transaction=False) as pipeline:
            pipeline.srem(WORKERS_KEY, worker_id)
            pipeline.delete(WORKER_KEY + worker_id)
            pipeline.execute()

    def live(self) -> list[server_pb2.LiveWorker]:
        """Return what the live workers last reported, in the order of their ids; changes nothing."""
        reports = self._reports()
        return [server_pb2.LiveWorker.FromString(report) for _, report in sorted(reports.items()) if report is not None]

    def forget_dead(self) -> None:
        """Drop the names of workers that report no more."""
        dead = [worker_id for worker_id, report in self._reports().items() if report is None]
        if dead:
            self._connection.do(lambda client: client.srem(WORKERS_KEY, *dead))

    def _reports(self) -> dict[bytes, bytes | None]:
        ids = sorted(self._connection.do(lambda client: client.smembers(WORKERS_KEY)))
        if not ids:
            return {}
        reports = self._connection.do(lambda client: client.mget([WORKER_KEY.encode() + name for name in ids]))
        return dict(zip(ids, reports, strict=True))
