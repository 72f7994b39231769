"""`python -m gradclinic_worker.process.queue_process`: takes jobs from the queue and forks a supervisor for each.

Knows the credentials of the store. Imports neither torch nor grpc: it is forked for every job.
"""

from __future__ import annotations

import logging
import os
import sys
import time

import gradclinic_store.queue
from gradclinic_worker import job
from gradclinic_worker.cage import prctl
from gradclinic_worker.process import reports
from gradclinic_worker.settings import WorkerSettings


def main() -> None:
    """Work on the queue of this worker's device until SIGTERM."""
    prctl.die_with_parent(int(sys.stdin.readline()))
    prctl.hide_memory()
    settings = WorkerSettings.from_json(sys.stdin.readline())
    logging.basicConfig(
        level=settings.executor.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    job.prepare(settings)
    sender = reports.ReportSender(settings.executor.report_pipe)
    sender.send(reports.QueueListening())
    sender.close()
    name = f"{settings.worker_id}-{os.getpid()}-{time.time_ns():x}"  # rq refuses the name of one that was killed
    gradclinic_store.queue.work(
        settings.store,
        gradclinic_store.queue.QUEUE_PREFIX + settings.device_kind,
        name,
        drain_seconds=settings.drain_seconds,
    )


if __name__ == "__main__":
    main()
