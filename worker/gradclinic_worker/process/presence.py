"""The worker's sign of life in the fleet: what it is and how it is doing, every two seconds."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from gradclinic_store import Store
from gradclinic_store.errors import StoreError
from gradclinic_store.fleet import REPORT_EVERY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradclinic.v1 import server_pb2
    from gradclinic_store import StoreSettings

FAREWELL_SECONDS = 0.5
"""How long leaving may wait for a store that is away."""

_JOIN_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Presence:
    """A thread that reports this worker until it is closed."""

    def __init__(
        self,
        settings: StoreSettings,
        worker_id: str,
        describe: Callable[[], server_pb2.LiveWorker],
        reached: Callable[[bool], None],
    ) -> None:
        """Connect.

        Args:
            settings: The store.
            worker_id: This worker.
            describe: How it is doing now.
            reached: Called after each report with whether the store answered.

        Raises:
            StoreUnavailable: It does not answer.
        """
        self._store = Store.connect(settings)
        self._store.ping()
        self._worker_id = worker_id
        self._describe = describe
        self._reached = reached
        self._changed = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._report, name="presence", daemon=True)

    def start(self) -> None:
        """Report from now on."""
        self._thread.start()

    def changed(self) -> None:
        """Report at once: something is different now."""
        self._changed.set()

    def close(self) -> None:
        """Leave the fleet."""
        self._ended = True
        self._store.connection.hurry(FAREWELL_SECONDS)
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)
        try:
            self._store.fleet.leave(self._worker_id)
        except StoreError as error:
            _log.info("the fleet was left without a word: %s", error)
        self._store.close()

    def _report(self) -> None:
        while not self._ended:
            try:
                self._store.fleet.report(self._worker_id, self._describe())
                self._reached(True)  # noqa: FBT003 - the one thing it says
            except StoreError as error:  # a full Redis must not end the thread either
                self._reached(False)  # noqa: FBT003 - the one thing it says
                _log.warning("the fleet was not reached: %s", error)
            self._changed.wait(REPORT_EVERY_SECONDS)
            self._changed.clear()
