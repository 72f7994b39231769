"""What all replicas and workers share, read from Redis at scrape time: nothing of it is counted in this process."""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from gradclinic_store.counters import EDGES_SECONDS
from gradclinic_store.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import Counter
    from prometheus_client.metrics_core import Metric

    from gradclinic.v1.server_pb2 import LiveWorker
    from gradclinic_store import Store
    from gradclinic_store.counters import Histogram, Totals
    from gradclinic_store.memory import Memory

WORKER_STATES = ("idle", "busy", "draining")


class FleetCollector(Collector):
    """One look at the store per scrape; a scrape while Redis is away still answers."""

    def __init__(self, store: Store, redis_errors: Counter) -> None:
        self._store = store
        self._redis_errors = redis_errors

    def collect(self) -> Iterable[Metric]:
        """All families, or just `gradclinic_redis_up` 0."""
        try:
            # Read everything before the first family, so that an outage cannot leave half an answer.
            families = [
                *_of_totals(self._store.counters.read()),
                *self._of_queues(),
                *_of_workers(self._store.fleet.live()),
                *_of_memory(self._store.memory()),
            ]
        except StoreUnavailable:
            self._redis_errors.inc()
            return [_redis_up(0)]
        return [_redis_up(1), *families]

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering asks Redis nothing."""
        return ()

    def _of_queues(self) -> Iterator[Metric]:
        queue = self._store.queue
        depth = GaugeMetricFamily("gradclinic_queue_depth", "Jobs that wait.", labels=["queue"])
        age = GaugeMetricFamily(
            "gradclinic_queue_oldest_age_seconds", "Age of the job that waits longest; 0 for none.", labels=["queue"]
        )
        for name in queue.names():
            depth.add_metric([name], queue.depth(name))
            age.add_metric([name], queue.oldest_age_seconds(name))
        yield depth
        yield age


def _redis_up(value: int) -> Metric:
    return GaugeMetricFamily("gradclinic_redis_up", "1 if Redis answered this scrape.", value=value)


def _of_totals(totals: Totals) -> Iterator[Metric]:
    for name, text, value in (
        ("diagnoses_submitted", "Diagnoses accepted.", totals.submitted),
        ("diagnoses_deduplicated", "Requests answered with a diagnosis that was there already.", totals.deduplicated),
        ("attempts", "Starts of diagnoses by workers.", totals.attempts),
        ("lost", "Attempts whose worker went silent.", totals.lost),
    ):
        yield CounterMetricFamily(f"gradclinic_{name}", text, value=value)
    for name, text, value in (
        ("diagnoses_in_flight", "Diagnoses that are queued or run.", totals.in_flight),
        ("stored_bytes", "Bytes of stored artifacts, uploads under way at their declared size.", totals.stored_bytes),
    ):
        yield GaugeMetricFamily(f"gradclinic_{name}", text, value=value)
    completed = CounterMetricFamily("gradclinic_diagnoses_completed", "Diagnoses ended.", labels=["outcome"])
    for outcome, count in sorted(totals.completed.items()):
        completed.add_metric([outcome], count)
    yield completed
    findings = CounterMetricFamily("gradclinic_findings", "Findings reported.", labels=["code", "severity"])
    for (code, severity), count in sorted(totals.findings.items()):
        findings.add_metric([code, severity], count)
    yield findings
    yield from _histograms(totals)


def _histograms(totals: Totals) -> Iterator[Metric]:
    wait = HistogramMetricFamily("gradclinic_queue_wait_seconds", "From acceptance to the start of an attempt.")
    run = HistogramMetricFamily("gradclinic_run_seconds", "From the start of an attempt to its end.")
    stage = HistogramMetricFamily("gradclinic_stage_seconds", "Time in each stage of a diagnosis.", labels=["stage"])
    _add(wait, [], totals.queue_wait)
    _add(run, [], totals.run)
    for name, histogram in sorted(totals.stages.items()):
        _add(stage, [name], histogram)
    yield from (wait, run, stage)


def _add(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    cumulative: list[tuple[str, float]] = []
    below = 0
    edges = [*map(str, EDGES_SECONDS), "+Inf"]
    for edge, count in zip(edges, histogram.buckets, strict=True):
        below += count
        cumulative.append((edge, below))
    family.add_metric(labels, cumulative, histogram.sum_seconds)


def _of_workers(workers: list[LiveWorker]) -> Iterator[Metric]:
    states = Tally((worker.state, worker.device) for worker in workers)
    spares: Tally[str] = Tally()
    for worker in workers:
        spares[worker.device] += worker.spare_executors
    # Zeroes too, so that a device's last busy worker does not leave a gap behind.
    count = GaugeMetricFamily("gradclinic_workers", "Live workers.", labels=["state", "device"])
    for device in sorted({"cpu", *spares}):
        for state in WORKER_STATES:
            count.add_metric([state, device], states[state, device])
    spare = GaugeMetricFamily("gradclinic_spare_executors", "Executors that are ready for a job.", labels=["device"])
    for device in sorted({"cpu", *spares}):
        spare.add_metric([device], spares[device])
    yield count
    yield spare


def _of_memory(memory: Memory) -> Iterator[Metric]:
    yield GaugeMetricFamily("gradclinic_redis_memory_bytes", "Memory that Redis uses.", value=memory.used_bytes)
    yield GaugeMetricFamily(
        "gradclinic_redis_memory_limit_bytes", "Memory that Redis may use; 0: no limit.", value=memory.limit_bytes
    )
