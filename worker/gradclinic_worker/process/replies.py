"""What an executor says, checked before anybody believes it: the executor runs a stranger's code."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from gradclinic.v1 import diagnosis_pb2, executor_pb2, finding_pb2
from gradclinic_engine.rules import CODES, MAX_FINDINGS

if TYPE_CHECKING:
    from gradclinic_worker.process.lease import Grant

MAX_REPLIES = 10_000
MAX_MESSAGE_CHARACTERS = 4_000
MAX_TRACE_CHARACTERS = 64_000

EXECUTOR_STAGES = frozenset(
    {
        diagnosis_pb2.DIAGNOSIS_STAGE_LOAD,
        diagnosis_pb2.DIAGNOSIS_STAGE_PREPARE,
        diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD,
        diagnosis_pb2.DIAGNOSIS_STAGE_BACKWARD,
        diagnosis_pb2.DIAGNOSIS_STAGE_JUDGE,
        diagnosis_pb2.DIAGNOSIS_STAGE_PROVE,
    }
)
"""Stages that an executor may claim; the others are the supervisor's."""

EXECUTOR_REASONS = frozenset(
    {
        diagnosis_pb2.FAILURE_REASON_BAD_ARCHIVE,
        diagnosis_pb2.FAILURE_REASON_FORBIDDEN_OPERATOR,
        diagnosis_pb2.FAILURE_REASON_BAD_INPUTS,
        diagnosis_pb2.FAILURE_REASON_FORWARD_ERROR,
        diagnosis_pb2.FAILURE_REASON_LOSS_ERROR,
        diagnosis_pb2.FAILURE_REASON_BACKWARD_ERROR,
        diagnosis_pb2.FAILURE_REASON_OUT_OF_MEMORY,
        diagnosis_pb2.FAILURE_REASON_INTERNAL,
    }
)
"""Reasons that an executor may give; the others are the supervisor's to find."""

_MAX_SHOWN_CHARACTERS = 64
_MAX_STAGE_SECONDS = 7 * 24 * 3600
_NANOSECONDS_PER_SECOND = 10**9
_VERDICTS = frozenset({finding_pb2.VERDICT_HEALTHY, finding_pb2.VERDICT_WARNING, finding_pb2.VERDICT_CRITICAL})


class ReplyRefused(Exception):
    """An executor said something that it must not say."""


Reply = executor_pb2.StageEntered | diagnosis_pb2.DiagnosisResult | diagnosis_pb2.Failure


class ReplyReader:
    """Checks the replies of one executor, in order."""

    def __init__(self) -> None:
        self._count = 0
        self._progress = 0.0

    def read(self, content: bytes) -> Reply:
        """One reply, safe to pass on.

        Raises:
            ReplyRefused: It is none of the kinds that are allowed, or outside of its bounds.
        """
        self._count += 1
        if self._count > MAX_REPLIES:
            raise ReplyRefused(f"more than {MAX_REPLIES} replies")
        try:
            reply = executor_pb2.ExecutorReply.FromString(content)
        except DecodeError as error:
            raise ReplyRefused("a reply that is no ExecutorReply") from error
        kind = reply.WhichOneof("kind")
        if kind == "stage":
            return self._stage(reply.stage)
        if kind == "result":
            return _result(reply.result)
        if kind == "failure":
            return _failure(reply.failure)
        raise ReplyRefused("an empty reply")

    def _stage(self, stage: executor_pb2.StageEntered) -> executor_pb2.StageEntered:
        if stage.stage not in EXECUTOR_STAGES:
            raise ReplyRefused(f"stage {stage.stage}")
        if not math.isfinite(stage.progress):
            raise ReplyRefused(f"progress {stage.progress}")
        self._progress = max(self._progress, min(stage.progress, 1.0))
        return executor_pb2.StageEntered(stage=stage.stage, progress=self._progress)


def _failure(failure: diagnosis_pb2.Failure) -> diagnosis_pb2.Failure:
    if failure.reason not in EXECUTOR_REASONS:
        raise ReplyRefused(f"failure reason {failure.reason}")
    return diagnosis_pb2.Failure(
        reason=failure.reason,
        message=failure.message[:MAX_MESSAGE_CHARACTERS],
        field=failure.field[:MAX_MESSAGE_CHARACTERS],
        trace=failure.trace[-MAX_TRACE_CHARACTERS:],
    )


def _result(result: diagnosis_pb2.DiagnosisResult) -> diagnosis_pb2.DiagnosisResult:
    if result.verdict not in _VERDICTS:
        raise ReplyRefused(f"verdict {result.verdict}")
    if len(result.findings) > MAX_FINDINGS:
        raise ReplyRefused(f"{len(result.findings)} findings")
    for finding in result.findings:
        if finding.code not in CODES:
            raise ReplyRefused(f"finding code {finding.code[:_MAX_SHOWN_CHARACTERS]!r}")
        if finding.severity not in finding_pb2.Severity.values() or finding.symptom not in finding_pb2.Symptom.values():
            raise ReplyRefused(f"severity {finding.severity}, symptom {finding.symptom}")
    return result


def attest(
    result: diagnosis_pb2.DiagnosisResult, grant: Grant, gradclinic_version: str, fetch_seconds: float
) -> diagnosis_pb2.DiagnosisResult:
    """Put into a result what the supervisor knows better than the executor that wrote it."""
    environment = result.environment
    environment.device = grant.device
    environment.torch_version = grant.torch_version
    environment.gradclinic_version = gradclinic_version
    environment.sandbox_level = grant.sandbox_level
    timings = [timing for timing in environment.timings if _is_sound(timing)]
    fetch = diagnosis_pb2.StageTiming(stage=diagnosis_pb2.DIAGNOSIS_STAGE_FETCH)
    fetch.duration.FromNanoseconds(round(fetch_seconds * 1e9))
    del environment.timings[:]
    environment.timings.extend([fetch, *timings])
    return result


def _is_sound(timing: diagnosis_pb2.StageTiming) -> bool:
    return (
        timing.stage in EXECUTOR_STAGES
        and 0 <= timing.duration.seconds <= _MAX_STAGE_SECONDS
        and 0 <= timing.duration.nanos < _NANOSECONDS_PER_SECOND
    )
