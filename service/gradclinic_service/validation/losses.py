"""What a request may say about its loss and its optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.losses import FUNCTIONAL_LOSSES
from gradclinic_engine.optimizers import OPTIMIZERS, setting_problem
from gradclinic_service.errors import Violation
from gradclinic_service.validation.fields import near, sha256_violations, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.struct_pb2 import Struct, Value

    from gradclinic.v1.diagnosis_pb2 import DiagnosisSpec, FunctionalLoss, OptimizerSpec

MAX_OPTIONS = 32
MAX_OPTION_CHARACTERS = 1024  # of all options of one optimizer, as JSON


def loss_violations(spec: DiagnosisSpec) -> Iterator[Violation]:
    """The loss is one that exists, with options that it has and the target that it needs."""
    kind = spec.loss.WhichOneof("kind")
    yield from _unused_violations(spec, kind or "random_projection")
    if kind == "functional":
        yield from _functional_violations(spec.loss.functional, has_target=bool(spec.target_sha256))
    elif kind == "module_sha256":
        yield from sha256_violations(
            "spec.loss.module_sha256", spec.loss.module_sha256, if_empty="upload the loss module and name it here"
        )
        if not spec.target_sha256:
            yield Violation(
                "spec.target_sha256",
                "is empty, but a loss module is called with (output, target); upload the target as a tensor named "
                "`target`, or use the loss `model` where the model itself returns its loss",
            )


def _unused_violations(spec: DiagnosisSpec, kind: str) -> Iterator[Violation]:
    """What a loss of this kind would leave unused."""
    if kind == "model" and spec.target_sha256:
        yield Violation(
            "spec.target_sha256", "the loss `model` takes no target; send the target among the inputs of forward"
        )
    if kind == "random_projection":
        for field in ("target_sha256", "output"):
            if getattr(spec, field):
                yield Violation(f"spec.{field}", "is not used without a loss; name a loss, or leave this empty")


def _functional_violations(loss: FunctionalLoss, *, has_target: bool) -> Iterator[Violation]:
    field = "spec.loss.functional"
    yield from sha256_violations(f"{field}.tensor_options_sha256", loss.tensor_options_sha256)
    signature = FUNCTIONAL_LOSSES.get(loss.name)
    if signature is None:
        hint = near(loss.name, tuple(FUNCTIONAL_LOSSES))
        yield Violation(f"{field}.name", f"{shown(loss.name)} is no loss of torch.nn.functional that I know; {hint}")
        return
    if not has_target:
        names = ", ".join(f"`{name}`" for name in signature.target)
        yield Violation("spec.target_sha256", f"is empty, but {loss.name} needs a target; upload the tensors {names}")
    if loss.tensor_options_sha256 and not signature.tensor_options:
        yield Violation(f"{field}.tensor_options_sha256", f"{loss.name} has no tensor options; leave it empty")
    for name, value in _plain(loss.options).items():
        if (problem := signature.option_problem(name, value)) is not None:
            known = (*signature.options, *signature.tensor_options)
            hint = "" if name in known else f"; {near(name, known)}"
            yield Violation(f"{field}.options[{shown(name)}]", problem + hint)


def optimizer_violations(optimizer: OptimizerSpec) -> Iterator[Violation]:
    """The optimizer is one of torch.optim, with settings that it has."""
    field = "spec.optimizer"
    if not optimizer.name and not optimizer.options.fields:
        return
    if optimizer.name not in OPTIMIZERS:
        hint = near(optimizer.name, tuple(OPTIMIZERS))
        yield Violation(f"{field}.name", f"{shown(optimizer.name)} is no class of torch.optim in lower case; {hint}")
        return
    options = _plain(optimizer.options)
    if len(options) > MAX_OPTIONS or len(repr(options)) > MAX_OPTION_CHARACTERS:
        yield Violation(
            f"{field}.options",
            f"is too large; send at most {MAX_OPTIONS} options, {MAX_OPTION_CHARACTERS} characters together",
        )
        return
    for name, value in options.items():
        if (problem := setting_problem(optimizer.name, name, value)) is not None:
            yield Violation(f"{field}.options[{shown(name)}]", problem)


def _plain(options: Struct) -> dict[str, object]:
    return {name: _value(value) for name, value in options.fields.items()}


def _value(value: Value) -> object:
    # json_format.MessageToDict would raise at NaN and infinity, which a caller may well send.
    match value.WhichOneof("kind"):
        case "number_value":
            return value.number_value
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "list_value":
            return [_value(item) for item in value.list_value.values]
        case "struct_value":
            return _plain(value.struct_value)
        case _:
            return None
