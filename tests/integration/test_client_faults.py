"""The client against a real gRPC server that breaks on purpose."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

import gradclinic
from faulty_server import MEBIBYTE, Server, abort
from gradclinic.errors import (
    BadCall,
    ClientForked,
    DeadlineExceeded,
    DiagnosisFailed,
    InvalidRequest,
    LimitExceeded,
    ResultNotReady,
    ServerDefect,
    ServiceUnavailable,
)
from gradclinic.v1 import artifact_pb2_grpc, diagnosis_pb2, diagnosis_pb2_grpc, server_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class Running:
    """A server and where it listens."""

    servicer: Server
    target: str


@pytest.fixture
def running() -> Iterator[Running]:
    servicer = Server()  # type: ignore[abstract]  # what is missing answers UNIMPLEMENTED
    server = grpc.server(ThreadPoolExecutor(8))
    artifact_pb2_grpc.add_ArtifactServiceServicer_to_server(servicer, server)
    diagnosis_pb2_grpc.add_DiagnosisServiceServicer_to_server(servicer, server)
    server_pb2_grpc.add_ServerServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield Running(servicer, f"localhost:{port}")
    servicer.hold_final.set()
    server.stop(None).wait()


def unavailable(context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNAVAILABLE, "not now")


INPUTS = [[1.0, 2.0]]


def test_what_the_service_has_is_not_sent_again(running: Running) -> None:
    with gradclinic.Client(running.target) as client:
        client.submit(b"model", INPUTS)
        client.submit(b"model", INPUTS)
    assert [(0, 1), (0, 1)] == running.servicer.declarations
    assert 2 == len(running.servicer.created)


def test_a_broken_upload_goes_on_where_it_was(running: Running) -> None:
    content = os.urandom(5 * MEBIBYTE + 17)
    running.servicer.faults.break_upload_after_bytes = [2 * MEBIBYTE, 3 * MEBIBYTE]
    seen: list[tuple[str, int, int]] = []
    with gradclinic.Client(running.target, on_upload=lambda *call: seen.append(call)) as client:
        client.submit(content, INPUTS)
    assert [(0, 2), (2 * MEBIBYTE, 1), (3 * MEBIBYTE, 3)] == running.servicer.declarations[:3]
    assert content == running.servicer.artifacts[hashlib.sha256(content).hexdigest()]
    assert ("model", len(content), len(content)) in seen


async def test_a_broken_upload_goes_on_where_it_was_asynchronously(running: Running, tmp_path: Path) -> None:
    content = os.urandom(2 * MEBIBYTE + 17)
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    running.servicer.faults.break_upload_after_bytes = [MEBIBYTE]
    async with gradclinic.AsyncClient(running.target) as client:
        await client.submit(path, INPUTS)
    assert [(0, 1), (MEBIBYTE, 2)] == running.servicer.declarations[:2]


def test_a_create_whose_answer_was_lost_is_repeated_with_its_request_id(running: Running) -> None:
    running.servicer.faults.create = [unavailable, unavailable]
    with gradclinic.Client(running.target) as client:
        handle = client.submit(b"model", INPUTS)
    assert "d1" == handle.id
    assert 1 == len(running.servicer.created)


def test_an_artifact_that_expired_before_the_create_is_sent_again_each_time(running: Running) -> None:
    digest = hashlib.sha256(b"model").hexdigest()

    def expire(context: grpc.ServicerContext) -> None:
        del running.servicer.artifacts[digest]
        cause = error_details_pb2.ErrorInfo(reason="ARTIFACT_NOT_FOUND", metadata={"sha256": digest})
        abort(context, grpc.StatusCode.FAILED_PRECONDITION, "upload it", cause)

    running.servicer.faults.create = [expire, expire]
    with gradclinic.Client(running.target) as client:
        client.submit(b"model", INPUTS)
    assert b"model" == running.servicer.artifacts[digest]


def test_retry_info_is_honoured(running: Running) -> None:
    def overloaded(context: grpc.ServicerContext) -> None:
        delay = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=60))
        abort(context, grpc.StatusCode.UNAVAILABLE, "busy", delay)

    running.servicer.faults.get_artifact = [overloaded]
    with gradclinic.Client(running.target) as client, pytest.raises(ServiceUnavailable) as caught:
        client.submit(b"model", INPUTS)
    assert 60.0 == caught.value.retry_after_seconds


def queue_full(context: grpc.ServicerContext) -> None:
    cause = error_details_pb2.ErrorInfo(reason="QUEUE_FULL", metadata={"limit": "max_queued"})
    delay = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=2))
    abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "1000 are waiting", cause, delay)


def test_a_limit_that_outlasts_the_deadline_says_which(running: Running) -> None:
    running.servicer.faults.create = [queue_full]
    with gradclinic.Client(running.target, timeout=1.5) as client, pytest.raises(LimitExceeded) as caught:
        client.submit(b"model", INPUTS)
    assert ("QUEUE_FULL", {"limit": "max_queued"}, 2.0) == (
        caught.value.reason,
        caught.value.metadata,
        caught.value.retry_after_seconds,
    )


def test_a_limit_that_says_when_is_waited_for(running: Running) -> None:
    running.servicer.faults.create = [queue_full]
    began = time.monotonic()
    with gradclinic.Client(running.target) as client:
        client.submit(b"model", INPUTS)
    assert time.monotonic() - began >= 2.0


def test_a_limit_that_does_not_say_when_is_told_at_once(running: Running) -> None:
    def too_large(context: grpc.ServicerContext) -> None:
        abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls at once")

    running.servicer.faults.create = [too_large]
    with gradclinic.Client(running.target) as client, pytest.raises(LimitExceeded):
        client.submit(b"model", INPUTS)


def test_field_violations_are_named(running: Running) -> None:
    def refuse(context: grpc.ServicerContext) -> None:
        violation = error_details_pb2.BadRequest.FieldViolation(field="spec.loss", description="no such loss")
        abort(
            context,
            grpc.StatusCode.INVALID_ARGUMENT,
            "bad request",
            error_details_pb2.BadRequest(field_violations=[violation]),
        )

    running.servicer.faults.create = [refuse]
    with gradclinic.Client(running.target) as client, pytest.raises(InvalidRequest) as caught:
        client.submit(b"model", INPUTS)
    assert "bad request\n  spec.loss: no such loss" == str(caught.value)


def test_a_call_that_is_not_known_is_the_servers_defect(running: Running) -> None:
    with gradclinic.Client(running.target) as client, pytest.raises(ServerDefect):
        client.list()


def test_a_broken_watch_goes_on_after_the_last_event(running: Running) -> None:
    running.servicer.faults.break_watch_after_events = [1]
    with gradclinic.Client(running.target) as client:
        events = list(client.watch("d1"))
    assert [1, 2, 3] == [event.revision for event in events]
    assert [0, 1] == running.servicer.watched_after
    assert events[-1].diagnosis is not None
    assert "HEALTHY" == events[-1].diagnosis.verdict


async def test_an_asynchronous_result_survives_a_broken_watch(running: Running) -> None:
    running.servicer.faults.break_watch_after_events = [1, 1]
    async with gradclinic.AsyncClient(running.target) as client:
        diagnosis = await client.diagnose(b"model", INPUTS)
    assert "HEALTHY" == diagnosis.verdict


def test_waiting_ends_and_the_diagnosis_goes_on(running: Running) -> None:
    running.servicer.hold_final.clear()
    with gradclinic.Client(running.target) as client:
        handle = client.submit(b"model", INPUTS)
        with pytest.raises(ResultNotReady, match=r"still RUNNING after 0\.3 s"):
            handle.result(timeout=0.3)
        running.servicer.hold_final.set()
        assert "HEALTHY" == handle.result(timeout=10).verdict


async def test_waiting_ends_asynchronously(running: Running) -> None:
    running.servicer.hold_final.clear()
    async with gradclinic.AsyncClient(running.target) as client:
        handle = await client.submit(b"model", INPUTS)
        with pytest.raises(ResultNotReady):
            await handle.result(timeout=0.3)


def test_a_failed_diagnosis_raises_with_its_reason(running: Running) -> None:
    running.servicer.final = diagnosis_pb2.Diagnosis(
        id="d1",
        state=diagnosis_pb2.DIAGNOSIS_STATE_FAILED,
        failure=diagnosis_pb2.Failure(
            reason=diagnosis_pb2.FAILURE_REASON_FORWARD_ERROR, message="shapes differ", trace="at line 3"
        ),
    )
    with gradclinic.Client(running.target) as client, pytest.raises(DiagnosisFailed) as caught:
        client.diagnose(b"model", INPUTS)
    assert ("FORWARD_ERROR", "shapes differ", "at line 3") == (
        caught.value.reason,
        caught.value.message,
        caught.value.trace,
    )


def test_an_unreachable_service_is_said_so_soon() -> None:
    with gradclinic.Client("localhost:1") as client, pytest.raises(ServiceUnavailable, match="localhost:1"):
        client.server_info()


def test_a_call_ends_at_its_deadline(running: Running) -> None:
    gate = threading.Event()
    running.servicer.faults.get_artifact = [lambda _: (gate.wait(5), None)[1]]
    with gradclinic.Client(running.target, timeout=0.3) as client, pytest.raises(DeadlineExceeded):
        client.submit(b"model", INPUTS)
    gate.set()


def test_a_file_that_vanishes_is_not_sent(running: Running, tmp_path: Path) -> None:
    with gradclinic.Client(running.target) as client, pytest.raises(BadCall, match="No such file"):
        client.submit(tmp_path / "model.pt", INPUTS)
    assert [] == running.servicer.declarations


def _use(client: gradclinic.Client, answer: multiprocessing.SimpleQueue[str]) -> None:
    logging.disable()
    try:
        client.server_info()
    except ClientForked as error:
        answer.put(str(error))


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_told_so(running: Running) -> None:
    context = multiprocessing.get_context("fork")
    answer = context.SimpleQueue()
    with gradclinic.Client(running.target) as client:
        assert "9" == client.server_info().version
        child = context.Process(target=_use, args=(client, answer))
        child.start()
        child.join(20)
        assert 0 == child.exitcode
        assert "forked" in answer.get()
        assert "9" == client.server_info().version
