"""The API process: starts everything, waits for a signal, drains, stops everything."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

from prometheus_client import start_http_server

from gradclinic.addresses import Address
from gradclinic_service.errors import AddressTaken
from gradclinic_service.metrics.fleet import FleetCollector
from gradclinic_service.metrics.process import ProcessMetrics
from gradclinic_service.reaper import reap_forever
from gradclinic_service.server import ApiServer
from gradclinic_store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from typing import Any

    from gradclinic_service.settings import ServiceSettings

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def serve_until_stopped(settings: ServiceSettings, on_ready: Callable[[Address], None]) -> None:
    """Serves until SIGTERM or SIGINT, then drains; a second signal ends the process at once.

    Raises:
        AddressTaken: the API or its metrics cannot listen where they should.
    """
    stop = _first_signal()
    store = Store.connect(settings.store)
    try:
        metrics = ProcessMetrics()
        metrics.registry.register(FleetCollector(store, metrics.redis_errors))
        server = ApiServer(store, settings, metrics)
        with _metrics_served(settings.metrics_listen, metrics):
            async with store.events.connected():
                address = await server.start()
                reaping = reap_forever(store, server.threads, settings.reap_interval_seconds, metrics)
                async with _background(reaping):
                    on_ready(address)
                    await stop.wait()
                    await _drain(server, settings)
                await server.stop(settings.drain_grace_seconds)
    finally:
        store.close()


async def _drain(server: ApiServer, settings: ServiceSettings) -> None:
    logger.info(
        "draining delay_seconds=%g grace_seconds=%g", settings.drain_delay_seconds, settings.drain_grace_seconds
    )
    await server.begin_drain()
    await asyncio.sleep(settings.drain_delay_seconds)


def _first_signal() -> asyncio.Event:
    """Set by the first signal, which also gives the signals their usual meaning back."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
        stop.set()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal)
    return stop


@asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@contextmanager
def _metrics_served(address: Address | None, metrics: ProcessMetrics) -> Iterator[None]:
    if address is None:
        yield
        return
    try:
        http_server, thread = start_http_server(address.port, address.host, metrics.registry)
    except OSError as error:
        raise AddressTaken(f"cannot serve metrics on {address}: {error.strerror or error}") from error
    logger.info("metrics listening address=%s", Address(address.host, http_server.server_port))
    try:
        yield
    finally:
        http_server.shutdown()
        http_server.server_close()
        thread.join()
