"""What this process counts itself: calls, upload bytes, errors."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from gradclinic import __version__
from gradclinic_service.errors import TooManyCalls
from gradclinic_store.errors import LimitReached, StoreUnavailable

_METHOD = ("grpc_type", "grpc_service", "grpc_method")
# Edges at what callers notice: a read in 10 ms, an answer in 100 ms, an upload or a watch in minutes.
HANDLING_EDGES_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class ProcessMetrics:
    """The counters of one API process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.started = Counter("grpc_server_started", "Calls begun.", _METHOD, registry=registry)
        self.handled = Counter("grpc_server_handled", "Calls ended.", (*_METHOD, "grpc_code"), registry=registry)
        self.received = Counter("grpc_server_msg_received", "Messages received.", _METHOD, registry=registry)
        self.sent = Counter("grpc_server_msg_sent", "Messages sent.", _METHOD, registry=registry)
        self.handling_seconds = Histogram(
            "grpc_server_handling_seconds",
            "Time from the start of a call to its end.",
            _METHOD,
            buckets=HANDLING_EDGES_SECONDS,
            registry=registry,
        )
        self.upload_bytes = Counter(
            "gradclinic_upload_bytes", "Bytes of artifacts received, resumed or not.", registry=registry
        )
        self.redis_errors = Counter(
            "gradclinic_redis_errors", "Calls and background runs that failed for want of Redis.", registry=registry
        )
        self.refused = Counter(
            "gradclinic_refused", "Calls that a limit refused, and whose limit.", ("limit", "scope"), registry=registry
        )
        self.token_file_errors = Counter(
            "gradclinic_token_file_errors",
            "Changes of the token file that could not be read; the old tokens stayed in force.",
            registry=registry,
        )
        self.defects = Counter(
            "gradclinic_unexpected_errors", "Errors that nothing here expects; each is logged.", registry=registry
        )
        build = Gauge("gradclinic_build_info", "Always 1; the version is a label.", ("version",), registry=registry)
        build.labels(__version__).set(1)

    def known_error(self, error: Exception) -> None:
        """Counts what ended a call, where it was Redis or a limit."""
        if isinstance(error, StoreUnavailable):
            self.redis_errors.inc()
        elif isinstance(error, LimitReached):
            self.refused.labels(error.limit, error.scope).inc()
        elif isinstance(error, TooManyCalls):
            self.refused.labels(error.metadata["limit"], error.metadata["scope"]).inc()

    def unknown_error(self, method: str) -> None:  # noqa: ARG002, the log names the method, a label need not
        """Counts a defect."""
        self.defects.inc()
