"""From arguments to one request: what is sent, and what is refused before anything is."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
import torch
from google.protobuf.json_format import MessageToDict

from gradclinic.errors import BadCall
from gradclinic.submission import prepare
from gradclinic.v1 import diagnosis_pb2
from gradclinic_engine.losses import FUNCTIONAL_LOSSES

if TYPE_CHECKING:
    from pathlib import Path

INPUTS = [[1.0, 2.0]]


def spec(**options: Any) -> diagnosis_pb2.DiagnosisSpec:
    return prepare(b"model", INPUTS, options).request.spec  # type: ignore[arg-type]  # a test's shorthand


def test_a_bare_request() -> None:
    submission = prepare(b"model", INPUTS, {})
    request = submission.request
    assert "random_projection" == request.spec.loss.WhichOneof("kind")
    assert ["model", "inputs"] == [payload.name for payload in submission.payloads]
    assert [p.sha256 for p in submission.payloads] == [request.spec.model_sha256, request.spec.inputs_sha256]
    assert 4 == uuid.UUID(request.request_id).version
    assert request.allow_reuse
    assert not request.spec.HasField("step")
    assert not request.spec.HasField("timeout")


def test_everything_that_can_be_said_is_said() -> None:
    submission = prepare(
        b"model",
        INPUTS,
        {
            "target": [1],
            "loss": "cross_entropy",
            "loss_options": {"label_smoothing": 0.1, "weight": torch.ones(2)},
            "optimizer": {"name": "Adam", "lr": 1e-3, "betas": (0.9, 0.99)},
            "output": 1,
            "run": "bert-42",
            "step": 0,
            "labels": {"team": "a"},
            "depth": "quick",
            "device": "cpu",
            "seed": 7,
            "timeout": 1.5,
            "priority": -3,
            "reuse": False,
        },
    )
    spec = submission.request.spec
    assert ["model", "inputs", "loss_options", "target"] == [payload.name for payload in submission.payloads]
    assert submission.payloads[2].sha256 == spec.loss.functional.tensor_options_sha256
    assert {"label_smoothing": 0.1} == MessageToDict(spec.loss.functional.options)
    assert {"lr": 1e-3, "betas": [0.9, 0.99]} == MessageToDict(spec.optimizer.options)
    assert ("adam", "1", "bert-42", 0, {"team": "a"}) == (
        spec.optimizer.name,
        spec.output,
        spec.run,
        spec.step,
        dict(spec.labels),
    )
    assert (diagnosis_pb2.DEPTH_QUICK, "cpu", 7, -3, 1.5) == (
        spec.depth,
        spec.device,
        spec.seed,
        spec.priority,
        spec.timeout.ToTimedelta().total_seconds(),
    )
    assert not submission.request.allow_reuse


def test_losses_by_every_way() -> None:
    assert "model" == spec(loss="model").loss.WhichOneof("kind")
    assert "mse_loss" == spec(loss="mse_loss", target=INPUTS).loss.functional.name
    assert "mse_loss" == spec(loss=torch.nn.functional.mse_loss, target=INPUTS).loss.functional.name
    assert "invented_loss" == spec(loss="invented_loss").loss.functional.name  # the server may be newer
    assert "module_sha256" == spec(loss=torch.nn.MSELoss(), target=INPUTS).loss.WhichOneof("kind")
    assert "module_sha256" == spec(loss=b"archive").loss.WhichOneof("kind")


def test_a_loss_file(tmp_path: Path) -> None:
    (tmp_path / "loss.pt").write_bytes(b"archive")
    assert spec(loss=b"archive").loss == spec(loss=str(tmp_path / "loss.pt")).loss
    with pytest.raises(BadCall, match="loss: cannot read"):
        spec(loss=tmp_path / "absent.pt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"losss": "x"}, "unknown argument 'losss'"),
        (
            {"target": {"targets": [1]}, "loss": "cross_entropy"},
            "target: cross_entropy needs the target",
        ),
        ({"target": [1], "loss": "ctc_loss"}, "targets, input_lengths, target_lengths"),
        ({"loss": "cross_entropy", "loss_options": {"reduction": "none"}}, "'mean' or 'sum'"),
        ({"loss": "cross_entropy", "loss_options": {"wieght": 1.0}}, "no option 'wieght'"),
        ({"loss": "cross_entropy", "loss_options": {"weight": 1.0}}, "'weight' is a tensor"),
        ({"loss": "mse_loss", "loss_options": {"pos_weight": [1.0]}}, "no tensor option 'pos_weight'"),
        ({"loss": "model", "loss_options": {"a": 1}}, "only a loss by torch's functional name"),
        ({"loss": 3}, "loss: expected a name"),
        ({"optimizer": {"lr": 1}}, "optimizer: needs a name"),
        ({"optimizer": torch.optim.SGD(torch.nn.Linear(1, 1).parameters())}, "optimizer: needs a name"),
        ({"optimizer": {"name": "sgd", "lr": float("nan")}}, "must be finite"),
        ({"optimizer": {"name": "sgd", "lr": object()}}, "expected a number"),
        (
            {"optimizer": {"name": "sgd", "betas": (0.9, 0.99)}},
            "sgd has no setting 'betas'; its settings are",
        ),
        ({"optimizer": {"name": "Adam", "lr": -1.0}}, "optimizer: adam's setting 'lr' must be a number, 0 or more"),
        ({"target": [1]}, "target: is not used without a loss"),
        ({"target": [1], "loss": "model"}, "target: the loss 'model' takes none"),
        ({"output": 1}, "output: is not used without a loss"),
        ({"loss": "mse_loss", "output": 1.5}, "output: must be an index or a dotted name"),
        ({"device": 0}, "device: must be a string, got 0"),
        ({"run": 42}, "run: must be a string"),
        ({"step": 1.5}, "step: must be an integer"),
        ({"step": -1}, "step: must be an integer from 0 to 9223372036854775807"),
        ({"step": 1 << 63}, "step: must be an integer from 0"),
        ({"timeout": "60"}, "timeout: must be a positive"),
        ({"depth": "deep"}, "depth: must be one of quick, standard, thorough"),
        ({"seed": -1}, "seed: must be an integer"),
        ({"seed": True}, "seed: must be an integer"),
        ({"timeout": 0}, "timeout: must be a positive"),
        ({"timeout": 1e30}, "timeout: must be a positive"),
        ({"priority": 101}, "priority: must be an integer from -100 to 100"),
        ({"labels": ["team"]}, "labels: must be a mapping, got list"),
        ({"loss": "mse_loss", "loss_options": ["sum"]}, "loss_options: must be a mapping, got list"),
        ({"reuse": "no"}, "reuse: must be True or False"),
        ({"device": "cuda", "wait_for_device": 1}, "wait_for_device: must be True or False"),
    ],
)
def test_what_cannot_be_right_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadCall, match=message):
        spec(**options)


@pytest.mark.parametrize("model", [b"", 3, "absent.pt"])
def test_what_is_no_model_is_refused(model: Any) -> None:
    with pytest.raises(BadCall, match="model"):
        prepare(model, INPUTS, {})


@pytest.mark.parametrize("signature", FUNCTIONAL_LOSSES.values(), ids=lambda signature: signature.name)
def test_the_table_of_losses_agrees_with_torch(signature: Any) -> None:
    import inspect  # noqa: PLC0415 - only here

    function = inspect.signature(getattr(torch.nn.functional, signature.name)).parameters
    table = {signature.output, *signature.target, *signature.options, *signature.tensor_options}
    assert set(function) - {"size_average", "reduce"} == table


def test_options_become_what_torch_takes() -> None:
    signature = FUNCTIONAL_LOSSES["cross_entropy"]
    arguments = signature.arguments({"ignore_index": -100.0, "label_smoothing": 1})
    assert {"ignore_index": -100, "label_smoothing": 1.0} == arguments
    assert (int, float) == (type(arguments["ignore_index"]), type(arguments["label_smoothing"]))
    with pytest.raises(ValueError, match="an integer"):
        signature.arguments({"ignore_index": 0.5})
