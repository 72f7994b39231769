"""From a live module to a TorchScript archive."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
import warnings
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from gradclinic_engine.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Example: TypeAlias = tuple[tuple[Any, ...], dict[str, Any] | None]  # positional arguments of forward, or keywords

_log = logging.getLogger("gradclinic")


def archive_model(model: torch.nn.Module, example: Callable[[], Example]) -> tuple[memoryview, list[str]]:
    """Scripts a module, else traces it; the module is left as it was.

    Args:
        model: The module.
        example: Makes arguments of forward, where it is traced.

    Returns:
        The archive's bytes, and sentences that the caller should know.

    Raises:
        ConversionError: it can be neither scripted nor traced; says why.
    """
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
        traced = _trace(model, example, reason)
    notes.append(
        "The model was traced with the given inputs because it cannot be scripted "
        f"({_first_line(reason)}): what depends on Python control flow is fixed as it was for these inputs."
    )
    for note in notes:
        _log.info(note)
    return _save(traced, "model"), notes


def archive_traced(model: torch.nn.Module, *arguments: torch.Tensor) -> memoryview:
    """Traces a module that is known to be traceable."""
    with _quiet():
        return _save(torch.jit.trace(model, arguments), "model")


def archive_loss(loss: torch.nn.Module) -> memoryview:
    """Scripts a loss module, forward(output, target) -> scalar.

    Raises:
        ConversionError: it cannot be scripted; says why.
    """
    if isinstance(loss, torch.jit.ScriptModule):
        return _save(loss, "loss")
    with _quiet():
        try:
            return _save(torch.jit.script(loss), "loss")
        except Exception as error:
            raise ConversionError(
                f"loss: {type(loss).__name__} cannot be scripted ({_first_line(error)}); make it scriptable, "
                'or compute the loss inside the model and pass loss="model"'
            ) from error


def _unwrapped(model: torch.nn.Module, notes: list[str]) -> torch.nn.Module:
    """The module itself, without torch.compile's or data parallelism's shell."""
    inner = getattr(model, "_orig_mod", None)
    if isinstance(model, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
        inner = model.module
    if not isinstance(inner, torch.nn.Module):
        return model
    notes.append(f"What {type(model).__name__} wraps was diagnosed: module paths are those of the inner module.")
    return _unwrapped(inner, notes)


def _trace(model: torch.nn.Module, example: Callable[[], Example], reason: Exception) -> Any:
    with _untouched(model):
        try:
            positional, keywords = example()
            if keywords is not None:
                return torch.jit.trace(model, example_kwarg_inputs=keywords, check_trace=False, strict=False)
            return torch.jit.trace(model, positional, check_trace=False, strict=False)
        except Exception as error:
            raise ConversionError(
                f"model: {type(model).__name__} can neither be scripted ({_first_line(reason)}) "
                f"nor traced with these inputs ({_first_line(error)}); pass a TorchScript module or its file, "
                "or wrap it in a module whose forward takes and returns tensors"
            ) from error


@contextlib.contextmanager
def _untouched(model: torch.nn.Module) -> Iterator[None]:
    """Puts back what running forward changes: buffers (running statistics) and the random number generators."""
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
    stream = io.BytesIO()
    with _quiet():
        try:
            torch.jit.save(module, stream)
        except RuntimeError as error:
            raise ConversionError(
                f"{argument}: {type(module).__name__} cannot be saved ({_first_line(error)})"
            ) from error
    return stream.getbuffer()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences what is no fault of the caller.

    TorchScript announces its own end and tells where tracing bakes values in
    (the note does so, too), and it reads every property of a module, also
    deprecated ones that the caller does not use.
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
