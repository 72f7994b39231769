"""The real process: `gradclinic serve` started, asked, signalled and stopped."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from api_under_test import MIB, TENSORS, chunk, declaration, reason, sha256, stream_of
from gradclinic.v1 import (
    artifact_pb2,
    artifact_pb2_grpc,
    diagnosis_pb2,
    diagnosis_pb2_grpc,
    finding_pb2,
    server_pb2,
)
from gradclinic_store import Store
from gradclinic_store.settings import StoreSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from real_redis import RedisServer

SERVE = (sys.executable, "-c", "from gradclinic_service.command import serve; serve()")
READY = re.compile(r"gradclinic API listening on (127\.0\.0\.1:[0-9]+)\n")
METRICS = re.compile(r"metrics listening address=(\S+)")


@dataclass(slots=True)
class Process:
    """A running `gradclinic serve`."""

    popen: subprocess.Popen[str]
    address: str
    metrics_url: str
    log: list[str]

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Signals it and waits; answers with its exit status and what else it printed."""
        self.popen.send_signal(number)
        assert self.popen.stdout is not None
        rest = self.popen.stdout.read()
        return self.popen.wait(timeout=20), rest

    def scrape(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every sample of `/metrics`."""
        with urllib.request.urlopen(self.metrics_url, timeout=10) as answer:
            text = answer.read().decode()
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@contextmanager
def serving(redis_url: str, *arguments: str) -> Iterator[Process]:
    """Starts the command on free ports, and makes sure that it is gone in the end."""
    flags = ("--listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0", f"--redis={redis_url}", "--drain-delay=0.2")
    popen = subprocess.Popen(
        [*SERVE, *flags, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    assert popen.stdout is not None
    assert popen.stderr is not None
    log: list[str] = []
    reader = threading.Thread(target=log.extend, args=(popen.stderr,))
    try:
        first = popen.stderr.readline()
        log.append(first)
        reader.start()
        ready = READY.fullmatch(popen.stdout.readline())
        where = METRICS.search(first)
        assert ready is not None, log
        assert where is not None, log
        yield Process(popen, ready[1], f"http://{where[1]}/metrics", log)
    finally:
        popen.kill()
        popen.wait()
        if reader.is_alive():
            reader.join()
        popen.stdout.close()
        popen.stderr.close()


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("GRADCLINIC_")}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return subprocess.run(
        [*SERVE, *arguments], capture_output=True, text=True, env=environment(), timeout=30, check=False
    )


def created(channel: grpc.Channel, run: str = "") -> diagnosis_pb2.Diagnosis:
    artifacts = artifact_pb2_grpc.ArtifactServiceStub(channel)
    artifacts.UploadArtifact(stream_of(b"model"), timeout=10)
    artifacts.UploadArtifact(stream_of(b"inputs", TENSORS), timeout=10)
    whole = diagnosis_pb2.DiagnosisSpec(model_sha256=sha256(b"model"), inputs_sha256=sha256(b"inputs"), run=run)
    request = diagnosis_pb2.CreateDiagnosisRequest(spec=whole)
    return diagnosis_pb2_grpc.DiagnosisServiceStub(channel).CreateDiagnosis(request, timeout=10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(redis_url: str, number: int) -> None:
    with serving(redis_url) as process:
        with grpc.insecure_channel(process.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            assert health_pb2.HealthCheckResponse.SERVING == health.Check(health_pb2.HealthCheckRequest()).status
        assert (0, "") == process.stop(number)
        assert [] == [line for line in process.log if "ERROR" in line or "Traceback" in line]


def test_it_never_imports_torch() -> None:
    code = "import sys, gradclinic_service.command; sys.exit('torch' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode


def test_a_large_upload_takes_little_memory(redis_url: str) -> None:
    size_bytes = 192 * MIB
    piece = os.urandom(MIB)
    digest = hashlib.sha256()
    for _ in range(size_bytes // MIB):
        digest.update(piece)

    def messages() -> Iterator[artifact_pb2.UploadArtifactRequest]:
        yield declaration(b"", size_bytes=size_bytes, sha256=digest.hexdigest())
        for offset in range(0, size_bytes, MIB):
            yield chunk(piece, offset)

    with serving(redis_url) as process, grpc.insecure_channel(process.address) as channel:
        stub = artifact_pb2_grpc.ArtifactServiceStub(channel)
        stub.UploadArtifact(stream_of(b"warm"), timeout=10)
        before_bytes = process.scrape()["process_resident_memory_bytes", ()]
        assert size_bytes == stub.UploadArtifact(messages(), timeout=60).size_bytes
        status = Path(f"/proc/{process.popen.pid}/status").read_text()
        peak_kib = re.search(r"VmHWM:\s+([0-9]+) kB", status)
        assert peak_kib is not None
        assert int(peak_kib[1]) * 1024 - before_bytes < 64 * MIB


def test_a_drain_tells_health_ends_watches_and_lets_calls_finish(redis_url: str) -> None:
    with serving(redis_url, "--drain-delay=1.5") as process, grpc.insecure_channel(process.address) as channel:
        diagnosis = created(channel)
        stub = diagnosis_pb2_grpc.DiagnosisServiceStub(channel)
        watch = stub.WatchDiagnosis(diagnosis_pb2.WatchDiagnosisRequest(id=diagnosis.id), timeout=30)
        next(watch)
        slow = threading.Event()

        def slowly() -> Iterator[artifact_pb2.UploadArtifactRequest]:
            messages = stream_of(b"slow upload")
            yield next(messages)
            slow.wait(10)
            yield from messages

        upload = artifact_pb2_grpc.ArtifactServiceStub(channel).UploadArtifact.future(slowly(), timeout=30)
        begun = time.monotonic()
        process.popen.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as caught:
            next(watch)
        assert grpc.StatusCode.UNAVAILABLE == caught.value.code()
        assert time.monotonic() - begun < 1.0
        health = health_pb2_grpc.HealthStub(channel)
        assert health_pb2.HealthCheckResponse.NOT_SERVING == health.Check(health_pb2.HealthCheckRequest()).status
        time.sleep(1.6)
        slow.set()
        assert sha256(b"slow upload") == upload.result().sha256
        assert 0 == process.popen.wait(timeout=10)


def test_calls_that_outlast_the_grace_are_cut_off(redis_url: str) -> None:
    with serving(redis_url, "--drain-grace=0.3") as process, grpc.insecure_channel(process.address) as channel:
        never = threading.Event()

        def stuck() -> Iterator[artifact_pb2.UploadArtifactRequest]:
            yield next(stream_of(b"stuck"))
            never.wait(10)

        upload = artifact_pb2_grpc.ArtifactServiceStub(channel).UploadArtifact.future(stuck(), timeout=30)
        created(channel)
        begun = time.monotonic()
        assert (0, "") == process.stop()
        assert time.monotonic() - begun < 5.0
        with pytest.raises(grpc.RpcError):
            upload.result(timeout=5)
        never.set()


def test_a_second_signal_ends_it_at_once(redis_url: str) -> None:
    with serving(redis_url, "--drain-delay=30") as process:
        process.popen.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 10
        while not any("draining" in line for line in process.log) and time.monotonic() < deadline:
            time.sleep(0.02)
        status, _ = process.stop()
        assert -signal.SIGTERM == status


def test_two_on_one_port_is_a_clear_error(redis_url: str) -> None:
    with serving(redis_url) as process:
        second = run("--listen", process.address, "--metrics-listen=off")
        assert (1, "") == (second.returncode, second.stdout)
        assert f"cannot listen on {process.address}: another server does" in second.stderr
        assert "Traceback" not in second.stderr
        metrics_address = process.metrics_url.removeprefix("http://").removesuffix("/metrics")
        third = run("--listen=127.0.0.1:0", f"--metrics-listen={metrics_address}")
        assert (1, "") == (third.returncode, third.stdout)
        assert f"cannot serve metrics on {metrics_address}" in third.stderr
        assert "Traceback" not in third.stderr


def test_a_wrong_setting_is_a_clear_error() -> None:
    wrong = run("--redis", "postgres://localhost")
    assert 2 == wrong.returncode
    assert "redis_url must start with redis://" in wrong.stderr


def test_it_starts_and_answers_without_redis() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with serving(f"redis://127.0.0.1:{port}/0") as process, grpc.insecure_channel(process.address) as channel:
            stub = diagnosis_pb2_grpc.DiagnosisServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                stub.GetDiagnosis(diagnosis_pb2.GetDiagnosisRequest(id="x"), timeout=20)
            assert grpc.StatusCode.UNAVAILABLE == caught.value.code()
            assert isinstance(caught.value, grpc.Call)
            assert "STORE_UNAVAILABLE" == reason(caught.value)
            assert 0.0 == process.scrape()["gradclinic_redis_up", ()]
            assert 0 == process.stop()[0]


FAMILIES = {
    *("grpc_server_started_total", "grpc_server_handled_total", "grpc_server_handling_seconds_bucket"),
    *("grpc_server_msg_received_total", "grpc_server_msg_sent_total"),
    *("gradclinic_diagnoses_submitted_total", "gradclinic_diagnoses_completed_total"),
    *("gradclinic_diagnoses_deduplicated_total", "gradclinic_diagnoses_in_flight"),
    *("gradclinic_queue_depth", "gradclinic_queue_oldest_age_seconds"),
    *("gradclinic_queue_wait_seconds_bucket", "gradclinic_run_seconds_bucket", "gradclinic_stage_seconds_bucket"),
    *("gradclinic_attempts_total", "gradclinic_lost_total", "gradclinic_findings_total"),
    *("gradclinic_workers", "gradclinic_spare_executors", "gradclinic_stored_bytes"),
    *("gradclinic_upload_bytes_total", "gradclinic_redis_up", "gradclinic_redis_errors_total"),
    *("gradclinic_redis_memory_bytes", "gradclinic_redis_memory_limit_bytes"),
    *("gradclinic_unexpected_errors_total", "gradclinic_build_info"),
    *("process_resident_memory_bytes", "process_open_fds", "python_gc_collections_total"),
}


def test_metrics_tell_of_the_whole_fleet(redis_url: str) -> None:
    with (
        serving(redis_url) as process,
        grpc.insecure_channel(process.address) as channel,
        Store.connect(StoreSettings(redis_url=redis_url)) as store,
    ):
        first, second = created(channel, run="a"), created(channel, run="b")
        created(channel, run="c")
        store.fleet.report("w", server_pb2.LiveWorker(device="cuda:0", state="busy", spare_executors=2))
        attempt = store.diagnoses.start(first.id, "w")
        assert attempt is not None
        result = diagnosis_pb2.DiagnosisResult(verdict=finding_pb2.VERDICT_WARNING)
        result.findings.add(code="dead-relu", severity=finding_pb2.SEVERITY_WARNING)
        timing = result.environment.timings.add(stage=diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD)
        timing.duration.FromMilliseconds(300)
        assert attempt.succeed(result)
        store.diagnoses.cancel(second.id)

        samples = process.scrape()
        assert set() == FAMILIES - {name for name, _ in samples}
        expected = {
            ("gradclinic_diagnoses_submitted_total", ()): 3,
            ("gradclinic_diagnoses_completed_total", (("outcome", "succeeded"),)): 1,
            ("gradclinic_diagnoses_completed_total", (("outcome", "cancelled"),)): 1,
            ("gradclinic_diagnoses_completed_total", (("outcome", "failed"),)): 0,
            ("gradclinic_diagnoses_in_flight", ()): 1,
            ("gradclinic_queue_depth", (("queue", "gradclinic:cpu"),)): 1,
            ("gradclinic_attempts_total", ()): 1,
            ("gradclinic_findings_total", (("code", "dead-relu"), ("severity", "warning"))): 1,
            ("gradclinic_stage_seconds_bucket", (("le", "0.25"), ("stage", "forward"))): 0,
            ("gradclinic_stage_seconds_bucket", (("le", "0.5"), ("stage", "forward"))): 1,
            ("gradclinic_stage_seconds_bucket", (("le", "+Inf"), ("stage", "forward"))): 1,
            ("gradclinic_stage_seconds_sum", (("stage", "forward"),)): 0.3,
            ("gradclinic_queue_wait_seconds_count", ()): 1,
            ("gradclinic_run_seconds_count", ()): 1,
            ("gradclinic_workers", (("device", "cuda:0"), ("state", "busy"))): 1,
            ("gradclinic_workers", (("device", "cuda:0"), ("state", "idle"))): 0,
            ("gradclinic_spare_executors", (("device", "cuda:0"),)): 2,
            ("gradclinic_stored_bytes", ()): len(b"model") + len(b"inputs"),
            ("gradclinic_redis_up", ()): 1,
        }
        assert expected == {key: samples.get(key) for key in expected}
        completed = sum(v for (name, _), v in samples.items() if name == "gradclinic_diagnoses_completed_total")
        in_flight = samples["gradclinic_diagnoses_in_flight", ()]
        assert samples["gradclinic_diagnoses_submitted_total", ()] == completed + in_flight
        assert samples["gradclinic_queue_oldest_age_seconds", (("queue", "gradclinic:cpu"),)] > 0


def test_a_scrape_without_redis_still_answers(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    with serving(server.url) as process:
        assert 1 == process.scrape()["gradclinic_redis_up", ()]
        server.stop()
        assert 0 == process.scrape()["gradclinic_redis_up", ()]
        samples = process.scrape()
        assert 1 <= samples["gradclinic_redis_errors_total", ()]
        assert ("gradclinic_queue_depth", (("queue", "gradclinic:cpu"),)) not in samples
        server.start()
        assert 1 == process.scrape()["gradclinic_redis_up", ()]
