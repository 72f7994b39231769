"""The loss of a diagnosis: made from the request, called with what forward returned."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import torch

from gradclinic_engine import tensors
from gradclinic_engine.errors import AnalysisError, FailureReason, RaisedError
from gradclinic_engine.losses import FUNCTIONAL_LOSSES
from gradclinic_engine.memory_errors import says_out_of_memory
from gradclinic_engine.observe.loss_calls import LossCall
from gradclinic_engine.observe.loss_program import LossProgram
from gradclinic_engine.request import LossRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradclinic_engine.front_end import Load
    from gradclinic_engine.losses import FunctionalLossSignature
    from gradclinic_engine.observe.observe_recorder import Recorder
    from gradclinic_engine.request import Request

    Apply: TypeAlias = Callable[[list[torch.Tensor], object, Recorder | None], torch.Tensor]

# The projection must be the same at every run, whatever seed the request has.
PROJECTION_SEED = 0x67726164
FUNCTIONS_RAISE = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError)


@dataclass(frozen=True)
class Criterion:
    """A loss that can be called with the model's output.

    Attributes:
        kind: `functional`, `module`, `model` or `random_projection`.
        name: Name in torch.nn.functional; "" unless functional.
        options: The keyword options that are plain values.
        targets: Target tensors by name.
        output: Which output the loss gets: an index or dotted name; "" is the only floating tensor.
        tensor_options: The keyword options that are tensors.
        program: The loss module, for kind `module`.
    """

    kind: str
    name: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    targets: Mapping[str, torch.Tensor] = field(default_factory=dict)
    output: str = ""
    tensor_options: Mapping[str, torch.Tensor] = field(default_factory=dict)
    program: LossProgram | None = None
    _apply: Apply = field(default=lambda read, _output, _recorder: read[0], repr=False)

    def read(self, output: object) -> list[torch.Tensor]:
        """The tensors of forward's ``output`` that the loss reads.

        Raises:
            AnalysisError: LOSS_ERROR when there is none, or it is not clear which one.
        """
        named = flatten(output)
        if self.kind == "random_projection" or (self.kind == "module" and not self.output and len(named) > 1):
            return [tensor for _, tensor in _floating(named)]
        return [_select(named, self.output)]

    def call(self, read: list[torch.Tensor]) -> LossCall | None:
        """What the loss gets, as a record that can be measured; None for a loss that torch does not know by name."""
        if self.kind != "functional":
            return None
        options = {**self.options, **dict.fromkeys(self.tensor_options, "tensor")}
        return LossCall(self.name, -1, options, read[0].detach(), self.targets, self.tensor_options.get("weight"))

    def __call__(self, output: object, recorder: Recorder | None = None) -> torch.Tensor:
        """The scalar loss, shape ``[]``.

        Args:
            output: What forward returned.
            recorder: What observed the model; a loss module is observed like it.

        Raises:
            AnalysisError: LOSS_ERROR when the loss raises (then it is a RaisedError) or gives no scalar.
            RuntimeError: there is too little memory for it.
        """
        read = self.read(output)
        raises = self.program.raises if self.program else FUNCTIONS_RAISE
        try:
            with warnings.catch_warnings():
                # torch warns of broadcasting and the like; a diagnosis tells such things as findings.
                warnings.simplefilter("ignore")
                loss = self._apply(read, output, recorder)
        except raises as error:
            if says_out_of_memory(error):
                raise
            lines = str(error).strip().splitlines() or [""]
            said = lines[-1] if "Traceback of TorchScript" in str(error) else "\n".join(lines)
            failure = _loss_error(f"{self._called()} raised: {said}. {self._met(read)}", str(error))
            raise RaisedError(failure, said) from error
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            got = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise _loss_error(f"{self._called()} gave {got}; a loss must be a scalar: take its mean or its sum.")
        if not loss.is_floating_point():
            raise _loss_error(f"{self._called()} gave {_dtype(loss)}; a loss must be a real floating number.")
        return loss.reshape(())

    def _called(self) -> str:
        return {
            "functional": f"torch.nn.functional.{self.name}",
            "module": "The loss module",
            "model": "The model's own loss",
        }.get(self.kind, "The random projection")

    def _met(self, read: list[torch.Tensor]) -> str:
        outputs = tensors.describe({f"output {i}" if len(read) > 1 else "output": each for i, each in enumerate(read)})
        return f"It got {outputs}" + (f" and target {tensors.describe(self.targets)}." if self.targets else ".")


def build(
    request: Request,
    *,
    device: torch.device,
    load: Load,
) -> Criterion:
    """Makes the loss that a request asks for.

    Args:
        request: The request.
        device: Where targets go.
        load: Loads a loss module.

    Raises:
        AnalysisError: When a target or an option does not fit the loss, or the loss module cannot be loaded.
    """
    targets: dict[str, torch.Tensor] = {}
    if request.target is not None:
        targets = tensors.read_tensors(request.target, device=device, field="target")
        tensors.refuse_empty(targets, field="target")
    match request.loss:
        case LossRequest(kind="functional"):
            return _functional(request, targets, device)
        case LossRequest(kind="module", module=str(path)):
            return _module(LossProgram(load(path, "loss")), targets, request.output)
        case LossRequest(kind="model"):
            return Criterion("model", targets=targets, output=request.output)
        case _:
            return Criterion("random_projection", targets=targets, _apply=_project)


def _functional(request: Request, targets: dict[str, torch.Tensor], device: torch.device) -> Criterion:
    name = request.loss.name
    signature = FUNCTIONAL_LOSSES.get(name)
    if signature is None:
        raise _loss_error(f"there is no loss `{name}`; known are {', '.join(FUNCTIONAL_LOSSES)}.")
    if problem := signature.target_problem(targets):
        raise AnalysisError(FailureReason.BAD_INPUTS, f"target: {problem}.", field="target")
    try:
        options = signature.arguments(request.loss.options)
    except ValueError as error:
        raise _loss_error(f"{error}.") from error
    tensor_options: dict[str, torch.Tensor] = {}
    if request.loss.tensors is not None:
        tensor_options = tensors.read_tensors(request.loss.tensors, device=device, field="loss_options")
        for problem in filter(None, map(signature.tensor_option_problem, tensor_options)):
            raise _loss_error(f"{problem}.")

    def apply(read: list[torch.Tensor], _output: object, _recorder: Recorder | None) -> torch.Tensor:
        return _call(signature, read[0], targets, {**options, **tensor_options})

    return Criterion("functional", name, dict(options), targets, request.output, tensor_options, _apply=apply)


def _call(
    signature: FunctionalLossSignature,
    output: torch.Tensor,
    targets: Mapping[str, torch.Tensor],
    options: Mapping[str, object],
) -> torch.Tensor:
    function = getattr(torch.nn.functional, signature.name)
    loss: torch.Tensor = function(**{signature.output: output}, **targets, **options)
    return loss


def _module(module: LossProgram, targets: dict[str, torch.Tensor], selected: str) -> Criterion:
    target: object = targets.get("target") if set(targets) <= {"target"} else targets

    def apply(read: list[torch.Tensor], output: object, recorder: Recorder | None) -> torch.Tensor:
        first = read[0] if selected or len(read) == 1 else output
        arguments = [first] if target is None else [first, target]
        loss: torch.Tensor = module(*arguments, recorder=recorder)  # type: ignore[assignment]  # what it gives is checked where it is called
        return loss

    return Criterion("module", targets=targets, output=selected, program=module, _apply=apply)


def _project(read: list[torch.Tensor], _output: object, _recorder: Recorder | None) -> torch.Tensor:
    """Sum over the outputs of <output, R> / sqrt(elements), R standard normal and fixed."""
    total = torch.zeros((), device=read[0].device, dtype=torch.float32)
    for tensor in read:
        real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
        generator = torch.Generator().manual_seed(PROJECTION_SEED)
        direction = torch.randn(real.shape, generator=generator).to(real.device, torch.float32)
        wide = real if real.dtype == torch.float64 else real.float()
        total = total + (wide * direction).sum() / math.sqrt(max(1, real.numel()))
    return total


def flatten(output: object, name: str = "") -> list[tuple[str, torch.Tensor]]:
    """The tensors of a nested output with their dotted names: `0.1`, `logits`, `` for a lone tensor."""
    if isinstance(output, torch.Tensor):
        return [(name, output)]
    if isinstance(output, Mapping):
        parts = [(str(key), part) for key, part in output.items()]
    elif isinstance(output, tuple) and hasattr(output, "_fields"):
        parts = list(zip(output._fields, output, strict=True))
    elif isinstance(output, (tuple, list)):
        parts = [(str(position), part) for position, part in enumerate(output)]
    else:
        return []
    return [found for key, part in parts for found in flatten(part, f"{name}.{key}" if name else key)]


def _floating(named: list[tuple[str, torch.Tensor]]) -> list[tuple[str, torch.Tensor]]:
    if not named:
        raise _loss_error("forward returned no tensor to take a loss of.")
    floating = [(name, tensor) for name, tensor in named if tensor.is_floating_point() or tensor.is_complex()]
    # Integers alone, for example from argmax, have no gradient: that is a finding, not an error.
    return floating or named


def _select(named: list[tuple[str, torch.Tensor]], wanted: str) -> torch.Tensor:
    if wanted:
        positions = {str(position): tensor for position, (_, tensor) in enumerate(named)}
        chosen = dict(named).get(wanted, positions.get(wanted))
        if chosen is None:
            raise _loss_error(f"forward returned no output `{wanted}`; there are {_listed(named)}.", field="output")
        return chosen
    floating = _floating(named)
    if len(floating) > 1:
        raise _loss_error(
            f"forward returned several floating tensors ({_listed(floating)}): say with `output` which one it gets.",
            field="output",
        )
    return floating[0][1]


def _listed(named: list[tuple[str, torch.Tensor]]) -> str:
    return tensors.describe({name or "output": tensor for name, tensor in named})


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _loss_error(what: str, trace: str = "", *, field: str = "loss") -> AnalysisError:
    return AnalysisError(FailureReason.LOSS_ERROR, f"{field}: {what}", field=field, trace=trace)
