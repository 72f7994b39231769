"""Calls that our own client would never make: each is refused with a stable reason, and the next diagnosis runs."""

from __future__ import annotations

import hashlib
import os
import uuid
from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_status import rpc_status

from gradclinic import Client, InvalidRequest, NotFound
from gradclinic.v1 import artifact_pb2, artifact_pb2_grpc, diagnosis_pb2, diagnosis_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("next_job_runs")

TIMEOUT_SECONDS = 10


def requests(
    content: bytes, *, size_bytes: int | None = None, sha256: str = ""
) -> Iterator[artifact_pb2.UploadArtifactRequest]:
    yield artifact_pb2.UploadArtifactRequest(
        declaration=artifact_pb2.ArtifactDeclaration(
            kind=artifact_pb2.ARTIFACT_KIND_MODEL,
            format=artifact_pb2.ARTIFACT_FORMAT_TORCHSCRIPT,
            size_bytes=len(content) if size_bytes is None else size_bytes,
            sha256=sha256 or hashlib.sha256(content).hexdigest(),
        )
    )
    for offset in range(0, len(content), 1000):
        chunk = artifact_pb2.ArtifactChunk(offset_bytes=offset, content=content[offset : offset + 1000])
        yield artifact_pb2.UploadArtifactRequest(chunk=chunk)


def refusal(error: grpc.RpcError) -> tuple[str, str, list[str]]:
    """Status code, stable reason and the fields that were wrong."""
    status = rpc_status.from_call(error)
    assert status is not None
    reason, fields = "", []
    for detail in status.details:
        if detail.Is(ErrorInfo.DESCRIPTOR):
            error_info = ErrorInfo.FromString(detail.value)
            assert "gradclinic" == error_info.domain
            reason = error_info.reason
        elif detail.Is(BadRequest.DESCRIPTOR):
            fields = [violation.field for violation in BadRequest.FromString(detail.value).field_violations]
    return error.code().name, reason, fields


def refused_upload(channel: grpc.Channel, messages: Iterator[artifact_pb2.UploadArtifactRequest]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        artifact_pb2_grpc.ArtifactServiceStub(channel).UploadArtifact(messages, timeout=TIMEOUT_SECONDS)
    return caught.value


def assert_nothing_is_stored(channel: grpc.Channel, sha256: str) -> None:
    request = artifact_pb2.GetArtifactRequest(sha256=sha256)
    with pytest.raises(grpc.RpcError) as caught:
        artifact_pb2_grpc.ArtifactServiceStub(channel).GetArtifact(request, timeout=TIMEOUT_SECONDS)
    assert ("NOT_FOUND", "ARTIFACT_NOT_FOUND", []) == refusal(caught.value)


def test_an_upload_that_ends_too_early(channel: grpc.Channel) -> None:
    content = os.urandom(5000)
    error = refused_upload(channel, requests(content, size_bytes=6000))
    assert ("INVALID_ARGUMENT", "UPLOAD_TRUNCATED", ["declaration.size_bytes"]) == refusal(error)
    assert_nothing_is_stored(channel, hashlib.sha256(content).hexdigest())


def test_an_upload_with_the_wrong_hash(channel: grpc.Channel) -> None:
    wrong = hashlib.sha256(b"something else").hexdigest()
    error = refused_upload(channel, requests(os.urandom(5000), sha256=wrong))
    assert ("INVALID_ARGUMENT", "HASH_MISMATCH", ["declaration.sha256"]) == refusal(error)
    assert_nothing_is_stored(channel, wrong)


def test_an_upload_of_nothing(channel: grpc.Channel) -> None:
    error = refused_upload(channel, requests(b""))
    assert ("INVALID_ARGUMENT", "INVALID_REQUEST", ["declaration.size_bytes"]) == refusal(error)


def test_a_declared_size_of_3_gib_is_refused_at_once(channel: grpc.Channel) -> None:
    error = refused_upload(channel, requests(b"first bytes", size_bytes=3 << 30))
    assert ("RESOURCE_EXHAUSTED", "ARTIFACT_TOO_LARGE", []) == refusal(error)
    assert "2,147,483,648" in (error.details() or "")


def test_an_unknown_id(client: Client) -> None:
    unknown = str(uuid.uuid4())
    for call in (client.get, client.cancel, client.delete, lambda id_: list(client.watch(id_))):
        with pytest.raises(NotFound) as caught:
            call(unknown)
        assert "DIAGNOSIS_NOT_FOUND" == caught.value.reason
        assert unknown in caught.value.message


def test_an_unknown_page_token(client: Client) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.list(page_token="page-7")
    assert "BAD_PAGE_TOKEN" == caught.value.reason
    assert ["page_token"] == [violation.field for violation in caught.value.violations]


def test_an_unknown_option_on_the_wire(channel: grpc.Channel) -> None:
    digest = hashlib.sha256(b"whatever").hexdigest()
    loss = diagnosis_pb2.FunctionalLoss(name="cross_entropy")
    loss.options.update({"temperature": 2.0})
    spec = diagnosis_pb2.DiagnosisSpec(
        model_sha256=digest,
        inputs_sha256=digest,
        target_sha256=digest,
        loss=diagnosis_pb2.LossSpec(functional=loss),
    )
    request = diagnosis_pb2.CreateDiagnosisRequest(spec=spec, request_id=str(uuid.uuid4()))
    with pytest.raises(grpc.RpcError) as caught:
        diagnosis_pb2_grpc.DiagnosisServiceStub(channel).CreateDiagnosis(request, timeout=TIMEOUT_SECONDS)
    field = "spec.loss.functional.options['temperature']"
    assert ("INVALID_ARGUMENT", "INVALID_REQUEST", [field]) == refusal(caught.value)


def test_what_nothing_would_use_on_the_wire(channel: grpc.Channel) -> None:
    digest = hashlib.sha256(b"whatever").hexdigest()
    optimizer = diagnosis_pb2.OptimizerSpec(name="sgd")
    optimizer.options.update({"betas": [0.9, 0.99]})
    spec = diagnosis_pb2.DiagnosisSpec(
        model_sha256=digest, inputs_sha256=digest, target_sha256=digest, output="0", optimizer=optimizer
    )
    request = diagnosis_pb2.CreateDiagnosisRequest(spec=spec, request_id=str(uuid.uuid4()))
    with pytest.raises(grpc.RpcError) as caught:
        diagnosis_pb2_grpc.DiagnosisServiceStub(channel).CreateDiagnosis(request, timeout=TIMEOUT_SECONDS)
    fields = ["spec.target_sha256", "spec.output", "spec.optimizer.options['betas']"]
    assert ("INVALID_ARGUMENT", "INVALID_REQUEST", fields) == refusal(caught.value)


def test_a_diagnosis_of_what_was_never_uploaded(channel: grpc.Channel) -> None:
    digest = hashlib.sha256(b"never uploaded").hexdigest()
    spec = diagnosis_pb2.DiagnosisSpec(model_sha256=digest, inputs_sha256=digest)
    request = diagnosis_pb2.CreateDiagnosisRequest(spec=spec, request_id=str(uuid.uuid4()))
    with pytest.raises(grpc.RpcError) as caught:
        diagnosis_pb2_grpc.DiagnosisServiceStub(channel).CreateDiagnosis(request, timeout=TIMEOUT_SECONDS)
    assert ("FAILED_PRECONDITION", "ARTIFACT_NOT_FOUND", []) == refusal(caught.value)
