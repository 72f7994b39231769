"""The worker's own metrics, kept by the main process from what its children report; fleet metrics are the service's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.process_collector import ProcessCollector

import gradclinic
from gradclinic_worker.process import reports

if TYPE_CHECKING:
    import threading
    from wsgiref.simple_server import WSGIServer

STAGE_EDGES_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
RSS_EDGES_BYTES = tuple(2.0**exponent * 2**20 for exponent in range(6, 17))  # 64 MiB to 64 GiB


class WorkerMetrics:
    """What one worker shows under /metrics."""

    def __init__(self) -> None:
        """Make every series, those that are known beforehand at zero."""
        registry = CollectorRegistry()
        self.registry = registry
        ProcessCollector(registry=registry)
        self.spare_executors = Gauge(
            "gradclinic_worker_spare_executors", "Executors that are ready for a job.", registry=registry
        )
        self.executor_exits = Counter(
            "gradclinic_worker_executor_exits",
            "Executors that ended while they had a job, by signal; none: they ended by themselves.",
            ["signal"],
            registry=registry,
        )
        self.jobs = Counter(
            "gradclinic_worker_jobs", "Jobs this worker was done with, by outcome.", ["outcome"], registry=registry
        )
        self.stage_seconds = Histogram(
            "gradclinic_worker_stage_seconds",
            "Wall time of the stages of a job.",
            ["stage"],
            buckets=STAGE_EDGES_SECONDS,
            registry=registry,
        )
        self.peak_rss_bytes = Histogram(
            "gradclinic_worker_executor_peak_rss_bytes",
            "Largest resident set of the executors that had a job.",
            buckets=RSS_EDGES_BYTES,
            registry=registry,
        )
        self.violations = Counter(
            "gradclinic_worker_sandbox_violations",
            "Executors that did what they must not, by the layer that caught them.",
            ["layer"],
            registry=registry,
        )
        self.restarts = Counter(
            "gradclinic_worker_children_restarted",
            "Processes of this worker that died and were started again.",
            ["child"],
            registry=registry,
        )
        self.redis_up = Gauge(
            "gradclinic_worker_redis_up", "1 if Redis answered when this worker last asked.", registry=registry
        )
        build = Gauge("gradclinic_build_info", "Version of gradclinic; always 1.", ["version"], registry=registry)
        build.labels(gradclinic.__version__).set(1)
        for child in ("zygote", "queue"):
            self.restarts.labels(child)

    def note(self, report: reports.Report) -> None:
        """Count what a child has reported."""
        match report:
            case reports.ExecutorCount():
                self.spare_executors.set(report.spare)
            case reports.ExecutorExited():
                self.executor_exits.labels(report.signal).inc()
                self.peak_rss_bytes.observe(report.peak_rss_bytes)
            case reports.JobSettled():
                self.jobs.labels(report.outcome).inc()
            case reports.StagesTimed():
                for stage, seconds in report.seconds.items():
                    self.stage_seconds.labels(stage).observe(seconds)
            case reports.SandboxViolated():
                self.violations.labels(report.layer).inc()
            case reports.StoreReached():
                self.redis_up.set(report.reached)


class MetricsServer:
    """Serves /metrics from a thread of its own until it is closed."""

    def __init__(self, metrics: WorkerMetrics, host: str, port: int) -> None:
        """Listen.

        Raises:
            OSError: The address is taken, or not ours.
        """
        self._server: WSGIServer
        self._thread: threading.Thread
        self._server, self._thread = start_http_server(port, host, registry=metrics.registry)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
