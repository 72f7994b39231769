"""Limits as callers meet them: which one, whose, when to come back; and a client that comes back by itself."""

from __future__ import annotations

import asyncio
import threading
import uuid
from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, QuotaFailure, RetryInfo

from api_under_test import Api, declaration, detail, eventually, metric, reason, refused, running_api, stream_of, tokens
from gradclinic import AsyncClient
from gradclinic.errors import InvalidRequest, LimitExceeded
from gradclinic.v1 import diagnosis_pb2, server_pb2
from gradclinic_service.answers import ANSWERS_AT_ONCE
from gradclinic_store.diagnoses import Diagnoses

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

RED, BLUE = "red", "blue"


async def test_a_refusal_says_which_limit_whose_and_when_to_come_back(redis_url: str, tmp_path: Path) -> None:
    store = {"max_queued": 2, "tenant_max_queued": 1}
    as_ = tokens(tmp_path / "tokens", RED, BLUE)
    async with running_api(redis_url, store=store, token_file=tmp_path / "tokens") as api:
        await api.create(metadata=as_[RED])
        error = await refused(api.create(metadata=as_[RED]))
        assert "QUEUE_FULL" == reason(error)
        assert {"limit": "tenant_max_queued", "limit_value": "1", "scope": "tenant"} == dict(
            detail(error, ErrorInfo).metadata
        )
        assert 5 == detail(error, RetryInfo).retry_delay.seconds
        assert "tenant_max_queued" == detail(error, QuotaFailure).violations[0].subject
        await api.create(metadata=as_[BLUE])
        assert "all" == detail(await refused(api.create(metadata=as_[BLUE])), ErrorInfo).metadata["scope"]
        for limit, scope in (("tenant_max_queued", "tenant"), ("max_queued", "all")):
            assert 1 == metric(api.metrics, "gradclinic_refused_total", limit=limit, scope=scope)


async def test_submissions_that_come_too_fast_are_refused(redis_url: str) -> None:
    store = {"tenant_submissions_per_second": 0.5, "submission_burst_seconds": 2.0}
    async with running_api(redis_url, store=store) as api:
        await api.create()
        error = await refused(api.create())
        assert "TOO_MANY_SUBMISSIONS" == reason(error)
        assert {"limit": "tenant_submissions_per_second", "limit_value": "0.5", "scope": "tenant"} == dict(
            detail(error, ErrorInfo).metadata
        )
        assert 0 < detail(error, RetryInfo).retry_delay.ToMilliseconds() <= 2000


async def test_uploads_at_once_are_limited_per_tenant(redis_url: str, tmp_path: Path) -> None:
    as_ = tokens(tmp_path / "tokens", RED, BLUE)
    async with running_api(
        redis_url, token_file=tmp_path / "tokens", max_concurrent_uploads=3, tenant_max_concurrent_uploads=1
    ) as api:
        begun, release = asyncio.Event(), asyncio.Event()

        async def slowly() -> Any:
            yield declaration(b"slow")
            begun.set()
            await release.wait()
            for message in list(stream_of(b"slow"))[1:]:
                yield message

        slow = api.artifacts.UploadArtifact(slowly(), timeout=30, metadata=as_[RED])
        sending = asyncio.ensure_future(slow)
        await begun.wait()
        error = await refused(_until_refused(api, as_[RED]))
        assert "TOO_MANY_UPLOADS" == reason(error)
        assert {"limit": "tenant_max_concurrent_uploads", "limit_value": "1", "scope": "tenant"} == dict(
            detail(error, ErrorInfo).metadata
        )
        await api.artifacts.UploadArtifact(stream_of(b"other"), timeout=10, metadata=as_[BLUE])
        release.set()
        await sending
        await api.artifacts.UploadArtifact(stream_of(b"next"), timeout=10, metadata=as_[RED])


async def _until_refused(api: Api, metadata: Any) -> None:
    """Uploads again and again: the first upload's declaration may not have arrived yet."""
    for number in range(100):
        await api.artifacts.UploadArtifact(stream_of(b"%d" % number), timeout=10, metadata=metadata)
        await asyncio.sleep(0.02)


async def test_the_server_tells_the_callers_limits_and_what_it_takes_of_them(redis_url: str, tmp_path: Path) -> None:
    as_ = tokens(tmp_path / "tokens", RED, BLUE)
    store = {"tenant_max_queued": 7, "tenant_max_running": 3, "tenant_submissions_per_second": 2.5}
    async with running_api(redis_url, store=store, token_file=tmp_path / "tokens") as api:
        await api.create(metadata=as_[RED])
        told = {
            tenant: await api.info.GetServerInfo(server_pb2.GetServerInfoRequest(), metadata=as_[tenant])
            for tenant in as_
        }
        assert [(RED, "submit"), (BLUE, "submit")] == [(t.caller.tenant, t.caller.role) for t in told.values()]
        limits = told[RED].limits
        assert (7, 3, 2.5, 500.0) == (
            limits.tenant_max_queued,
            limits.tenant_max_running,
            limits.tenant_submissions_per_second,
            limits.submissions_per_second,
        )
        assert limits.max_stored_bytes == limits.tenant_max_stored_bytes
        assert (1, len(b"modelinputs")) == (told[RED].usage.queued, told[RED].usage.stored_bytes)
        assert (0, 0) == (told[BLUE].usage.queued, told[BLUE].usage.stored_bytes)


async def test_a_client_comes_back_when_the_limit_says_so(redis_url: str) -> None:
    store = {"tenant_submissions_per_second": 4.0, "submission_burst_seconds": 0.25}
    async with running_api(redis_url, store=store) as api, AsyncClient(str(api.address)) as client:
        for seed in range(4):
            await client.submit(b"model", [[1.0]], seed=seed)
        assert 0 < metric(
            api.metrics, "gradclinic_refused_total", limit="tenant_submissions_per_second", scope="tenant"
        )
        assert 4 == api.store.counters.read().submitted


async def test_a_client_gives_up_at_its_deadline_and_tells_the_limit(redis_url: str) -> None:
    async with (
        running_api(redis_url, store={"max_queued": 1}) as api,
        AsyncClient(str(api.address), timeout=3) as client,
    ):
        await client.submit(b"model", [[1.0]], seed=0)
        with pytest.raises(LimitExceeded) as caught:
            await client.submit(b"model", [[1.0]], seed=1)
        assert ("max_queued", "1", "all") == tuple(
            caught.value.metadata[name] for name in ("limit", "limit_value", "scope")
        )
        assert 5.0 == caught.value.retry_after_seconds


async def test_a_client_gets_in_when_room_is_made_in_time(redis_url: str) -> None:
    async with running_api(redis_url, store={"max_queued": 1}) as api, AsyncClient(str(api.address)) as client:
        first = await client.submit(b"model", [[1.0]], seed=0)
        timer = threading.Timer(1.0, api.store.diagnoses.cancel, (first.id,))
        timer.start()
        second = await client.submit(b"model", [[1.0]], seed=1)
        timer.join()
        assert first.id != second.id


async def test_a_device_that_no_worker_has_is_refused_at_once_unless_it_may_be_waited_for(redis_url: str) -> None:
    async with running_api(redis_url) as api, AsyncClient(str(api.address)) as client:
        api.store.fleet.report("w", server_pb2.LiveWorker(device="cpu", state="idle"))
        with pytest.raises(InvalidRequest) as caught:
            await client.submit(b"model", [[1.0]], device="cuda")
        assert ("FAILED_PRECONDITION", "DEVICE_UNAVAILABLE") == (caught.value.code, caught.value.reason)
        assert {"device": "cuda", "live_devices": "cpu"} == caught.value.metadata
        assert ["spec.device"] == [violation.field for violation in caught.value.violations]
        waiting = await client.submit(b"model", [[1.0]], device="cuda", wait_for_device=True)
        assert "QUEUED" == (await client.get(waiting.id)).state
        await client.submit(b"model", [[1.0]], device="cpu")
        api.store.fleet.report("g", server_pb2.LiveWorker(device="cuda:1", state="idle"))
        await client.submit(b"model", [[1.0]], device="cuda", reuse=False)


async def test_a_repeated_request_is_answered_though_its_device_is_gone(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        api.store.fleet.report("g", server_pb2.LiveWorker(device="cuda:0", state="idle"))
        created = await api.create(device="cuda")
        api.store.fleet.leave("g")
        request = diagnosis_pb2.CreateDiagnosisRequest(spec=created.spec, request_id=created.request_id)
        assert created == await api.diagnoses.CreateDiagnosis(request, timeout=10)
        request.request_id = str(uuid.uuid4())
        error = await refused(api.diagnoses.CreateDiagnosis(request, timeout=10), grpc.StatusCode.FAILED_PRECONDITION)
        assert "DEVICE_UNAVAILABLE" == reason(error)


async def test_large_answers_wait_for_room_of_their_tenant_only(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_ = tokens(tmp_path / "tokens", RED, BLUE)
    async with running_api(redis_url, token_file=tmp_path / "tokens") as api:
        ids = {tenant: (await api.create(metadata=as_[tenant])).id for tenant in as_}
        under_way: list[str] = []
        release = threading.Event()
        page = Diagnoses.page

        def slow_page(self: Diagnoses, *arguments: Any) -> Any:
            under_way.append(self.tenant)
            release.wait(20)
            return page(self, *arguments)

        monkeypatch.setattr(Diagnoses, "page", slow_page)
        lists = [
            asyncio.ensure_future(
                api.diagnoses.ListDiagnoses(diagnosis_pb2.ListDiagnosesRequest(), timeout=30, metadata=as_[RED])
            )
            for _ in range(ANSWERS_AT_ONCE * 2)
        ]
        try:
            await eventually(lambda: len(under_way) == ANSWERS_AT_ONCE // 2)
            get = diagnosis_pb2.GetDiagnosisRequest(id=ids[BLUE])
            await api.diagnoses.GetDiagnosis(get, timeout=10, metadata=as_[BLUE])
            assert [RED] * (ANSWERS_AT_ONCE // 2) == under_way
        finally:
            release.set()
        assert {1} == {len(answer.diagnoses) for answer in await asyncio.gather(*lists)}
