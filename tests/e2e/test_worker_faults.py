"""A real worker whose surroundings fail: Redis goes away, a device is not there, an address is taken."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gradclinic.v1 import diagnosis_pb2
from real_worker import RealWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from real_redis import RedisServer

SUCCEEDED = diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED
FORWARD = diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD


def test_a_result_survives_a_redis_that_is_away_when_the_run_ends(private_redis: Callable[..., RedisServer]) -> None:
    redis = private_redis()
    with RealWorker(redis.url) as worker:
        diagnosis_id = worker.submit("slow")
        worker.await_stage(diagnosis_id, FORWARD)
        redis.stop()
        time.sleep(4.0)  # the run ends meanwhile
        redis.start()
        diagnosis = worker.final(diagnosis_id)
        assert (diagnosis.state, list(diagnosis.result.notes)) == (SUCCEEDED, ["slow"])
        assert worker.final(worker.submit("answer"), 60.0).state == SUCCEEDED


def test_the_clock_runs_on_while_redis_is_stopped(private_redis: Callable[..., RedisServer]) -> None:
    redis = private_redis()
    with RealWorker(redis.url) as worker:
        diagnosis_id = worker.submit("loop", timeout_seconds=2)
        worker.await_stage(diagnosis_id, FORWARD)
        executor = worker.executor()
        os.kill(redis.pid, signal.SIGSTOP)
        try:
            worker.await_true(lambda: not executor.is_running(), 4.0)
        finally:
            os.kill(redis.pid, signal.SIGCONT)
        assert worker.final(diagnosis_id).failure.reason == diagnosis_pb2.FAILURE_REASON_TIMED_OUT


@pytest.mark.parametrize("body", ["", "loop"], ids=["idle", "busy"])
def test_a_worker_stops_promptly_while_redis_is_away(private_redis: Callable[..., RedisServer], body: str) -> None:
    redis = private_redis()
    with RealWorker(redis.url, "--drain", "1") as worker:
        if body:
            worker.await_stage(worker.submit(body), FORWARD)
        redis.stop()
        time.sleep(3.0)  # every connection has noticed
        started = time.monotonic()
        assert worker.stop() == 0
        assert time.monotonic() - started < 8.0
        assert "Traceback" not in worker.log
        redis.start()


def test_a_run_ends_while_redis_is_full_and_the_worker_goes_on_after_it(
    private_redis: Callable[..., RedisServer],
) -> None:
    redis = private_redis()
    with RealWorker(redis.url, "--lease", "2") as worker:
        running, waiting = worker.submit("slow"), worker.submit("answer")
        worker.await_stage(running, FORWARD)
        client = worker.store.connection.client
        client.config_set("maxmemory", 1)
        worker.await_true(lambda: worker.store.diagnoses.get(running).state == SUCCEEDED, 10.0)
        assert worker.store.diagnoses.get(running).attempt == 1
        time.sleep(7.0)  # longer than a sign of life of the worker is good for
        client.config_set("maxmemory", 0)
        assert worker.final(waiting, 60.0).state == SUCCEEDED
        worker.await_true(lambda: len(worker.store.fleet.live()) == 1, 10.0)


def test_a_worker_waits_for_a_redis_that_starts_later(private_redis: Callable[..., RedisServer]) -> None:
    redis = private_redis()
    redis.stop()
    later = threading.Timer(5.0, redis.start)
    later.start()
    with RealWorker(redis.url) as worker:
        later.join()
        assert worker.final(worker.submit("answer")).state == SUCCEEDED


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--device", "cuda:7", "--metrics-listen", "off"], "Error: no executor can be made ready: cuda:7: "),
        (["--metrics-listen", "{taken}"], "Give each worker on a machine its own --metrics-listen"),
    ],
)
def test_a_worker_that_cannot_start_says_why(redis_url: str, options: list[str], words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        arguments = [option.format(taken=address) for option in options]
        command = [str(Path(sys.executable).parent / "gradclinic"), "work", "--redis", redis_url, *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, words in ended.stderr) == (3, True), ended.stderr
    assert "Traceback" not in ended.stderr


def test_metrics_tell_what_happened(redis_url: str) -> None:
    with RealWorker(redis_url, "--metrics-listen", "127.0.0.1:0") as worker:
        for body in ("answer", "segfault", "oversize"):
            worker.final(worker.submit(body))
        port = re.search(r"metrics are served host=127.0.0.1 port=(\d+)", worker.log)
        assert port

        def scraped() -> dict[tuple[str, str], float]:
            with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/metrics", timeout=5) as response:
                families = text_string_to_metric_families(response.read().decode())
                return {
                    (sample.name, next(iter(sample.labels.values()), "")): sample.value
                    for family in families
                    for sample in family.samples
                }

        peaks = ("gradclinic_worker_executor_peak_rss_bytes_count", "")
        worker.await_true(lambda: scraped()[peaks] == 3.0, 5.0)
        worker.zygote().kill()
        worker.final(worker.submit("answer"))
        worker.await_true(lambda: scraped()[peaks] == 4.0, 5.0)
        worker.await_true(lambda: scraped().get(("gradclinic_worker_jobs_total", "succeeded")) == 2.0, 5.0)
        worker.await_true(lambda: scraped()["gradclinic_worker_spare_executors", ""] == 1.0, 5.0)
        seen = scraped()
    expected = {
        ("gradclinic_build_info", "0.1.0"): 1.0,
        ("gradclinic_worker_children_restarted_total", "queue"): 0.0,
        ("gradclinic_worker_children_restarted_total", "zygote"): 1.0,
        ("gradclinic_worker_executor_exits_total", "SIGSEGV"): 1.0,
        ("gradclinic_worker_executor_peak_rss_bytes_count", ""): 4.0,
        ("gradclinic_worker_jobs_total", "failed"): 2.0,
        ("gradclinic_worker_jobs_total", "succeeded"): 2.0,
        ("gradclinic_worker_redis_up", ""): 1.0,
        ("gradclinic_worker_sandbox_violations_total", "pipe"): 1.0,
        ("gradclinic_worker_stage_seconds_count", "forward"): 2.0,
        ("gradclinic_worker_stage_seconds_count", "store"): 2.0,
    }
    assert {key: seen.get(key) for key in expected} == expected
