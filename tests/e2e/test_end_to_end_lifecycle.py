"""The life of a diagnosis over the wire: retries, watching, listing, cancelling, reuse, deletion."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from gradclinic import AsyncClient, Client, DiagnosisCancelled, NotFound
from gradclinic.submission import prepare
from gradclinic.v1 import diagnosis_pb2, diagnosis_pb2_grpc

if TYPE_CHECKING:
    import grpc

    from real_stack import RealStack

TIMEOUT_SECONDS = 10


class Endless(nn.Module):
    """Runs until it is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rounds = 0
        while rounds >= 0:
            rounds = (rounds + 1) % 1000
        logits: torch.Tensor = self.body(x)
        return logits


def test_a_retry_with_the_same_request_id_is_the_same_diagnosis(
    client: Client, channel: grpc.Channel, mlp: nn.Module, inputs: torch.Tensor
) -> None:
    client.diagnose(mlp, inputs, wait=30)  # the artifacts are there now
    request = prepare(mlp, inputs, {"reuse": False}).request
    stub = diagnosis_pb2_grpc.DiagnosisServiceStub(channel)
    first = stub.CreateDiagnosis(request, timeout=TIMEOUT_SECONDS)
    second = stub.CreateDiagnosis(request, timeout=TIMEOUT_SECONDS)
    request.request_id = str(uuid.uuid4())
    third = stub.CreateDiagnosis(request, timeout=TIMEOUT_SECONDS)
    assert first.id == second.id
    assert first.id != third.id


def test_watch_tells_every_state_and_ends_with_the_diagnosis(
    client: Client, mlp: nn.Module, inputs: torch.Tensor
) -> None:
    events = list(client.submit(mlp, inputs, reuse=False).watch(timeout=30))
    assert ["QUEUED", "RUNNING", "SUCCEEDED"] == list(dict.fromkeys(event.state for event in events))
    revisions = [event.revision for event in events]
    assert sorted(set(revisions)) == revisions
    assert [None] * (len(events) - 1) == [event.diagnosis for event in events[:-1]]
    assert events[-1].diagnosis is not None
    assert "HEALTHY" == events[-1].diagnosis.verdict


def test_watch_goes_on_after_the_last_event_seen(client: Client, mlp: nn.Module, inputs: torch.Tensor) -> None:
    handle = client.submit(mlp, inputs, reuse=False)
    events = list(handle.watch(timeout=30))
    rest = list(client.watch(handle.id, after_revision=events[1].revision, timeout=30))
    assert [event.revision for event in events[2:]] == [event.revision for event in rest]
    assert [] == list(client.watch(handle.id, after_revision=events[-1].revision, timeout=30))


def test_list_filters_and_pages(client: Client, mlp: nn.Module, inputs: torch.Tensor) -> None:
    run = f"run-{uuid.uuid4()}"
    handles = [client.submit(mlp, inputs, reuse=False, run=run, step=step, labels={"fold": "a"}) for step in range(5)]
    for handle in handles:
        handle.result(timeout=30)
    first = client.list(run=run, page_size=3)
    second = client.list(run=run, page_size=3, page_token=first.next_page_token)
    assert [handle.id for handle in reversed(handles)] == [each.id for each in (*first.diagnoses, *second.diagnoses)]
    assert "" == second.next_page_token
    assert 5 == len(client.list(run=run, labels={"fold": "a"}, state="SUCCEEDED", verdict="HEALTHY").diagnoses)
    assert () == tuple(client.list(run=run, labels={"fold": "b"}).diagnoses)


def test_cancel_stops_a_model_that_never_ends(client: Client, mlp: nn.Module, inputs: torch.Tensor) -> None:
    handle = client.submit(torch.jit.script(Endless()), inputs, reuse=False)
    for event in handle.watch(timeout=30):
        if event.stage == "FORWARD":
            break
    handle.cancel()
    with pytest.raises(DiagnosisCancelled):
        handle.result(timeout=2)
    assert "HEALTHY" == client.diagnose(mlp, inputs, reuse=False, wait=10).verdict


def test_an_identical_request_is_answered_from_the_stored_diagnosis(
    client: Client, mlp: nn.Module, inputs: torch.Tensor
) -> None:
    first = client.diagnose(mlp, inputs, seed=4711, wait=30)
    second = client.diagnose(mlp, inputs, seed=4711, wait=30)
    other = client.diagnose(mlp, inputs, seed=4712, wait=30)
    assert (False, True, False) == (first.reused, second.reused, other.reused)
    assert first.id == second.id
    assert first.findings == second.findings


def test_a_deleted_diagnosis_is_gone(client: Client, mlp: nn.Module, inputs: torch.Tensor) -> None:
    handle = client.submit(mlp, inputs, reuse=False)
    handle.result(timeout=30)
    client.delete(handle.id)
    with pytest.raises(NotFound):
        client.get(handle.id)


async def test_the_asynchronous_client_does_the_same(stack: RealStack, mlp: nn.Module, inputs: torch.Tensor) -> None:
    async with AsyncClient(stack.target) as client:
        handle = await client.submit(mlp, inputs, reuse=False)
        diagnosis = await handle.result(timeout=30)
        assert ("HEALTHY", handle.id) == (diagnosis.verdict, diagnosis.id)
        assert diagnosis == await client.get(handle.id)


def test_the_server_says_what_it_can(client: Client) -> None:
    server = client.server_info()
    assert ["cpu"] == [worker.device for worker in server.workers]
    assert "cross_entropy" in server.losses
    assert 2 << 30 == server.limits.max_artifact_bytes


def test_an_unchanged_model_is_not_sent_twice(stack: RealStack, mlp: nn.Module, inputs: torch.Tensor) -> None:
    sent: list[str] = []
    with Client(stack.target, on_upload=lambda name, _sent, _total: sent.append(name)) as client:
        client.diagnose(mlp, inputs, wait=30)
        sent.clear()
        client.diagnose(mlp, inputs, reuse=False, wait=30)
    assert [] == sent


def test_a_basic_view_has_no_flow(client: Client, channel: grpc.Channel, mlp: nn.Module, inputs: torch.Tensor) -> None:
    diagnosis = client.diagnose(mlp, inputs, wait=30)
    request = diagnosis_pb2.GetDiagnosisRequest(id=diagnosis.id, view=diagnosis_pb2.DIAGNOSIS_VIEW_BASIC)
    answer = diagnosis_pb2_grpc.DiagnosisServiceStub(channel).GetDiagnosis(request, timeout=TIMEOUT_SECONDS)
    assert (0, 0) == (len(answer.result.sites), len(answer.result.parameters))
    assert len(diagnosis.sites) > 0
