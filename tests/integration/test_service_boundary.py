"""The edges of the API: defects, outages, overload, health, reflection, and what is counted of it all."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from api_under_test import detail, eventually, metric, reason, running_api, stream_of
from gradclinic.v1 import diagnosis_pb2, server_pb2
from gradclinic_service.reaper import reap_forever
from gradclinic_store.events import Events

if TYPE_CHECKING:
    from collections.abc import Callable

    from real_redis import RedisServer

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = ("gradclinic.v1.ServerService", "gradclinic.v1.ArtifactService", "gradclinic.v1.DiagnosisService")


def handled(service: str, method: str, code: str, kind: str = "unary") -> dict[str, str]:
    return {"grpc_type": kind, "grpc_service": service, "grpc_method": method, "grpc_code": code}


async def test_a_defect_is_logged_counted_and_told_without_detail(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise KeyError("secret")

    async with running_api(redis_url) as api:
        monkeypatch.setattr(api.store.fleet, "live", broken)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await api.info.GetServerInfo(server_pb2.GetServerInfoRequest(), timeout=5)
        assert grpc.StatusCode.INTERNAL == caught.value.code()
        assert "secret" not in str(caught.value)
        told = detail(caught.value, ErrorInfo)
        assert "INTERNAL" == told.reason
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert told.metadata["incident"] in record.getMessage()
        assert record.exc_info is not None
        assert KeyError is record.exc_info[0]
        assert 1 == metric(api.metrics, "gradclinic_unexpected_errors_total")
        labels = handled("gradclinic.v1.ServerService", "GetServerInfo", "INTERNAL")
        # The call is counted when its handler is over, which may be after the caller has its answer.
        await eventually(lambda: 1 == metric(api.metrics, "grpc_server_handled_total", **labels))


async def test_a_defect_in_a_stream_is_told_the_same_way(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_api(redis_url) as api:

        async def broken(_: Events, diagnosis_id: str, after_revision: int, __: object) -> object:
            yield diagnosis_pb2.DiagnosisEvent(revision=after_revision + 1)
            raise RuntimeError(f"secret of {diagnosis_id}")

        monkeypatch.setattr(Events, "follow", broken)
        watch = api.diagnoses.WatchDiagnosis(diagnosis_pb2.WatchDiagnosisRequest(id="x"), timeout=5)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            _ = [event async for event in watch]
        assert "INTERNAL" == reason(caught.value)
        assert "secret" not in str(caught.value)


async def test_an_outage_is_told_with_advice_and_ends_by_itself(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    async with running_api(server.url) as api:
        created = await api.create()
        get = diagnosis_pb2.GetDiagnosisRequest(id=created.id)
        server.stop()
        for call in (
            api.diagnoses.GetDiagnosis(get, timeout=10),
            api.diagnoses.CreateDiagnosis(diagnosis_pb2.CreateDiagnosisRequest(spec=created.spec), timeout=10),
            api.info.GetServerInfo(server_pb2.GetServerInfoRequest(), timeout=10),
            api.artifacts.UploadArtifact(stream_of(b"new"), timeout=10),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert grpc.StatusCode.UNAVAILABLE == caught.value.code()
            assert "STORE_UNAVAILABLE" == reason(caught.value)
            assert 1_000 == detail(caught.value, RetryInfo).retry_delay.ToMilliseconds()
        assert 4 == metric(api.metrics, "gradclinic_redis_errors_total")
        server.start()
        assert created == await api.diagnoses.GetDiagnosis(get, timeout=10)


async def test_a_watch_survives_a_short_outage(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    async with running_api(server.url) as api:
        created = await api.create()
        watch = aiter(api.diagnoses.WatchDiagnosis(diagnosis_pb2.WatchDiagnosisRequest(id=created.id), timeout=60))
        assert created.revision == (await anext(watch)).revision
        server.stop()
        await asyncio.sleep(0.5)
        server.start()
        await asyncio.to_thread(api.store.diagnoses.cancel, created.id)
        assert diagnosis_pb2.DIAGNOSIS_STATE_CANCELLED == (await anext(watch)).state


async def test_the_reaper_outlives_an_outage(
    private_redis: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = private_redis()
    async with running_api(server.url) as api:
        server.stop()
        reaping = asyncio.ensure_future(reap_forever(api.store, api.server.threads, 0.05, api.metrics))
        await eventually(lambda: 1 <= metric(api.metrics, "gradclinic_redis_errors_total"))
        server.start()
        await eventually(lambda: "can look for lost jobs again" in caplog.text)
        reaping.cancel()
        assert 1 == caplog.text.count("cannot look for lost jobs")


async def test_too_many_calls_are_refused_at_once(redis_url: str) -> None:
    async with running_api(redis_url, max_concurrent_rpcs=1) as api:
        created = await api.create()
        get = diagnosis_pb2.GetDiagnosisRequest(id=created.id)
        held: Any = api.channel.stream_unary(
            "/gradclinic.v1.DiagnosisService/GetDiagnosis",
            request_serializer=diagnosis_pb2.GetDiagnosisRequest.SerializeToString,
        )(timeout=30)

        async def until_refused() -> None:
            while True:  # the call that sends no request may not have arrived
                await api.diagnoses.GetDiagnosis(get, timeout=5)

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await until_refused()
        assert "TOO_MANY_CALLS" == reason(caught.value)
        held.cancel()
        async with asyncio.timeout(10):
            while True:
                try:
                    await api.diagnoses.GetDiagnosis(get, timeout=5)
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.01)  # the server has not heard of the end yet


async def test_health_is_told_per_service(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        health = health_pb2_grpc.HealthStub(api.channel)
        for service in ("", *SERVICES):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
            assert SERVING == answer.status
        await api.server.begin_drain()
        for service in ("", *SERVICES):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
            assert NOT_SERVING == answer.status


async def test_a_health_watch_hears_of_the_drain_and_does_not_hold_it_up(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        health = health_pb2_grpc.HealthStub(api.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICES[0]), timeout=30)
        seen = aiter(watch)
        assert SERVING == (await anext(seen)).status
        await api.server.begin_drain()
        assert NOT_SERVING == (await anext(seen)).status
        async with asyncio.timeout(2):
            await api.server.stop(30)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(seen)
        assert "SERVER_DRAINING" == reason(caught.value)


async def test_reflection_lists_every_service(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        stub = reflection_pb2_grpc.ServerReflectionStub(api.channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = [answer async for answer in stub.ServerReflectionInfo(iter([request]), timeout=5)]
        names = {service.name for service in answer.list_services_response.service}
        assert {*SERVICES, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} == names


async def test_draining_ends_watches_with_advice(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        created = await api.create()
        watch = aiter(api.diagnoses.WatchDiagnosis(diagnosis_pb2.WatchDiagnosisRequest(id=created.id), timeout=30))
        await anext(watch)
        await api.server.begin_drain()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(watch)
        assert grpc.StatusCode.UNAVAILABLE == caught.value.code()
        assert "SERVER_DRAINING" == reason(caught.value)
        assert detail(caught.value, RetryInfo).HasField("retry_delay")
        # Other calls are still answered while load balancers take notice.
        await api.diagnoses.GetDiagnosis(diagnosis_pb2.GetDiagnosisRequest(id=created.id), timeout=5)


async def test_every_call_is_counted_and_timed(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        created = await api.create()
        watch = api.diagnoses.WatchDiagnosis(diagnosis_pb2.WatchDiagnosisRequest(id=created.id), timeout=30)
        await anext(aiter(watch))
        watch.cancel()
        with pytest.raises(grpc.aio.AioRpcError):
            await api.diagnoses.GetDiagnosis(diagnosis_pb2.GetDiagnosisRequest(id="unknown"), timeout=5)

        service = "gradclinic.v1.DiagnosisService"
        cancelled = handled(service, "WatchDiagnosis", "CANCELLED", "server_stream")
        await eventually(lambda: 1 == metric(api.metrics, "grpc_server_handled_total", **cancelled))
        for labels, count in (
            (handled("gradclinic.v1.ArtifactService", "UploadArtifact", "OK", "client_stream"), 2),
            (handled(service, "CreateDiagnosis", "OK"), 1),
            (handled(service, "GetDiagnosis", "NOT_FOUND"), 1),
            (cancelled, 1),
        ):
            assert count == metric(api.metrics, "grpc_server_handled_total", **labels)
            method = {name: value for name, value in labels.items() if name != "grpc_code"}
            assert count == metric(api.metrics, "grpc_server_started_total", **method)
            assert count == metric(api.metrics, "grpc_server_handling_seconds_count", **method)
        upload = {
            "grpc_type": "client_stream",
            "grpc_service": "gradclinic.v1.ArtifactService",
            "grpc_method": "UploadArtifact",
        }
        assert 4 == metric(api.metrics, "grpc_server_msg_received_total", **upload)
        assert 2 == metric(api.metrics, "grpc_server_msg_sent_total", **upload)


async def test_a_call_past_its_deadline_is_counted_as_that(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        created = await api.create()
        watch = api.diagnoses.WatchDiagnosis(diagnosis_pb2.WatchDiagnosisRequest(id=created.id), timeout=0.3)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            _ = [event async for event in watch]
        assert grpc.StatusCode.DEADLINE_EXCEEDED == caught.value.code()
        labels = handled("gradclinic.v1.DiagnosisService", "WatchDiagnosis", "DEADLINE_EXCEEDED", "server_stream")
        await eventually(lambda: 1 == metric(api.metrics, "grpc_server_handled_total", **labels))
