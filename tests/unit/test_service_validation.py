"""What each request must look like: every violation names its field, what was wrong and what to do."""

from __future__ import annotations

import math
import uuid
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from gradclinic.v1 import artifact_pb2, diagnosis_pb2, finding_pb2
from gradclinic_engine.losses import FUNCTIONAL_LOSSES
from gradclinic_service.errors import InvalidRequest, Violation, require
from gradclinic_service.settings import MAX_CHUNK_BYTES
from gradclinic_service.upload_messages import Piece
from gradclinic_service.validation.requests import (
    chunk_violations,
    create_violations,
    declaration_violations,
    get_violations,
    list_violations,
    watch_violations,
)

SHA = "0123456789abcdef" * 4
RUN_LIMIT_SECONDS = 300.0


def request(**spec: object) -> diagnosis_pb2.CreateDiagnosisRequest:
    whole = {"model_sha256": SHA, "inputs_sha256": SHA, **spec}
    return diagnosis_pb2.CreateDiagnosisRequest(spec=diagnosis_pb2.DiagnosisSpec(**whole))  # type: ignore[arg-type]


def functional(name: str, options: dict[str, Any] | None = None, **kwargs: str) -> diagnosis_pb2.LossSpec:
    loss = diagnosis_pb2.FunctionalLoss(name=name, **kwargs)  # type: ignore[arg-type]
    loss.options.update(options or {})
    return diagnosis_pb2.LossSpec(functional=loss)


def optimizer(name: str, options: dict[str, Any]) -> diagnosis_pb2.OptimizerSpec:
    spec = diagnosis_pb2.OptimizerSpec(name=name)
    spec.options.update(options)
    return spec


def violations(message: diagnosis_pb2.CreateDiagnosisRequest) -> list[Violation]:
    return list(create_violations(message, run_limit_seconds=RUN_LIMIT_SECONDS))


def test_a_plain_request_is_fine() -> None:
    assert [] == violations(request())


def test_a_full_request_is_fine() -> None:
    message = request(
        target_sha256=SHA,
        loss=functional("cross_entropy", {"ignore_index": -100, "label_smoothing": 0.1}, tensor_options_sha256=SHA),
        optimizer=optimizer("adam", {"lr": 1e-3, "betas": [0.9, 0.999], "amsgrad": False, "foreach": None}),
        depth=diagnosis_pb2.DEPTH_THOROUGH,
        device="cuda",
        labels={"team": "vision"},
        run="bert-42",
        step=0,
        output="logits",
        timeout=Duration(seconds=60),
    )
    message.request_id = str(uuid.uuid4())
    assert [] == violations(message)


@pytest.mark.parametrize("name", FUNCTIONAL_LOSSES)
def test_every_functional_loss_needs_its_target(name: str) -> None:
    (violation,) = violations(request(loss=functional(name)))
    assert "spec.target_sha256" == violation.field
    assert f"`{FUNCTIONAL_LOSSES[name].target[0]}`" in violation.description


@pytest.mark.parametrize(
    ("spec", "field", "said"),
    [
        ({"model_sha256": ""}, "spec.model_sha256", "upload the model"),
        ({"inputs_sha256": ""}, "spec.inputs_sha256", "upload the inputs"),
        ({"model_sha256": "12ab"}, "spec.model_sha256", "64 lower-case hexadecimal digits"),
        ({"target_sha256": SHA.upper(), "loss": functional("mse_loss")}, "spec.target_sha256", "lower case"),
        ({"inputs_sha256": SHA + "\n"}, "spec.inputs_sha256", "spaces"),
        ({"loss": functional("cross_entrpy")}, "spec.loss.functional.name", "did you mean cross_entropy"),
        ({"loss": functional("")}, "spec.loss.functional.name", "known are: "),
        ({"loss": functional("xyzzy")}, "spec.loss.functional.name", "mse_loss"),
        (
            {"loss": functional("cross_entropy", {"ignore_indx": 1}), "target_sha256": SHA},
            "spec.loss.functional.options['ignore_indx']",
            "did you mean ignore_index?",
        ),
        (
            {"loss": functional("cross_entropy", {"ignore_index": 1.5}), "target_sha256": SHA},
            "spec.loss.functional.options['ignore_index']",
            "an integer",
        ),
        (
            {"loss": functional("cross_entropy", {"ignore_index": 1e308}), "target_sha256": SHA},
            "spec.loss.functional.options['ignore_index']",
            "an integer of 64 bits",
        ),
        (
            {"loss": functional("huber_loss", {"delta": math.inf}), "target_sha256": SHA},
            "spec.loss.functional.options['delta']",
            "a number",
        ),
        (
            {"loss": functional("mse_loss", {"reduction": "none"}), "target_sha256": SHA},
            "spec.loss.functional.options['reduction']",
            "'mean' or 'sum'",
        ),
        (
            {"loss": functional("soft_margin_loss", tensor_options_sha256=SHA), "target_sha256": SHA},
            "spec.loss.functional.tensor_options_sha256",
            "no tensor options",
        ),
        (
            {"loss": diagnosis_pb2.LossSpec(module_sha256="no"), "target_sha256": SHA},
            "spec.loss.module_sha256",
            "is not a SHA-256",
        ),
        ({"loss": diagnosis_pb2.LossSpec(module_sha256=SHA)}, "spec.target_sha256", "(output, target)"),
        ({"optimizer": optimizer("Adam", {})}, "spec.optimizer.name", "did you mean adam"),
        ({"optimizer": optimizer("", {"lr": 1.0})}, "spec.optimizer.name", "known are"),
        ({"optimizer": optimizer("sgd", {"lr": -1.0})}, "spec.optimizer.options['lr']", "0 or more"),
        ({"optimizer": optimizer("sgd", {"lr": "high"})}, "spec.optimizer.options['lr']", "must be a number"),
        ({"optimizer": optimizer("sgd", {"momentum": math.nan})}, "spec.optimizer.options['momentum']", "a number"),
        ({"optimizer": optimizer("sgd", {"betas": [0.9, 0.9]})}, "spec.optimizer.options['betas']", "has no setting"),
        ({"optimizer": optimizer("adam", {"betas": {"y": 1}})}, "spec.optimizer.options['betas']", "list of numbers"),
        ({"target_sha256": SHA}, "spec.target_sha256", "not used without a loss"),
        ({"output": "logits"}, "spec.output", "not used without a loss"),
        (
            {"target_sha256": SHA, "loss": diagnosis_pb2.LossSpec(model=diagnosis_pb2.ModelLoss())},
            "spec.target_sha256",
            "among the inputs",
        ),
        ({"optimizer": optimizer("sgd", {"x": "y" * 2000})}, "spec.optimizer.options", "too large"),
        ({"depth": 9}, "spec.depth", "DEPTH_QUICK"),
        ({"device": "tpu"}, "spec.device", "'cpu', 'cuda' or nothing"),
        ({"device": "cuda:0"}, "spec.device", "'cuda'"),
        ({"labels": {str(i): "" for i in range(33)}}, "spec.labels", "at most 32"),
        ({"labels": {"": "value"}}, "spec.labels", "empty key"),
        ({"labels": {"k" * 129: "v"}}, f"spec.labels['{'k' * 79}…]", "at most 128"),
        ({"labels": {"k": "v" * 129}}, "spec.labels['k']", "its value has 129 characters"),
        ({"run": "r" * 129}, "spec.run", "at most 128"),
        ({"run": "two\nlines"}, "spec.run", "cannot be printed"),
        ({"output": "o" * 257, "loss": functional("mse_loss")}, "spec.output", "at most 256"),
        ({"step": -1}, "spec.step", "from 0"),
        ({"timeout": Duration()}, "spec.timeout", "more than 0"),
        ({"priority": 101}, "spec.priority", "send -100 to 100"),
        ({"priority": -101}, "spec.priority", "send -100 to 100"),
        ({"timeout": Duration(seconds=301)}, "spec.timeout", "at most 300 s"),
    ],
)
def test_one_wrong_field_is_one_violation(spec: dict[str, object], field: str, said: str) -> None:
    found = violations(request(**spec))
    assert field in [violation.field for violation in found]
    (description,) = [violation.description for violation in found if violation.field == field]
    assert said in description


@pytest.mark.parametrize(
    ("request_id", "said"),
    [
        ("no", "is not a UUID"),
        ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "no UUID4"),
        ("F47AC10B-58CC-4372-A567-0E02B2C3D479", "send f47ac10b-58cc-4372-a567-0e02b2c3d479"),
    ],
)
def test_a_request_id_is_a_uuid4_in_its_usual_form(request_id: str, said: str) -> None:
    message = request()
    message.request_id = request_id
    (violation,) = violations(message)
    assert "request_id" == violation.field
    assert said in violation.description


def test_all_wrong_fields_are_named_at_once() -> None:
    message = request(model_sha256="x", device="tpu", step=-1)
    fields = [violation.field for violation in violations(message)]
    assert ["spec.model_sha256", "spec.device", "spec.step"] == fields
    with pytest.raises(InvalidRequest, match=r"spec\.model_sha256: .*\(and 2 more\)"):
        require(violations(message))


def test_a_spec_is_bounded_in_bytes() -> None:
    message = request()
    message.spec.MergeFromString(b"\x9a\x3f\x80\x80\x08" + b"x" * 131_072)  # a field that this version does not know
    (violation,) = violations(message)
    assert "spec" == violation.field
    assert "at most 65536" in violation.description


def test_to_wait_for_no_device_is_refused() -> None:
    message = request()
    message.wait_for_device = True
    (violation,) = violations(message)
    assert "wait_for_device" == violation.field


def test_a_description_does_not_grow_with_its_input() -> None:
    (violation,) = violations(request(model_sha256="x" * 1_000_000))
    assert len(violation.description) < 200


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (diagnosis_pb2.ListDiagnosesRequest(page_size=-1), "page_size"),
        (
            diagnosis_pb2.ListDiagnosesRequest(filter=diagnosis_pb2.DiagnosisFilter(state=77)),  # type: ignore[arg-type]
            "filter.state",
        ),
        (
            diagnosis_pb2.ListDiagnosesRequest(filter=diagnosis_pb2.DiagnosisFilter(verdict=77)),  # type: ignore[arg-type]
            "filter.verdict",
        ),
        (diagnosis_pb2.ListDiagnosesRequest(filter=diagnosis_pb2.DiagnosisFilter(run="r" * 129)), "filter.run"),
        (
            diagnosis_pb2.ListDiagnosesRequest(filter=diagnosis_pb2.DiagnosisFilter(labels={"": "v"})),
            "filter.labels",
        ),
    ],
)
def test_list_requests(message: diagnosis_pb2.ListDiagnosesRequest, field: str) -> None:
    assert [field] == [violation.field for violation in list_violations(message)]


def test_a_list_request_with_every_filter_is_fine() -> None:
    wanted = diagnosis_pb2.DiagnosisFilter(
        run="r",
        labels={"k": "v"},
        state=diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED,
        verdict=finding_pb2.VERDICT_CRITICAL,
    )
    assert [] == list(list_violations(diagnosis_pb2.ListDiagnosesRequest(page_size=10, filter=wanted)))


def test_get_and_watch_requests() -> None:
    assert ["id"] == [v.field for v in get_violations(diagnosis_pb2.GetDiagnosisRequest())]
    assert ["id"] == [v.field for v in get_violations(diagnosis_pb2.GetDiagnosisRequest(id="x" * 129))]
    strange = diagnosis_pb2.GetDiagnosisRequest(id="x", view=9)  # type: ignore[arg-type]
    assert ["view"] == [v.field for v in get_violations(strange)]
    before = diagnosis_pb2.WatchDiagnosisRequest(id="x", after_revision=-1)
    assert ["after_revision"] == [v.field for v in watch_violations(before)]


def declaration(**changed: object) -> artifact_pb2.ArtifactDeclaration:
    whole = {
        "kind": artifact_pb2.ARTIFACT_KIND_MODEL,
        "format": artifact_pb2.ARTIFACT_FORMAT_TORCHSCRIPT,
        "size_bytes": 10,
        "sha256": SHA,
        **changed,
    }
    return artifact_pb2.ArtifactDeclaration(**whole)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "field", "said"),
    [
        ({"kind": 0}, "declaration.kind", "is not set"),
        ({"kind": 9}, "declaration.kind", "not known"),
        ({"format": 0}, "declaration.format", "is not set"),
        ({"format": 9}, "declaration.format", "not known"),
        (
            {"format": artifact_pb2.ARTIFACT_FORMAT_TORCH_EXPORT},
            "declaration.format",
            "ARTIFACT_FORMAT_TORCH_EXPORT is not accepted for ARTIFACT_KIND_MODEL; send ARTIFACT_FORMAT_TORCHSCRIPT",
        ),
        ({"kind": artifact_pb2.ARTIFACT_KIND_TENSORS}, "declaration.format", "send ARTIFACT_FORMAT_SAFETENSORS"),
        ({"size_bytes": 0}, "declaration.size_bytes", "is the file empty?"),
        ({"sha256": ""}, "declaration.sha256", "hash the whole artifact"),
        ({"offset_bytes": 11}, "declaration.offset_bytes", "outside"),
        ({"offset_bytes": -1}, "declaration.offset_bytes", "outside"),
    ],
)
def test_declarations(changed: dict[str, object], field: str, said: str) -> None:
    (violation,) = declaration_violations(declaration(**changed))
    assert field == violation.field
    assert said in violation.description


def test_a_plain_declaration_is_fine() -> None:
    assert [] == list(declaration_violations(declaration()))
    assert [] == list(declaration_violations(declaration(offset_bytes=10)))


def test_chunks() -> None:
    def chunk(content: bytes) -> Piece:
        return Piece(0, memoryview(content))

    assert [] == list(chunk_violations(chunk(bytes(MAX_CHUNK_BYTES))))
    assert ["chunk.content"] == [v.field for v in chunk_violations(chunk(bytes(MAX_CHUNK_BYTES + 1)))]
    assert ["chunk.content"] == [v.field for v in chunk_violations(chunk(b""))]
    second = artifact_pb2.UploadArtifactRequest(declaration=declaration())
    assert ["chunk"] == [v.field for v in chunk_violations(second)]
