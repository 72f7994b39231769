"""Places: each class of call has its own, a tenant or a peer its share of them; a call without a request ends."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc

from api_under_test import Api, detail, metric, reason, refused, running_api, tokens
from gradclinic.v1 import diagnosis_pb2, server_pb2
from gradclinic_service import places, single_requests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SERVICE = "/gradclinic.v1.DiagnosisService/"
SERVING = health_pb2.HealthCheckResponse.SERVING
RED, BLUE = "red", "blue"


def errors_of_the_server(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What gRPC or the service logged; asyncio's own errors may be those of the closed loops of earlier tests."""
    logged = [record for record in caplog.records if record.levelname == "ERROR"]
    return [record.getMessage() for record in logged if record.name.startswith(("grpc", "gradclinic"))]


def silent(api: Api, method: str, metadata: Any = ()) -> Any:
    """A call that sends no request."""
    return api.channel.stream_unary(SERVICE + method)(timeout=30, metadata=metadata)


@asynccontextmanager
async def health_watches(api: Api, count: int) -> AsyncIterator[list[Any]]:
    """So many health watches that were answered, each without a token."""
    stub = health_pb2_grpc.HealthStub(api.channel)
    async with AsyncExitStack() as stack:
        watches = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=60) for _ in range(count)]
        for watch in watches:
            stack.callback(watch.cancel)
            assert SERVING == (await watch.read()).status
        yield watches


async def check(api: Api) -> int:
    stub = health_pb2_grpc.HealthStub(api.channel)
    status: int = (await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)).status
    return status


async def test_health_watches_without_a_token_take_nobody_elses_places(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "MAX_HEALTH_WATCHES", 40)
    as_ = tokens(tmp_path / "tokens", RED, BLUE)
    async with running_api(redis_url, token_file=tmp_path / "tokens", max_concurrent_rpcs=8) as api:
        async with health_watches(api, 20):
            stub = health_pb2_grpc.HealthStub(api.channel)
            error = await refused(stub.Watch(health_pb2.HealthCheckRequest(), timeout=10).read())
            assert ("TOO_MANY_CALLS", "peer") == (reason(error), detail(error, ErrorInfo).metadata["scope"])
            assert SERVING == await check(api)
            await api.info.GetServerInfo(server_pb2.GetServerInfoRequest(), timeout=10, metadata=as_[RED])
        async with asyncio.timeout(10):
            while True:  # places are given back when the server has heard that the watches are over
                try:
                    async with health_watches(api, 1):
                        break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.02)


async def test_watches_of_a_tenant_leave_places_for_others_and_for_calls(redis_url: str, tmp_path: Path) -> None:
    as_ = tokens(tmp_path / "tokens", RED, BLUE)
    limits: dict[str, Any] = {"max_concurrent_watches": 3, "tenant_max_concurrent_watches": 2, "max_concurrent_rpcs": 4}
    async with running_api(redis_url, token_file=tmp_path / "tokens", **limits) as api:
        ids = {tenant: (await api.create(metadata=as_[tenant])).id for tenant in as_}

        async def watch(tenant: str) -> Any:
            request = diagnosis_pb2.WatchDiagnosisRequest(id=ids[tenant])
            call = api.diagnoses.WatchDiagnosis(request, timeout=60, metadata=as_[tenant])
            assert isinstance(await call.read(), diagnosis_pb2.DiagnosisEvent)
            return call

        held = [await watch(RED), await watch(RED)]
        error = await refused(watch(RED))
        assert {"limit": "tenant_max_concurrent_watches", "limit_value": "2", "scope": "tenant"} == dict(
            detail(error, ErrorInfo).metadata
        )
        assert 1 == detail(error, RetryInfo).retry_delay.seconds
        held.append(await watch(BLUE))
        assert "all" == detail(await refused(watch(BLUE)), ErrorInfo).metadata["scope"]
        for limit, scope in (("tenant_max_concurrent_watches", "tenant"), ("max_concurrent_watches", "all")):
            assert 1 == metric(api.metrics, "gradclinic_refused_total", limit=limit, scope=scope)
        for tenant, diagnosis_id in ids.items():
            get = diagnosis_pb2.GetDiagnosisRequest(id=diagnosis_id)
            await api.diagnoses.GetDiagnosis(get, timeout=10, metadata=as_[tenant])
        for call in held:
            call.cancel()


async def test_who_has_no_token_is_refused_before_a_message_is_read(redis_url: str, tmp_path: Path) -> None:
    tokens(tmp_path / "tokens", RED, BLUE)
    async with running_api(redis_url, token_file=tmp_path / "tokens") as api:
        for method in ("GetDiagnosis", "WatchDiagnosis"):
            error = await refused(silent(api, method), grpc.StatusCode.UNAUTHENTICATED)
            assert "NOT_AUTHENTICATED" == reason(error)


async def test_calls_that_send_nothing_end_and_hold_places_of_their_tenant_only(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_requests, "REQUEST_SECONDS", 1.0)
    as_ = tokens(tmp_path / "tokens", RED, BLUE)
    limits: dict[str, Any] = {"max_concurrent_rpcs": 4, "tenant_max_concurrent_rpcs": 2}
    async with running_api(redis_url, token_file=tmp_path / "tokens", **limits) as api:
        held = [silent(api, "GetDiagnosis", as_[RED]) for _ in range(2)]
        for _ in range(3):
            await api.info.GetServerInfo(server_pb2.GetServerInfoRequest(), timeout=10, metadata=as_[BLUE])
        for call in held:
            assert "REQUEST_MISSING" == reason(await refused(call, grpc.StatusCode.INVALID_ARGUMENT))
        await api.info.GetServerInfo(server_pb2.GetServerInfoRequest(), timeout=10, metadata=as_[RED])


async def test_a_call_that_ends_without_a_request_is_refused(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        call: Any = api.channel.stream_unary(SERVICE + "GetDiagnosis")(iter(()), timeout=10)
        assert "REQUEST_MISSING" == reason(await refused(call, grpc.StatusCode.INVALID_ARGUMENT))


@pytest.mark.parametrize(
    "method",
    [
        "/gradclinic.v1.DiagnosisService/GetDiagnosis",
        "/gradclinic.v1.DiagnosisService/WatchDiagnosis",
        "/gradclinic.v1.DiagnosisService/CreateDiagnosis",
        "/gradclinic.v1.ArtifactService/UploadArtifact",
        "/gradclinic.v1.ServerService/GetServerInfo",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
@pytest.mark.parametrize("message", [b"\x0a\xff", b"\xff" * 16, b"\x12\x04abc"])
async def test_a_malformed_message_is_an_invalid_argument(
    redis_url: str, method: str, message: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_api(redis_url) as api:
        call: Any = api.channel.unary_unary(method)
        error = await refused(call(message, timeout=10), grpc.StatusCode.INVALID_ARGUMENT)
        assert reason(error) in {"REQUEST_MALFORMED", "INVALID_REQUEST"}
    assert [] == errors_of_the_server(caplog)


async def test_calls_that_are_cancelled_at_once_leave_no_error_in_the_log(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_api(redis_url) as api:
        created = await api.create()
        for number in range(200):
            get = api.diagnoses.GetDiagnosis(diagnosis_pb2.GetDiagnosisRequest(id=created.id), timeout=10)
            calls = [get, silent(api, "GetDiagnosis")]
            await asyncio.sleep(0.001 * (number % 5))
            for call in calls:
                call.cancel()
        assert SERVING == await check(api)
    assert [] == errors_of_the_server(caplog)
