"""The one function that the queue may call: it runs in a fresh fork per job, and supervises one diagnosis."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
from typing import TYPE_CHECKING

from gradclinic_store import Store, queue
from gradclinic_store.errors import StoreFull, StoreUnavailable
from gradclinic_worker.process import reports
from gradclinic_worker.process.supervisor import Supervisor

if TYPE_CHECKING:
    from gradclinic_worker.settings import WorkerSettings

_log = logging.getLogger(__name__)
_settings: list[WorkerSettings] = []  # of this process; the queue can hand over nothing but a ticket


def prepare(settings: WorkerSettings) -> None:
    """Give this process, and its forks, the settings that `run` needs."""
    _settings[:] = [settings]


def run(ticket: str) -> None:
    """Run the diagnosis whose turn it is to its end, and leave it settled, given back, or to whoever holds it now.

    Raises:
        RuntimeError: `prepare` was not called in this process.
        StoreUnavailable: The store did not answer for too long; the reaper gives the job to another worker.
        StoreFull: The store took nothing for too long; the same.
    """
    if not _settings:
        raise RuntimeError("this process was not prepared for jobs")
    settings = _settings[0]
    sender = reports.ReportSender(settings.executor.report_pipe)
    drain = _drain_signal()
    store = Store(queue.connection_of_job(settings.store))  # not closed: rq goes on with it, and the process ends
    try:
        attempt = store.diagnoses.take(ticket, settings.worker_id)
        if attempt is None:
            _log.info("nothing to do, nothing waits that may start ticket=%s", ticket)
            return
        Supervisor(settings, store, attempt, sender, drain.fileno()).supervise()
        if settings.store.tenant_max_running:  # the tenant may have one more now, whose ticket was shown too early
            store.queue.settle(queue.queue_of(ticket))
    except (StoreUnavailable, StoreFull):
        sender.send(reports.StoreReached(reached=False))
        sender.send(reports.JobSettled("store_lost"))
        raise
    finally:
        sender.close()


def _drain_signal() -> socket.socket:
    """A socket that becomes readable when this process is asked to stop by SIGTERM."""
    readable, writable = socket.socketpair()
    readable.settimeout(0.0)
    writable.settimeout(0.0)

    def note(_signum: int, _frame: object) -> None:
        with contextlib.suppress(BlockingIOError):  # it is full of earlier ones
            writable.send(b"!")

    signal.signal(signal.SIGTERM, note)
    return readable
