"""From the caller's arguments to one wire request and the artifacts it needs."""

from __future__ import annotations

import asyncio
import math
import os
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct

from gradclinic import archives, tensors
from gradclinic.errors import BadCall
from gradclinic.payloads import Payload
from gradclinic.v1 import artifact_pb2, diagnosis_pb2
from gradclinic_engine.losses import FUNCTIONAL_LOSSES, FunctionalLossSignature
from gradclinic_engine.optimizers import OPTIMIZERS, setting_problem

if TYPE_CHECKING:
    import torch

    Model: TypeAlias = str | os.PathLike[str] | bytes | torch.nn.Module
    Loss: TypeAlias = str | os.PathLike[str] | bytes | torch.nn.Module | None

LOWEST_PRIORITY, HIGHEST_PRIORITY = -100, 100
_PRIORITIES = range(LOWEST_PRIORITY, HIGHEST_PRIORITY + 1)
_LONGEST_SECONDS = 315_576_000_000  # that a Duration can hold
_NANOS_PER_SECOND = 1_000_000_000
_DEPTHS = {
    "quick": diagnosis_pb2.DEPTH_QUICK,
    "standard": diagnosis_pb2.DEPTH_STANDARD,
    "thorough": diagnosis_pb2.DEPTH_THOROUGH,
}


class RequestOptions(TypedDict, total=False):
    """What a diagnosis may be asked with, besides model and inputs."""

    target: object  # a tensor, a mapping by the loss function's argument names, or a file
    loss: Loss  # torch's functional name, "model", a module, its file or bytes; None: a random projection
    loss_options: Mapping[str, object] | None  # keyword arguments of the torch function
    optimizer: str | Mapping[str, object] | None  # name, or {"name": ..., and its keyword arguments}
    output: str | int | None  # which output the loss gets: index or dotted name
    run: str | None  # name of the training run
    step: int | None  # step within the run
    labels: Mapping[str, str] | None
    depth: str | None  # "quick", "standard" or "thorough"
    device: str | None  # "cpu" or "cuda"; None: whatever worker is free
    wait_for_device: bool  # whether to queue it though no live worker has that device; default False
    seed: int  # of every random number generator
    timeout: float | None  # seconds that the run may take; None: the server's limit
    priority: int  # among your own waiting diagnoses the highest start first; -100 to 100, default 0
    reuse: bool  # whether an identical earlier diagnosis may be the answer; default True


@dataclass(frozen=True, slots=True)
class Submission:
    """A request that is ready to be sent."""

    request: diagnosis_pb2.CreateDiagnosisRequest
    payloads: tuple[Payload, ...]
    notes: tuple[str, ...]  # what the caller should know, as sentences


def prepare(model: Model, inputs: object, options: RequestOptions) -> Submission:
    """Reads, scripts, flattens and hashes everything; sends nothing.

    Raises:
        BadCall: an argument cannot be sent; says which and why.
    """
    unknown = set(options) - set(RequestOptions.__annotations__)
    if unknown:
        raise BadCall(f"unknown argument {min(unknown)!r}; known: {', '.join(RequestOptions.__annotations__)}")
    if options.get("wait_for_device") and not options.get("device"):
        raise BadCall("wait_for_device: has no effect without device; name one, or leave it out")
    model_payload, notes = _model(model, inputs)
    inputs_payload = _tensors(inputs, "inputs", single="0")
    loss, loss_payloads = _loss(options.get("loss"), _mapping(options.get("loss_options"), "loss_options"))
    _check_use(options, loss)
    payloads = [model_payload, inputs_payload, *loss_payloads]
    spec = diagnosis_pb2.DiagnosisSpec(
        model_sha256=model_payload.sha256,
        inputs_sha256=inputs_payload.sha256,
        loss=loss,
        optimizer=_optimizer(options.get("optimizer")),
        depth=_depth(options.get("depth")),
        device=_text(options.get("device"), "device"),
        labels={str(key): str(value) for key, value in _mapping(options.get("labels"), "labels").items()},
        run=_text(options.get("run"), "run"),
        output=_output(options.get("output")),
        seed=_integer(options.get("seed", 0), "seed", range(1 << 64)),
        timeout=_timeout(options.get("timeout")),
        priority=_integer(options.get("priority", 0), "priority", _PRIORITIES),
    )
    if (step := options.get("step")) is not None:
        spec.step = _integer(step, "step", range(1 << 63))
    if (target := options.get("target")) is not None:
        _check_names(target, loss.functional.name)
        payloads.append(_tensors(target, "target", single="target"))
        spec.target_sha256 = payloads[-1].sha256
    request = diagnosis_pb2.CreateDiagnosisRequest(
        spec=spec,
        request_id=str(uuid.uuid4()),
        allow_reuse=_flag(options.get("reuse", True), "reuse"),
        wait_for_device=_flag(options.get("wait_for_device", False), "wait_for_device"),
    )
    return Submission(request, tuple(payloads), tuple(notes))


async def prepare_async(model: Model, inputs: object, options: RequestOptions) -> Submission:
    """The same off the event loop, because scripting and hashing take long."""
    return await asyncio.to_thread(prepare, model, inputs, options)


def _model(model: Model, inputs: object) -> tuple[Payload, list[str]]:
    kind = artifact_pb2.ARTIFACT_KIND_MODEL
    if isinstance(model, (str, os.PathLike, bytes, bytearray, memoryview)):
        return Payload.of("model", kind, model), []
    if not archives.is_module(model):
        raise BadCall(f"model: expected a path, bytes, or a torch module, got {type(model).__name__}")
    content, notes = archives.archive_model(model, inputs)
    return Payload.of("model", kind, content), notes


def _tensors(value: object, argument: str, single: str) -> Payload:
    content: bytes | Path
    if isinstance(value, (str, os.PathLike)):
        content = tensors.from_file(value, argument, single)
    else:
        content = tensors.serialize(tensors.flatten(value, argument, single))
    return Payload.of(argument, artifact_pb2.ARTIFACT_KIND_TENSORS, content)


def _check_use(options: RequestOptions, loss: diagnosis_pb2.LossSpec) -> None:
    """Refuses what a loss of this kind would leave unused."""
    kind = loss.WhichOneof("kind")
    if kind == "model" and options.get("target") is not None:
        raise BadCall("target: the loss 'model' takes none; give forward its target among the inputs")
    if kind == "random_projection":
        for name in ("target", "output"):
            if options.get(name) is not None:
                raise BadCall(f"{name}: is not used without a loss; name one, for example loss='cross_entropy'")


def _check_names(target: object, loss: str) -> None:
    signature = FUNCTIONAL_LOSSES.get(loss)
    if signature is None or isinstance(target, (str, os.PathLike)):
        return
    names = list(map(str, target)) if isinstance(target, Mapping) else ["target"]
    if (problem := signature.target_problem(names)) is not None:
        raise BadCall(f"target: {problem}; pass a mapping by these names")


def _loss(loss: Loss, options: Mapping[str, object]) -> tuple[diagnosis_pb2.LossSpec, list[Payload]]:
    kind = artifact_pb2.ARTIFACT_KIND_LOSS
    name = _functional_name(loss)
    if name is not None:
        return _functional(name, options)
    if options:
        raise BadCall("loss_options: only a loss by torch's functional name takes options")
    if loss is None:
        return diagnosis_pb2.LossSpec(random_projection=diagnosis_pb2.RandomProjection()), []
    if isinstance(loss, str) and loss == "model":
        return diagnosis_pb2.LossSpec(model=diagnosis_pb2.ModelLoss()), []
    if isinstance(loss, (str, os.PathLike, bytes, bytearray, memoryview)):
        payload = Payload.of("loss", kind, loss)
    elif archives.is_module(loss):
        payload = Payload.of("loss", kind, archives.archive_loss(loss))
    else:
        raise BadCall(f"loss: expected a name, a path, bytes, a torch module or None, got {type(loss).__name__}")
    return diagnosis_pb2.LossSpec(module_sha256=payload.sha256), [payload]


def _functional_name(loss: object) -> str | None:
    """Torch's functional name that a loss stands for; None if it stands for something else."""
    if isinstance(loss, str):
        is_name = loss.isidentifier() and loss != "model" and (loss in FUNCTIONAL_LOSSES or not Path(loss).exists())
        return loss if is_name else None
    functional = sys.modules.get("torch.nn.functional")
    name = getattr(loss, "__name__", "")
    return name if functional is not None and name and getattr(functional, name, None) is loss else None


def _functional(name: str, options: Mapping[str, object]) -> tuple[diagnosis_pb2.LossSpec, list[Payload]]:
    functional = diagnosis_pb2.FunctionalLoss(name=name)
    signature = FUNCTIONAL_LOSSES.get(name)  # None: perhaps the server is newer, it shall decide
    plain = {key: value for key, value in options.items() if isinstance(value, (bool, int, float, str))}
    valued = {key: value for key, value in options.items() if key not in plain and value is not None}
    if signature is not None:
        _check_options(signature, plain, valued)
    functional.options.CopyFrom(_struct(plain, "loss_options"))
    payloads = []
    if valued:
        payloads.append(_tensors(valued, "loss_options", single=""))
        functional.tensor_options_sha256 = payloads[0].sha256
    return diagnosis_pb2.LossSpec(functional=functional), payloads


def _check_options(
    signature: FunctionalLossSignature, plain: Mapping[str, object], valued: Mapping[str, object]
) -> None:
    problems = [signature.option_problem(name, value) for name, value in plain.items()]
    problems += [signature.tensor_option_problem(name) for name in valued]
    for problem in problems:
        if problem is not None:
            raise BadCall(f"loss_options: {problem}")


def _optimizer(optimizer: str | Mapping[str, object] | None) -> diagnosis_pb2.OptimizerSpec | None:
    if optimizer is None:
        return None
    options = {"name": optimizer} if isinstance(optimizer, str) else optimizer
    name = options.get("name") if isinstance(options, Mapping) else None
    if not isinstance(name, str) or not name:
        raise BadCall('optimizer: needs a name, such as "adam" or {"name": "adam", "lr": 1e-3}')
    name = name.lower()
    settings = {key: _json(value, f"optimizer[{key!r}]") for key, value in options.items() if key != "name"}
    if name in OPTIMIZERS:  # else perhaps the server is newer, it shall decide
        for key, value in settings.items():
            if (problem := setting_problem(name, key, value)) is not None:
                raise BadCall(f"optimizer: {problem}")
    return diagnosis_pb2.OptimizerSpec(name=name, options=_struct(settings, "optimizer"))


def _struct(options: Mapping[str, object], argument: str) -> Struct:
    struct = Struct()
    for name, value in options.items():
        struct.update({name: _json(value, f"{argument}[{name!r}]")})
    return struct


def _json(value: object, argument: str) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise BadCall(f"{argument}: must be finite, got {value}")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Sequence):
        return [_json(item, argument) for item in value]
    if hasattr(value, "item"):  # a zero-dimensional tensor or numpy scalar
        return _json(value.item(), argument)
    raise BadCall(f"{argument}: expected a number, a string or a list of them, got {type(value).__name__}")


def _text(value: object, argument: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    raise BadCall(f"{argument}: must be a string, got {value!r}")


def _mapping(value: object, argument: str) -> Mapping[str, object]:
    if value is None or isinstance(value, Mapping):
        return value or {}
    raise BadCall(f"{argument}: must be a mapping, got {type(value).__name__}")


def _integer(value: object, argument: str, allowed: range) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value in allowed:
        return value
    raise BadCall(f"{argument}: must be an integer from {allowed[0]} to {allowed[-1]}, got {value!r}")


def _flag(value: object, argument: str) -> bool:
    if isinstance(value, bool):
        return value
    raise BadCall(f"{argument}: must be True or False, got {value!r}")


def _output(output: str | int | None) -> str:
    if output is None:
        return ""
    if isinstance(output, (str, int)) and not isinstance(output, bool) and output != "":
        return str(output)
    raise BadCall(f"output: must be an index or a dotted name, got {output!r}")


def _depth(depth: str | None) -> diagnosis_pb2.Depth.ValueType:
    if depth is None:
        return diagnosis_pb2.DEPTH_UNSPECIFIED
    try:
        return _DEPTHS[depth.lower()]
    except (KeyError, AttributeError):
        raise BadCall(f"depth: must be one of {', '.join(_DEPTHS)}, got {depth!r}") from None


def _timeout(seconds: float | None) -> Duration | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= _LONGEST_SECONDS:
        raise BadCall(f"timeout: must be a positive number of seconds, got {seconds!r}")
    nanos = round(seconds * _NANOS_PER_SECOND)
    return Duration(seconds=nanos // _NANOS_PER_SECOND, nanos=nanos % _NANOS_PER_SECOND)
