"""Who may call and what each sees: tokens, roles, certificates, and tenants that see nothing of each other."""

from __future__ import annotations

import asyncio
import json
import subprocess
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from api_under_test import (
    LOSS,
    MODEL,
    TENSORS,
    Api,
    declaration,
    detail,
    metric,
    reason,
    running_api,
    sha256,
    stream_of,
)
from gradclinic.v1 import artifact_pb2, diagnosis_pb2, server_pb2, server_pb2_grpc
from gradclinic_service.credentials import new_token
from gradclinic_service.identity import Role
from gradclinic_service.settings import TransportSecurity
from real_stack import GRADCLINIC, clean_environment
from store_cases import spec_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MIB = 1024 * 1024
INFO = server_pb2.GetServerInfoRequest()
PATIENCE_SECONDS = 5.0


class Tokens:
    """A token file, and the metadata of calls with its tokens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[str, str] = {}
        self.metadata: dict[str, tuple[tuple[str, str], ...]] = {}

    def add(self, tenant: str, role: Role) -> None:
        token, credential = new_token(tenant, role)
        name = f"{tenant} {role}"
        self.lines[name] = str(credential)
        self.metadata[name] = (("authorization", f"Bearer {token}"),)
        self.write()

    def write(self) -> None:
        self.path.write_text("\n".join(self.lines.values()) + "\n")

    def __getitem__(self, name: str) -> tuple[tuple[str, str], ...]:
        return self.metadata[name]


@asynccontextmanager
async def guarded_api(redis_url: str, folder: Path, **changed: Any) -> AsyncIterator[tuple[Api, Tokens]]:
    """An API with two tenants, and all roles in the first."""
    tokens = Tokens(folder / "tokens")
    for tenant, role in (("red", Role.READ), ("red", Role.SUBMIT), ("red", Role.ADMIN), ("blue", Role.ADMIN)):
        tokens.add(tenant, role)
    async with running_api(redis_url, token_file=tokens.path, **changed) as api:
        yield api, tokens


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def first_event(watch: Any) -> diagnosis_pb2.DiagnosisEvent:
    event: diagnosis_pb2.DiagnosisEvent = await anext(aiter(watch))
    return event


async def create(api: Api, metadata: Any, request_id: str = "", **spec: Any) -> diagnosis_pb2.Diagnosis:
    for content, kind in ((b"model", MODEL), (b"inputs", TENSORS)):
        await api.artifacts.UploadArtifact(stream_of(content, kind), timeout=10, metadata=metadata)
    whole = diagnosis_pb2.DiagnosisSpec(model_sha256=sha256(b"model"), inputs_sha256=sha256(b"inputs"), **spec)
    request = diagnosis_pb2.CreateDiagnosisRequest(
        spec=whole, request_id=request_id or str(uuid.uuid4()), allow_reuse=True
    )
    return await api.diagnoses.CreateDiagnosis(request, timeout=10, metadata=metadata)


async def test_a_call_without_a_valid_token_is_not_authenticated(redis_url: str, tmp_path: Path) -> None:
    async with guarded_api(redis_url, tmp_path) as (api, tokens):
        ((_, good),) = tokens["red read"]
        for wrong in ((), "Bearer wrong", good.removeprefix("Bearer "), good[:-1] + "_", "Bearer gct_x_y", "Bearer "):
            error = await refused(
                api.info.GetServerInfo(INFO, timeout=5, metadata=(("authorization", wrong),) if wrong else ())
            )
            assert (grpc.StatusCode.UNAUTHENTICATED, "NOT_AUTHENTICATED") == (error.code(), reason(error))
        await api.info.GetServerInfo(INFO, timeout=5, metadata=tokens["red read"])
        assert grpc.StatusCode.UNAUTHENTICATED == (await refused(api.upload(b"x"))).code()
        watch = api.diagnoses.WatchDiagnosis(diagnosis_pb2.WatchDiagnosisRequest(id="x"), timeout=5)
        assert grpc.StatusCode.UNAUTHENTICATED == (await refused(anext(aiter(watch)))).code()
        health = health_pb2_grpc.HealthStub(api.channel)
        assert health_pb2.HealthCheckResponse.SERVING == (await health.Check(health_pb2.HealthCheckRequest())).status


async def test_reflection_wants_a_token_too(redis_url: str, tmp_path: Path) -> None:
    async with guarded_api(redis_url, tmp_path) as (api, tokens):
        stub = reflection_pb2_grpc.ServerReflectionStub(api.channel)
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        error = await refused(anext(aiter(stub.ServerReflectionInfo(iter([question])))))
        assert grpc.StatusCode.UNAUTHENTICATED == error.code()
        answer = await anext(aiter(stub.ServerReflectionInfo(iter([question]), metadata=tokens["red read"])))
        assert answer.list_services_response.service


async def test_a_role_allows_what_it_says_and_no_more(redis_url: str, tmp_path: Path) -> None:
    async with guarded_api(redis_url, tmp_path) as (api, tokens):
        reader, submitter, admin = (tokens[f"red {role}"] for role in Role)
        created = await create(api, submitter)
        for allowed in (
            api.diagnoses.GetDiagnosis(diagnosis_pb2.GetDiagnosisRequest(id=created.id), metadata=reader),
            api.diagnoses.ListDiagnoses(diagnosis_pb2.ListDiagnosesRequest(), metadata=reader),
            api.diagnoses.GetDiagnosis(diagnosis_pb2.GetDiagnosisRequest(id=created.id), metadata=submitter),
        ):
            await allowed
        refusals: dict[str, Any] = {
            "UploadArtifact": api.artifacts.UploadArtifact(stream_of(b"x"), metadata=reader),
            "GetArtifact": api.artifacts.GetArtifact(
                artifact_pb2.GetArtifactRequest(sha256=sha256(b"x")), metadata=reader
            ),
            "CreateDiagnosis": api.diagnoses.CreateDiagnosis(
                diagnosis_pb2.CreateDiagnosisRequest(spec=created.spec), metadata=reader
            ),
            "CancelDiagnosis": api.diagnoses.CancelDiagnosis(
                diagnosis_pb2.CancelDiagnosisRequest(id=created.id), metadata=reader
            ),
            "DeleteDiagnosis": api.diagnoses.DeleteDiagnosis(
                diagnosis_pb2.DeleteDiagnosisRequest(id=created.id), metadata=submitter
            ),
        }
        for method, call in refusals.items():
            error = await refused(call)
            assert (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_SUFFICIENT") == (error.code(), reason(error))
            assert method in str(error.details())
            assert {"role", "needed_role"} == set(detail(error, ErrorInfo).metadata)
        cancel = diagnosis_pb2.CancelDiagnosisRequest(id=created.id)
        await api.diagnoses.CancelDiagnosis(cancel, metadata=submitter)
        await api.diagnoses.DeleteDiagnosis(diagnosis_pb2.DeleteDiagnosisRequest(id=created.id), metadata=admin)


async def test_another_tenants_diagnosis_is_not_there(redis_url: str, tmp_path: Path) -> None:
    async with guarded_api(redis_url, tmp_path) as (api, tokens):
        red, blue = tokens["red admin"], tokens["blue admin"]
        created = await create(api, red, run="secret", labels={"team": "red"})
        d = api.diagnoses
        for call in (
            d.GetDiagnosis(diagnosis_pb2.GetDiagnosisRequest(id=created.id), metadata=blue, timeout=5),
            d.CancelDiagnosis(diagnosis_pb2.CancelDiagnosisRequest(id=created.id), metadata=blue, timeout=5),
            d.DeleteDiagnosis(diagnosis_pb2.DeleteDiagnosisRequest(id=created.id), metadata=blue, timeout=5),
            first_event(d.WatchDiagnosis(diagnosis_pb2.WatchDiagnosisRequest(id=created.id), metadata=blue, timeout=5)),
        ):
            theirs = await refused(call)
            assert (grpc.StatusCode.NOT_FOUND, "DIAGNOSIS_NOT_FOUND") == (theirs.code(), reason(theirs))
        unknown = created.id[::-1]
        theirs = await refused(d.GetDiagnosis(diagnosis_pb2.GetDiagnosisRequest(id=created.id), metadata=blue))
        nobodys = await refused(d.GetDiagnosis(diagnosis_pb2.GetDiagnosisRequest(id=unknown), metadata=blue))
        assert str(nobodys.details()).replace(unknown, created.id) == theirs.details()
        for wanted in (None, diagnosis_pb2.DiagnosisFilter(run="secret")):
            request = diagnosis_pb2.ListDiagnosesRequest(filter=wanted)
            assert [] == list((await d.ListDiagnoses(request, metadata=blue)).diagnoses)
            assert [created] == list((await d.ListDiagnoses(request, metadata=red)).diagnoses)
        assert created == await d.GetDiagnosis(diagnosis_pb2.GetDiagnosisRequest(id=created.id), metadata=red)


async def test_a_request_id_and_a_result_are_no_other_tenants(redis_url: str, tmp_path: Path) -> None:
    async with guarded_api(redis_url, tmp_path) as (api, tokens):
        request_id = str(uuid.uuid4())
        red = await create(api, tokens["red admin"], request_id)
        attempt = api.store.diagnoses.start(red.id, "worker")
        assert attempt is not None
        assert attempt.succeed(diagnosis_pb2.DiagnosisResult(notes=["red's"]))
        blue = await create(api, tokens["blue admin"], request_id)
        assert red.id != blue.id
        assert not blue.reused
        assert (await create(api, tokens["red admin"], seed=0)).reused


async def test_a_page_token_is_no_other_tenants(redis_url: str, tmp_path: Path) -> None:
    async with guarded_api(redis_url, tmp_path) as (api, tokens):
        for seed in range(3):
            for tenant in ("red", "blue"):
                await create(api, tokens[f"{tenant} admin"], seed=seed)
        first = diagnosis_pb2.ListDiagnosesRequest(page_size=1)
        pages = {
            tenant: await api.diagnoses.ListDiagnoses(first, metadata=tokens[f"{tenant} admin"])
            for tenant in ("red", "blue")
        }
        stolen = diagnosis_pb2.ListDiagnosesRequest(page_size=1, page_token=pages["red"].next_page_token)
        error = await refused(api.diagnoses.ListDiagnoses(stolen, metadata=tokens["blue admin"]))
        assert "BAD_PAGE_TOKEN" == reason(error)
        assert (await api.diagnoses.ListDiagnoses(stolen, metadata=tokens["red admin"])).diagnoses


async def test_what_another_tenant_has_stored_is_as_if_absent(redis_url: str, tmp_path: Path) -> None:
    content = bytes(range(256)) * (3 * MIB // 256)
    name = sha256(content)
    async with guarded_api(redis_url, tmp_path) as (api, tokens):
        red, blue = tokens["red admin"], tokens["blue admin"]
        stored = await api.artifacts.UploadArtifact(stream_of(content), timeout=30, metadata=red)
        get = artifact_pb2.GetArtifactRequest(sha256=name)
        error = await refused(api.artifacts.GetArtifact(get, metadata=blue))
        assert (grpc.StatusCode.NOT_FOUND, "0") == (error.code(), detail(error, ErrorInfo).metadata["received_bytes"])
        # A declaration alone shows nothing: all bytes have to be sent.
        error = await refused(api.artifacts.UploadArtifact(iter([declaration(content)]), timeout=10, metadata=blue))
        assert "UPLOAD_TRUNCATED" == reason(error)
        error = await refused(
            api.artifacts.UploadArtifact(stream_of(content, start_bytes=2 * MIB), timeout=10, metadata=blue)
        )
        assert "OFFSET_MISMATCH" == reason(error)
        spec = diagnosis_pb2.DiagnosisSpec(model_sha256=name, inputs_sha256=name)
        error = await refused(
            api.diagnoses.CreateDiagnosis(diagnosis_pb2.CreateDiagnosisRequest(spec=spec), metadata=blue)
        )
        assert (grpc.StatusCode.FAILED_PRECONDITION, "ARTIFACT_NOT_FOUND") == (error.code(), reason(error))
        received = metric(api.metrics, "gradclinic_upload_bytes_total")
        # Even what kind it is may differ: nothing tells that red has these bytes as a model.
        theirs = await api.artifacts.UploadArtifact(stream_of(content, LOSS), timeout=30, metadata=blue)
        assert len(content) == metric(api.metrics, "gradclinic_upload_bytes_total") - received
        assert (LOSS, MODEL) == (theirs.kind, stored.kind)
        assert theirs.create_time.ToMilliseconds() > stored.create_time.ToMilliseconds()
        api.store.reap()
        assert len(content) == api.store.counters.read().stored_bytes  # they are there once
        assert content == b"".join(api.store.artifacts.read(name))


async def test_tokens_come_and_go_without_a_restart(redis_url: str, tmp_path: Path) -> None:
    async with guarded_api(redis_url, tmp_path) as (api, tokens):
        created = await create(api, tokens["blue admin"])
        watch = aiter(
            api.diagnoses.WatchDiagnosis(
                diagnosis_pb2.WatchDiagnosisRequest(id=created.id), timeout=30, metadata=tokens["blue admin"]
            )
        )
        await anext(watch)
        tokens.add("green", Role.READ)
        old = tokens.metadata["blue admin"]
        tokens.add("blue", Role.ADMIN)  # in the place of the first one
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    await api.info.GetServerInfo(INFO, timeout=5, metadata=old)
                except grpc.aio.AioRpcError as revoked:
                    assert grpc.StatusCode.UNAUTHENTICATED == revoked.code()  # noqa: PT017, it is waited for
                    break
                await asyncio.sleep(0.05)
        await api.info.GetServerInfo(INFO, timeout=5, metadata=tokens["green read"])
        await api.info.GetServerInfo(INFO, timeout=5, metadata=tokens["blue admin"])
        await api.diagnoses.CancelDiagnosis(
            diagnosis_pb2.CancelDiagnosisRequest(id=created.id), metadata=tokens["blue admin"]
        )
        error = await refused(anext(watch))
        assert grpc.StatusCode.UNAUTHENTICATED == error.code()


async def test_a_wrong_token_file_locks_nobody_out_and_is_counted(redis_url: str, tmp_path: Path) -> None:
    async with guarded_api(redis_url, tmp_path) as (api, tokens):
        tokens.path.write_text("what is this\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not metric(api.metrics, "gradclinic_token_file_errors_total"):
                await api.info.GetServerInfo(INFO, timeout=5, metadata=tokens["red read"])
                await asyncio.sleep(0.05)
        await api.info.GetServerInfo(INFO, timeout=5, metadata=tokens["red read"])


async def test_calls_at_once_are_not_mistaken_for_each_other(redis_url: str, tmp_path: Path) -> None:
    async with guarded_api(redis_url, tmp_path) as (api, tokens):
        mine = {tenant: (await create(api, tokens[f"{tenant} admin"])).id for tenant in ("red", "blue")}

        async def listed(tenant: str) -> set[str]:
            request = diagnosis_pb2.ListDiagnosesRequest()
            answer = await api.diagnoses.ListDiagnoses(request, metadata=tokens[f"{tenant} admin"], timeout=20)
            return {diagnosis.id for diagnosis in answer.diagnoses}

        tenants = ["red", "blue"] * 50
        for tenant, seen in zip(tenants, await asyncio.gather(*map(listed, tenants)), strict=True):
            assert {mine[tenant]} == seen


async def test_a_client_certificate_may_stand_for_a_tenant(redis_url: str, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "trainer.example")
    security = TransportSecurity(certificate, key, client_authority=certificate)
    file = tmp_path / "tokens"
    token, credential = new_token("blue", Role.READ)
    file.write_text(f"trainer red submit certificate:trainer.example\n{credential}\n")
    async with running_api(redis_url, security=security, token_file=file) as api:
        credentials = grpc.ssl_channel_credentials(certificate, key, certificate)
        options = (("grpc.ssl_target_name_override", "trainer.example"),)
        address = f"localhost:{api.address.port}"
        async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
            secure = Api(api.server, api.address, api.store, api.metrics, channel)
            created = await create(secure, ())
            assert created == api.store.of("red").diagnoses.get(created.id)
            # A token says more than the certificate of the machine that sends it.
            bearer = (("authorization", f"Bearer {token}"),)
            page = await secure.diagnoses.ListDiagnoses(diagnosis_pb2.ListDiagnosesRequest(), metadata=bearer)
            assert [] == list(page.diagnoses)
        file.write_text(f"{credential}\n")
        await asyncio.sleep(1.1)
        async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
            error = await refused(info_stub(channel).GetServerInfo(INFO, timeout=5))
            assert grpc.StatusCode.UNAUTHENTICATED == error.code()


async def test_tls_with_client_certificates(redis_url: str, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    security = TransportSecurity(certificate, key, client_authority=certificate)
    async with running_api(redis_url, security=security) as api:
        address = f"localhost:{api.address.port}"
        known = grpc.ssl_channel_credentials(certificate, key, certificate)
        async with grpc.aio.secure_channel(address, known) as channel:
            await info_stub(channel).GetServerInfo(INFO, timeout=5)
        unknown = grpc.ssl_channel_credentials(certificate)
        async with grpc.aio.secure_channel(address, unknown) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await info_stub(channel).GetServerInfo(INFO, timeout=2)


async def test_the_command_shows_a_client_certificate(redis_url: str, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    file = tmp_path / "tokens"
    file.write_text("trainer red submit certificate:localhost\n")
    security = TransportSecurity(certificate, key, client_authority=certificate)
    environment = {"GRADCLINIC_TLS_ROOTS": f"{tmp_path}/certificate.pem"}
    with_key = ("--tls-client-certificate", f"{tmp_path}/certificate.pem", "--tls-client-key", f"{tmp_path}/key.pem")
    async with running_api(redis_url, security=security, token_file=file) as api:
        created = api.store.of("red").diagnoses.create(spec_of(api.store.of("red")))[0]
        listing = ("list", "--server", f"localhost:{api.address.port}", "--json")
        done = await asyncio.to_thread(run_command, *listing, *with_key, environment=environment)
        assert [created.id] == [each["id"] for each in json.loads(done.stdout)["diagnoses"]], done.stderr
        done = await asyncio.to_thread(run_command, *listing, environment=environment)
        assert 3 == done.returncode
        done = await asyncio.to_thread(run_command, *listing, *with_key[:2], environment=environment)
        assert "a client certificate and its private key go together" in done.stderr


def run_command(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(GRADCLINIC), *arguments],
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def info_stub(channel: grpc.aio.Channel) -> server_pb2_grpc.ServerServiceAsyncStub:
    return server_pb2_grpc.ServerServiceStub(channel)  # type: ignore[return-value]  # the stubs' way


def self_signed(folder: Path, name: str = "localhost") -> tuple[bytes, bytes]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName=DNS:{name}", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate.read_bytes(), key.read_bytes()
