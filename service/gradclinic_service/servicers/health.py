"""grpc.health.v1: whether this server should get calls; its watches end when the server drains."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from grpc_health.v1 import health

from gradclinic_service.errors import Draining

if TYPE_CHECKING:
    from grpc_health.v1 import health_pb2

    from gradclinic_service.boundary import Context
    from gradclinic_service.drain import Drain

LAST_WORD_SECONDS = 0.1  # for NOT_SERVING to be sent before the stream ends


class HealthServicer(health.aio.HealthServicer):  # type: ignore[misc]  # grpc_health ships no types
    """The stock servicer, whose watches would otherwise last as long as the grace of a stop."""

    def __init__(self, drain: Drain) -> None:
        super().__init__()
        self._drain = drain

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:  # noqa: N802, gRPC's name
        """Tells the state and every change of it, until the server drains.

        Raises:
            Draining: the server drains; the last state told is NOT_SERVING.
        """
        watching = asyncio.ensure_future(super().Watch(request, context))
        begun = asyncio.ensure_future(self._drain.wait())
        try:
            await asyncio.wait((watching, begun), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((watching,), timeout=LAST_WORD_SECONDS)
        finally:
            begun.cancel()
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
        raise Draining("this server is going away; ask another one")
