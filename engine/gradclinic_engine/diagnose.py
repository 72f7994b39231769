"""One request from end to end, up to the rules: archive, program, observe."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gradclinic_engine.observe import criterion, feed, further_runs, observe, randomness
from gradclinic_engine.observe.observe_run import Subject
from gradclinic_engine.request import Stage
from gradclinic_engine.torchscript import archive, program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from gradclinic_engine.measurements import Measurements
    from gradclinic_engine.request import Request


def measure(request: Request, *, device: torch.device, entered: Callable[[Stage, float], None]) -> Measurements:
    """What a run of the model shows.

    Args:
        request: What to run.
        device: Where to run it.
        entered: Called with each stage and the progress, 0..1.

    Raises:
        AnalysisError: When there can be no result: BAD_ARCHIVE, FORBIDDEN_OPERATOR,
            BAD_INPUTS, FORWARD_ERROR, LOSS_ERROR, OUT_OF_MEMORY.
    """
    randomness.seed(request.seed)
    entered(Stage.LOAD, 0.0)
    module, inlined = archive.load_inlined(request.model, device=device, field="model")
    inputs = feed.read_tensors(request.inputs, device=device, field="inputs")
    feed.refuse_empty(inputs, field="inputs")
    arguments = feed.bind(module, inputs)
    loss = criterion.build(request, device=device)
    entered(Stage.PREPARE, 0.1)
    named = list(zip(_argument_names(module, inputs), arguments, strict=True))
    prepared = program.prepare(module, named, archive_path=request.model, inlined=inlined)
    subject = Subject(prepared, tuple(arguments), inputs, loss, request.seed)
    found = observe.observe(subject, entered=entered)
    found = replace(found, notes=(*found.notes, *randomness.note(found, request.seed)))
    sources = further_runs.Sources(
        model=lambda: archive.load(request.model, device=device, field="model"),
        inputs=lambda: feed.read_tensors(request.inputs, device=device, field="inputs"),
    )
    return further_runs.extend(found, subject, sources, request.depth)


def _argument_names(module: torch.jit.ScriptModule, inputs: Mapping[str, torch.Tensor]) -> list[str]:
    """Each argument of forward under the name it was sent with."""
    sent = {name.partition(".")[0] for name in inputs}
    parameters = module.forward.schema.arguments[1:]  # type: ignore[attr-defined]  # typed as a plain callable
    return [str(i) if str(i) in sent else parameter.name for i, parameter in enumerate(parameters)]
