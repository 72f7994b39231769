"""Brings back what was lost: calls the store's reaper every few seconds, in every replica."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gradclinic_store.errors import StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from gradclinic_service.boundary import ErrorObserver
    from gradclinic_service.threads import StoreThreads
    from gradclinic_store import Store

logger = logging.getLogger(__name__)


async def reap_forever(store: Store, threads: StoreThreads, interval_seconds: float, observer: ErrorObserver) -> None:
    """Reaps until it is cancelled. Safe beside other replicas; that Redis is away or full is told once."""
    reachable = True
    while True:
        try:
            reaped = await threads.run(store.reap)
        except (StoreUnavailable, StoreFull) as error:
            observer.known_error(error)
            if reachable:
                logger.warning("cannot look for lost jobs now error=%s", error)
            reachable = False
        except Exception:  # a defect here must not end the recovery of lost jobs
            logger.exception("reaping failed unexpectedly")
            observer.unknown_error("reap")
        else:
            if not reachable:
                logger.info("can look for lost jobs again")
            reachable = True
            if reaped:
                logger.warning("brought back or gave up lost diagnoses count=%d ids=%s", len(reaped), ",".join(reaped))
        await asyncio.sleep(interval_seconds)
