"""The engine, called with a request of the contract and answering with a message of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from google.protobuf import json_format

from gradclinic import __version__
from gradclinic.v1 import diagnosis_pb2, executor_pb2
from gradclinic_engine import diagnose
from gradclinic_engine.request import Depth, LossRequest, Request, Stage
from gradclinic_worker import report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from gradclinic_engine.measurements import Measurements

Entered: TypeAlias = "Callable[[diagnosis_pb2.DiagnosisStage.ValueType, float], None]"
LOSS_KINDS = {
    "functional": "functional",
    "module_sha256": "module",
    "model": "model",
    "random_projection": "random_projection",
    None: "random_projection",
}
STAGES = {stage: diagnosis_pb2.DiagnosisStage.Value(f"DIAGNOSIS_STAGE_{stage}") for stage in Stage}
DEPTHS = {diagnosis_pb2.Depth.Value(f"DEPTH_{depth}"): depth for depth in Depth}


def analyse(
    spec: diagnosis_pb2.DiagnosisSpec,
    files: Mapping[executor_pb2.Attachment.ValueType, str],
    *,
    device: torch.device,
    entered: Entered,
) -> diagnosis_pb2.DiagnosisResult:
    """Diagnoses one model.

    Args:
        spec: The request.
        files: Readable paths of its attachments.
        device: Where to run.
        entered: Told of each stage and of the progress, 0..1.

    Raises:
        AnalysisError: When there can be no result: BAD_ARCHIVE, FORBIDDEN_OPERATOR,
            BAD_INPUTS, FORWARD_ERROR, LOSS_ERROR, OUT_OF_MEMORY.
    """
    result = diagnose.diagnose(
        request_of(spec, files), device=device, version=__version__, entered=_in_stages_of_the_contract(entered)
    )
    return report.report(result)


def measure(
    spec: diagnosis_pb2.DiagnosisSpec,
    files: Mapping[executor_pb2.Attachment.ValueType, str],
    *,
    device: torch.device,
    entered: Entered,
) -> Measurements:
    """Everything up to the rules, with the arguments and errors of `analyse`."""
    return diagnose.measure(
        request_of(spec, files),
        device=device,
        entered=_in_stages_of_the_contract(entered),
    )


def request_of(spec: diagnosis_pb2.DiagnosisSpec, files: Mapping[executor_pb2.Attachment.ValueType, str]) -> Request:
    """The engine's request for one of the contract."""
    return Request(
        model=files[executor_pb2.ATTACHMENT_MODEL],
        inputs=files[executor_pb2.ATTACHMENT_INPUTS],
        target=files.get(executor_pb2.ATTACHMENT_TARGET),
        loss=LossRequest(
            kind=LOSS_KINDS[spec.loss.WhichOneof("kind")],
            name=spec.loss.functional.name,
            options=json_format.MessageToDict(spec.loss.functional.options),
            module=files.get(executor_pb2.ATTACHMENT_LOSS),
            tensors=files.get(executor_pb2.ATTACHMENT_LOSS_OPTIONS),
        ),
        output=spec.output,
        depth=DEPTHS.get(spec.depth, Depth.STANDARD),
        seed=spec.seed,
        optimizer=spec.optimizer.name,
    )


def _in_stages_of_the_contract(entered: Entered) -> diagnose.Entered:
    return lambda stage, progress: entered(STAGES[stage], progress)
