"""What an executor may say, and what is refused."""

from __future__ import annotations

import math

import pytest

from gradclinic.v1 import diagnosis_pb2, executor_pb2, finding_pb2
from gradclinic_engine import rules
from gradclinic_worker.process import replies
from gradclinic_worker.process.lease import Grant

GRANT = Grant(pid=1, device="cpu", torch_version="2.13.0", sandbox_level="process")


def read(**kind: object) -> replies.Reply:
    return replies.ReplyReader().read(executor_pb2.ExecutorReply(**kind).SerializeToString())  # type: ignore[arg-type]


def stage(value: int, progress: float) -> executor_pb2.StageEntered:
    return executor_pb2.StageEntered(stage=value, progress=progress)  # type: ignore[arg-type]  # also such as are none


def finding(code: str, severity: int = 2) -> diagnosis_pb2.DiagnosisResult:
    one = finding_pb2.Finding(code=code, severity=severity, symptom=finding_pb2.SYMPTOM_LOSS)  # type: ignore[arg-type]
    return diagnosis_pb2.DiagnosisResult(verdict=finding_pb2.VERDICT_WARNING, findings=[one])


def test_progress_stays_in_bounds_and_never_falls() -> None:
    reader = replies.ReplyReader()
    seen = []
    for progress in (-1.0, 0.5, 0.2, 7.0):
        reply = executor_pb2.ExecutorReply(stage=stage(diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD, progress))
        entered = reader.read(reply.SerializeToString())
        assert isinstance(entered, executor_pb2.StageEntered)
        seen.append(entered.progress)
    assert seen == [0.0, 0.5, 0.5, 1.0]


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"stage": stage(diagnosis_pb2.DIAGNOSIS_STAGE_STORE, 0.5)},
        {"stage": stage(77, 0.5)},
        {"stage": stage(diagnosis_pb2.DIAGNOSIS_STAGE_LOAD, math.nan)},
        {"failure": diagnosis_pb2.Failure(reason=diagnosis_pb2.FAILURE_REASON_WORKER_LOST)},
        {"failure": diagnosis_pb2.Failure()},
        {"result": diagnosis_pb2.DiagnosisResult()},
        {"result": finding('dead-relu"} 1\n')},
        {"result": finding("an-invented-code")},
        {"result": finding("dead-relu", severity=9)},
    ],
)
def test_what_an_executor_must_not_say_is_refused(kind: dict[str, object]) -> None:
    with pytest.raises(replies.ReplyRefused):
        read(**kind)


def test_bytes_that_are_no_message_are_refused() -> None:
    with pytest.raises(replies.ReplyRefused):
        replies.ReplyReader().read(b"\xff\xff\xff")


def test_a_flood_of_replies_is_refused() -> None:
    reader = replies.ReplyReader()
    reply = executor_pb2.ExecutorReply(stage=stage(diagnosis_pb2.DIAGNOSIS_STAGE_LOAD, 0.1)).SerializeToString()
    for _ in range(replies.MAX_REPLIES):
        reader.read(reply)
    with pytest.raises(replies.ReplyRefused, match="10000"):
        reader.read(reply)


def test_texts_of_a_failure_are_cut() -> None:
    failure = read(
        failure=diagnosis_pb2.Failure(
            reason=diagnosis_pb2.FAILURE_REASON_FORWARD_ERROR, message="m" * 10**6, trace="t" * 10**6
        )
    )
    assert isinstance(failure, diagnosis_pb2.Failure)
    assert len(failure.message) == replies.MAX_MESSAGE_CHARACTERS
    assert len(failure.trace) == replies.MAX_TRACE_CHARACTERS


def test_more_findings_than_the_engine_ever_has_are_refused() -> None:
    result = finding("dead-relu")
    for _ in range(rules.MAX_FINDINGS):
        result.findings.append(result.findings[0])
    with pytest.raises(replies.ReplyRefused, match=f"{rules.MAX_FINDINGS + 1} findings"):
        read(result=result)


@pytest.mark.parametrize("code", sorted(rules.CODES))
def test_every_code_of_the_catalogue_is_known(code: str) -> None:
    assert read(result=finding(code)) == finding(code)


def test_a_result_passes_unchanged() -> None:
    assert read(result=finding("dead-relu")) == finding("dead-relu")


def test_what_the_supervisor_knows_better_replaces_what_the_executor_claims() -> None:
    result = finding("dead-relu")
    result.environment.sandbox_level = "fort-knox"
    result.environment.device = "cuda:9"
    result.environment.threads = 3
    result.environment.timings.add(stage=diagnosis_pb2.DIAGNOSIS_STAGE_STORE).duration.FromSeconds(1)
    result.environment.timings.add(stage=diagnosis_pb2.DIAGNOSIS_STAGE_LOAD).duration.seconds = -5
    result.environment.timings.add(stage=diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD).duration.FromSeconds(2)
    environment = replies.attest(result, GRANT, "0.1.0", fetch_seconds=0.25).environment
    assert (environment.device, environment.sandbox_level, environment.threads) == ("cpu", "process", 3)
    assert [(timing.stage, timing.duration.ToMilliseconds()) for timing in environment.timings] == [
        (diagnosis_pb2.DIAGNOSIS_STAGE_FETCH, 250),
        (diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD, 2000),
    ]
