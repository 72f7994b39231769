"""From a live torch module to a TorchScript archive. Only imported when the caller hands one in."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gradclinic.errors import BadCall

if TYPE_CHECKING:
    import torch

_log = logging.getLogger("gradclinic")


def is_module(value: object) -> bool:
    """Whether a value is an nn.Module (a ScriptModule is one); never imports torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def archive_model(model: torch.nn.Module, inputs: object) -> tuple[memoryview, list[str]]:
    """Scripts a module, else traces it with ``inputs``; the module is left as it was.

    Returns:
        The archive's bytes, and sentences that the caller should know.

    Raises:
        BadCall: it can be neither scripted nor traced; says why.
    """
    import torch  # noqa: PLC0415 - the caller has imported it

    notes: list[str] = []
    if isinstance(model, torch.jit.ScriptModule):
        return _save(model, "model"), notes
    model = _unwrapped(model, notes)
    with _quiet():
        try:
            scripted = torch.jit.script(model)
        except Exception as error:  # noqa: BLE001 - the TorchScript compiler raises what it likes; tracing is next
            reason = error
        else:
            return _save(scripted, "model"), notes
    with _quiet():
        traced = _trace(model, inputs, reason)
    notes.append(
        "The model was traced with the given inputs because it cannot be scripted "
        f"({_first_line(reason)}): what depends on Python control flow is fixed as it was for these inputs."
    )
    for note in notes:
        _log.info(note)
    return _save(traced, "model"), notes


def archive_loss(loss: torch.nn.Module) -> memoryview:
    """Scripts a loss module, forward(output, target) -> scalar.

    Raises:
        BadCall: it cannot be scripted; says why.
    """
    import torch  # noqa: PLC0415 - the caller has imported it

    if isinstance(loss, torch.jit.ScriptModule):
        return _save(loss, "loss")
    with _quiet():
        try:
            return _save(torch.jit.script(loss), "loss")
        except Exception as error:
            raise BadCall(
                f"loss: {type(loss).__name__} cannot be scripted ({_first_line(error)}); make it scriptable, "
                'or compute the loss inside the model and pass loss="model"'
            ) from error


def _unwrapped(model: torch.nn.Module, notes: list[str]) -> torch.nn.Module:
    """The module itself, without torch.compile's or data parallelism's shell."""
    import torch  # noqa: PLC0415 - the caller has imported it

    inner = getattr(model, "_orig_mod", None)
    if isinstance(model, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
        inner = model.module
    if not isinstance(inner, torch.nn.Module):
        return model
    notes.append(f"What {type(model).__name__} wraps was diagnosed: module paths are those of the inner module.")
    return _unwrapped(inner, notes)


def _trace(model: torch.nn.Module, inputs: object, reason: Exception) -> Any:
    import torch  # noqa: PLC0415 - the caller has imported it

    positional, keywords = _example(inputs)
    with _untouched(model):
        try:
            if keywords is not None:
                return torch.jit.trace(model, example_kwarg_inputs=keywords, check_trace=False, strict=False)
            return torch.jit.trace(model, positional, check_trace=False, strict=False)
        except Exception as error:
            raise BadCall(
                f"model: {type(model).__name__} can neither be scripted ({_first_line(reason)}) "
                f"nor traced with these inputs ({_first_line(error)}); pass a TorchScript module or its file, "
                "or wrap it in a module whose forward takes and returns tensors"
            ) from error


def _example(inputs: object) -> tuple[tuple[Any, ...], dict[str, Any] | None]:
    """The inputs as torch.jit.trace takes them: positional ones, or keywords."""
    from gradclinic.tensors import is_numbers  # noqa: PLC0415 - keeps this import beside its only use

    if isinstance(inputs, Mapping):
        return (), {str(key): _live(value) for key, value in inputs.items()}
    if isinstance(inputs, (list, tuple)) and not (isinstance(inputs, list) and is_numbers(inputs)):
        return tuple(_live(value) for value in inputs), None
    return (_live(inputs),), None


def _live(value: Any) -> Any:
    """The value with tensors where there were arrays or numbers."""
    import torch  # noqa: PLC0415 - the caller has imported it

    from gradclinic.tensors import is_numbers  # noqa: PLC0415 - keeps this import beside its only use

    if isinstance(value, Mapping):
        return {key: _live(item) for key, item in value.items()}
    if isinstance(value, tuple) or (isinstance(value, list) and not is_numbers(value)):
        return type(value)(_live(item) for item in value)
    return value if isinstance(value, torch.Tensor) else torch.as_tensor(value)


@contextlib.contextmanager
def _untouched(model: torch.nn.Module) -> Iterator[None]:
    """Puts back what running forward changes: buffers (running statistics) and the random number generators."""
    import torch  # noqa: PLC0415 - the caller has imported it

    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.random.fork_rng():
        try:
            yield
        finally:
            with torch.no_grad():
                for name, buffer in model.named_buffers():
                    if name in before and not torch.equal(buffer, before[name]):
                        buffer.copy_(before[name])


def _save(module: Any, argument: str) -> memoryview:
    import torch  # noqa: PLC0415 - the caller has imported it

    stream = io.BytesIO()
    with _quiet():
        try:
            torch.jit.save(module, stream)
        except RuntimeError as error:
            raise BadCall(f"{argument}: {type(module).__name__} cannot be saved ({_first_line(error)})") from error
    return stream.getbuffer()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences what is no fault of the caller.

    TorchScript announces its own end and tells where tracing bakes values in
    (the note does so, too), and it reads every property of a module, also
    deprecated ones that nobody asked for.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        tracer = getattr(sys.modules.get("torch.jit"), "TracerWarning", None)
        if tracer is not None:
            warnings.simplefilter("ignore", tracer)
        yield


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(" at 0x[0-9a-f]+", "", lines[0] if lines else type(error).__name__).rstrip(".:,")
