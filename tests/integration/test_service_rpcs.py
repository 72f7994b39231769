"""Every RPC of the contract, answered by a real server on a real Redis."""

from __future__ import annotations

import asyncio
import uuid

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from google.rpc.error_details_pb2 import ErrorInfo, QuotaFailure, RetryInfo

from api_under_test import LOSS, TENSORS, Api, detail, fields, reason, running_api, sha256
from gradclinic import __version__
from gradclinic.v1 import artifact_pb2, diagnosis_pb2, finding_pb2, server_pb2

QUEUED = diagnosis_pb2.DIAGNOSIS_STATE_QUEUED
RUNNING = diagnosis_pb2.DIAGNOSIS_STATE_RUNNING
SUCCEEDED = diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED
CANCELLED = diagnosis_pb2.DIAGNOSIS_STATE_CANCELLED


def result() -> diagnosis_pb2.DiagnosisResult:
    finding = finding_pb2.Finding(code="dead-relu", severity=finding_pb2.SEVERITY_CRITICAL)
    whole = diagnosis_pb2.DiagnosisResult(verdict=finding_pb2.VERDICT_CRITICAL, findings=[finding])
    whole.sites.add(index=0, dtype="float32")
    whole.parameters.add(name="0.weight")
    return whole


def succeed(api: Api, diagnosis_id: str) -> None:
    """What a worker would do."""
    attempt = api.store.diagnoses.start(diagnosis_id, "worker-1")
    assert attempt is not None
    assert attempt.progress(diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD, 0.5)
    assert attempt.succeed(result())


async def test_server_info_tells_limits_workers_and_what_is_accepted(redis_url: str) -> None:
    async with running_api(redis_url, store={"max_queued": 7}) as api:
        api.store.fleet.report("a", server_pb2.LiveWorker(device="cpu", state="idle", sandbox_level="process"))
        api.store.fleet.report("b", server_pb2.LiveWorker(device="cuda:0", state="busy", sandbox_level="none"))
        told = await api.info.GetServerInfo(server_pb2.GetServerInfoRequest(), timeout=5)
    assert __version__ == told.version
    assert ["cpu", "cuda:0"] == [worker.device for worker in told.workers]
    assert "none" == told.sandbox_level
    assert (7, 1 << 20, 300) == (
        told.limits.max_queued,
        told.limits.max_chunk_bytes,
        told.limits.max_run_time.seconds,
    )
    assert "cross_entropy" in told.losses
    assert [artifact_pb2.ARTIFACT_FORMAT_TORCHSCRIPT] == list(told.model_formats)
    assert [1, 2, 3] == list(told.depths)


async def test_a_created_diagnosis_is_queued_and_can_be_read(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        created = await api.create(run="bert", step=3, labels={"team": "a"})
        assert QUEUED == created.state
        assert diagnosis_pb2.DEPTH_STANDARD == created.spec.depth
        assert "random_projection" == created.spec.loss.WhichOneof("kind")
        read = await api.diagnoses.GetDiagnosis(diagnosis_pb2.GetDiagnosisRequest(id=created.id), timeout=5)
        assert created == read
        assert 1 == api.store.queue.depth("gradclinic:cpu")


async def test_the_same_request_id_gives_the_same_diagnosis(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        first = await api.create()
        request = diagnosis_pb2.CreateDiagnosisRequest(spec=first.spec, request_id=first.request_id)
        again = await asyncio.gather(*(api.diagnoses.CreateDiagnosis(request, timeout=10) for _ in range(100)))
        assert {first.id} == {diagnosis.id for diagnosis in again}
        assert 1 == api.store.counters.read().submitted

        request.spec.run = "another"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await api.diagnoses.CreateDiagnosis(request, timeout=5)
        assert grpc.StatusCode.INVALID_ARGUMENT == caught.value.code()
        assert "REQUEST_ID_REUSED" == reason(caught.value)
        assert ["request_id"] == fields(caught.value)


async def test_a_request_without_an_id_is_a_new_one_each_time(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        first = await api.create()
        request = diagnosis_pb2.CreateDiagnosisRequest(spec=first.spec)
        second = await api.diagnoses.CreateDiagnosis(request, timeout=5)
        third = await api.diagnoses.CreateDiagnosis(request, timeout=5)
        assert 3 == len({first.id, second.id, third.id})


async def test_an_identical_request_may_be_answered_from_the_store(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        first = await api.create()
        succeed(api, first.id)
        request = diagnosis_pb2.CreateDiagnosisRequest(spec=first.spec, request_id=str(uuid.uuid4()), allow_reuse=True)
        second = await api.diagnoses.CreateDiagnosis(request, timeout=5)
        assert (first.id, True) == (second.id, second.reused)
        assert result().findings == second.result.findings


async def test_wrong_fields_are_all_named(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        spec = diagnosis_pb2.DiagnosisSpec(model_sha256="x", device="tpu", labels={"k": "v" * 200})
        request = diagnosis_pb2.CreateDiagnosisRequest(spec=spec, request_id="no")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await api.diagnoses.CreateDiagnosis(request, timeout=5)
        assert grpc.StatusCode.INVALID_ARGUMENT == caught.value.code()
        assert ["request_id", "spec.model_sha256", "spec.inputs_sha256", "spec.device", "spec.labels['k']"] == fields(
            caught.value
        )


async def test_the_largest_error_still_arrives(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        labels = {f"{number}" + "ü" * 200: "€" * 200 for number in range(32)}
        options = Struct()
        options.update({"€" * 300 + str(number): 1 for number in range(200)})
        loss = diagnosis_pb2.LossSpec(functional=diagnosis_pb2.FunctionalLoss(name="mse_loss", options=options))
        spec = diagnosis_pb2.DiagnosisSpec(labels=labels, run="€" * 5000, device="€" * 5000, loss=loss)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await api.diagnoses.CreateDiagnosis(diagnosis_pb2.CreateDiagnosisRequest(spec=spec), timeout=5)
        assert grpc.StatusCode.INVALID_ARGUMENT == caught.value.code()
        assert "spec.model_sha256" in fields(caught.value)


@pytest.mark.parametrize("missing", ["model_sha256", "inputs_sha256", "target_sha256"])
async def test_a_missing_artifact_is_named(redis_url: str, missing: str) -> None:
    async with running_api(redis_url) as api:
        spec = (await api.create()).spec
        spec.loss.functional.name = "mse_loss"
        spec.target_sha256 = spec.inputs_sha256
        setattr(spec, missing, sha256(b"never uploaded"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await api.diagnoses.CreateDiagnosis(diagnosis_pb2.CreateDiagnosisRequest(spec=spec), timeout=5)
        assert grpc.StatusCode.FAILED_PRECONDITION == caught.value.code()
        told = detail(caught.value, ErrorInfo)
        assert "ARTIFACT_NOT_FOUND" == told.reason
        assert {"sha256": sha256(b"never uploaded"), "field": f"spec.{missing}"} == dict(told.metadata)


async def test_an_artifact_of_the_wrong_kind_is_named(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        spec = (await api.create()).spec
        spec.loss.module_sha256 = (await api.upload(b"loss", LOSS)).sha256
        spec.target_sha256 = (await api.upload(b"target", TENSORS)).sha256
        request = diagnosis_pb2.CreateDiagnosisRequest(spec=spec)
        await api.diagnoses.CreateDiagnosis(request, timeout=5)
        request.spec.model_sha256, request.spec.inputs_sha256 = spec.inputs_sha256, spec.model_sha256
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await api.diagnoses.CreateDiagnosis(request, timeout=5)
        assert ["spec.model_sha256", "spec.inputs_sha256"] == fields(caught.value)
        assert "names an artifact of kind ARTIFACT_KIND_TENSORS" in (caught.value.details() or "")


async def test_a_full_queue_says_when_to_try_again(redis_url: str) -> None:
    async with running_api(redis_url, store={"max_queued": 1}) as api:
        await api.create()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await api.create()
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == caught.value.code()
        assert "QUEUE_FULL" == reason(caught.value)
        assert 0 < detail(caught.value, RetryInfo).retry_delay.seconds
        assert "max_queued" == detail(caught.value, QuotaFailure).violations[0].subject


async def test_views(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        created = await api.create()
        succeed(api, created.id)
        full = await api.diagnoses.GetDiagnosis(diagnosis_pb2.GetDiagnosisRequest(id=created.id), timeout=5)
        assert SUCCEEDED == full.state
        assert result() == full.result
        basic = await api.diagnoses.GetDiagnosis(
            diagnosis_pb2.GetDiagnosisRequest(id=created.id, view=diagnosis_pb2.DIAGNOSIS_VIEW_BASIC), timeout=5
        )
        assert ([], []) == (list(basic.result.sites), list(basic.result.parameters))
        assert "dead-relu" == basic.result.findings[0].code


@pytest.mark.parametrize("method", ["GetDiagnosis", "CancelDiagnosis", "DeleteDiagnosis"])
async def test_an_unknown_id_is_not_found(redis_url: str, method: str) -> None:
    async with running_api(redis_url) as api:
        request = getattr(diagnosis_pb2, f"{method}Request")(id="unknown")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(api.diagnoses, method)(request, timeout=5)
        assert grpc.StatusCode.NOT_FOUND == caught.value.code()
        assert "DIAGNOSIS_NOT_FOUND" == reason(caught.value)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(api.diagnoses, method)(type(request)(), timeout=5)
        assert ["id"] == fields(caught.value)


async def test_pages_hold_everything_once_newest_first(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        made = [(await api.create(run="r", step=step)).id for step in range(7)]
        await api.create(run="other")
        seen: list[str] = []
        token = ""
        sizes = []
        wanted = diagnosis_pb2.DiagnosisFilter(run="r")
        while True:
            request = diagnosis_pb2.ListDiagnosesRequest(page_size=3, page_token=token, filter=wanted)
            page = await api.diagnoses.ListDiagnoses(request, timeout=5)
            sizes.append(len(page.diagnoses))
            seen += [diagnosis.id for diagnosis in page.diagnoses]
            token = page.next_page_token
            if not token:
                break
        assert made[::-1] == seen
        assert [3, 3, 1] == sizes


async def test_filters(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        first = await api.create(labels={"team": "a", "gpu": "no"})
        await api.create(labels={"team": "b"})
        succeed(api, first.id)
        for wanted in (
            diagnosis_pb2.DiagnosisFilter(labels={"team": "a"}),
            diagnosis_pb2.DiagnosisFilter(state=SUCCEEDED),
            diagnosis_pb2.DiagnosisFilter(verdict=finding_pb2.VERDICT_CRITICAL),
        ):
            page = await api.diagnoses.ListDiagnoses(diagnosis_pb2.ListDiagnosesRequest(filter=wanted), timeout=5)
            assert [first.id] == [diagnosis.id for diagnosis in page.diagnoses]


async def test_a_strange_page_token_is_a_wrong_field(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await api.diagnoses.ListDiagnoses(diagnosis_pb2.ListDiagnosesRequest(page_token="£"), timeout=5)
        assert grpc.StatusCode.INVALID_ARGUMENT == caught.value.code()
        assert "BAD_PAGE_TOKEN" == reason(caught.value)
        assert ["page_token"] == fields(caught.value)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await api.diagnoses.ListDiagnoses(diagnosis_pb2.ListDiagnosesRequest(page_size=-1), timeout=5)
        assert ["page_size"] == fields(caught.value)


async def test_cancel_and_delete(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        created = await api.create()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await api.diagnoses.DeleteDiagnosis(diagnosis_pb2.DeleteDiagnosisRequest(id=created.id), timeout=5)
        assert grpc.StatusCode.FAILED_PRECONDITION == caught.value.code()
        assert "DIAGNOSIS_NOT_FINISHED" == reason(caught.value)
        for _ in range(2):
            cancelled = await api.diagnoses.CancelDiagnosis(
                diagnosis_pb2.CancelDiagnosisRequest(id=created.id), timeout=5
            )
            assert CANCELLED == cancelled.state
        await api.diagnoses.DeleteDiagnosis(diagnosis_pb2.DeleteDiagnosisRequest(id=created.id), timeout=5)
        with pytest.raises(grpc.aio.AioRpcError):
            await api.diagnoses.GetDiagnosis(diagnosis_pb2.GetDiagnosisRequest(id=created.id), timeout=5)
        assert 0 == api.store.queue.depth("gradclinic:cpu")


async def test_watch_tells_every_change_and_ends_with_the_whole_diagnosis(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        created = await api.create()
        watch = api.diagnoses.WatchDiagnosis(diagnosis_pb2.WatchDiagnosisRequest(id=created.id), timeout=20)
        first = await anext(aiter(watch))
        assert QUEUED == first.state
        await asyncio.to_thread(succeed, api, created.id)
        rest = [event async for event in watch]
        assert [RUNNING, RUNNING, SUCCEEDED] == [event.state for event in rest]
        assert 0.5 == rest[1].progress
        assert result() == rest[-1].diagnosis.result
        assert sorted({event.revision for event in rest}) == [event.revision for event in rest]

        resumed = api.diagnoses.WatchDiagnosis(
            diagnosis_pb2.WatchDiagnosisRequest(id=created.id, after_revision=rest[0].revision), timeout=20
        )
        assert rest[1:] == [event async for event in resumed]


async def test_watch_of_an_unknown_id_is_not_found(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(aiter(api.diagnoses.WatchDiagnosis(diagnosis_pb2.WatchDiagnosisRequest(id="no"), timeout=5)))
        assert grpc.StatusCode.NOT_FOUND == caught.value.code()


async def test_two_hundred_watchers_do_not_hinder_other_calls(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        created = await api.create()
        request = diagnosis_pb2.WatchDiagnosisRequest(id=created.id)
        watches = [api.diagnoses.WatchDiagnosis(request, timeout=60) for _ in range(200)]
        firsts = await asyncio.gather(*(anext(aiter(watch)) for watch in watches))
        assert {QUEUED} == {event.state for event in firsts}
        read = diagnosis_pb2.GetDiagnosisRequest(id=created.id)
        assert QUEUED == (await api.diagnoses.GetDiagnosis(read, timeout=5)).state
        await asyncio.to_thread(succeed, api, created.id)

        async def last(
            watch: grpc.aio.UnaryStreamCall[diagnosis_pb2.WatchDiagnosisRequest, diagnosis_pb2.DiagnosisEvent],
        ) -> diagnosis_pb2.DiagnosisState.ValueType:
            return [event async for event in watch][-1].state

        assert {SUCCEEDED} == set(await asyncio.gather(*map(last, watches)))
