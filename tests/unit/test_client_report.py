"""The report as a reader sees it: complete, within 100 columns, safe for a terminal."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from datetime import UTC, datetime

import pytest
from rich.console import Console

from gradclinic import figures, translation
from gradclinic.cli.report import report
from gradclinic.plain_text import safe
from gradclinic.records import (
    Diagnosis,
    Environment,
    Evidence,
    Failure,
    Finding,
    Location,
    Proof,
    Severity,
    SourceLine,
    Symptom,
    Unobserved,
    Verdict,
)
from gradclinic.v1 import diagnosis_pb2, finding_pb2, flow_pb2

START = datetime(2026, 1, 1, tzinfo=UTC)
EMPTY = translation.diagnosis(
    diagnosis_pb2.Diagnosis(
        id="0192f0c1-6c1e-7d53-8f3b-9f5d2f6f3c11",
        state=diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED,
        result=diagnosis_pb2.DiagnosisResult(verdict=finding_pb2.VERDICT_HEALTHY),
    )
)
DEAD_RELU = Finding(
    code="dead-relu",
    symptom=Symptom.ZERO_GRADIENT,
    severity=Severity.CRITICAL,
    location=Location(
        module="blocks.3.activation",
        op="aten::relu",
        source=SourceLine("/home/user/training/models/tabular.py", 21, "return self.activation(self.linear(x))"),
    ),
    explanation="All 64 units of this activation are off for each of the 32 samples. " * 3,
    evidence=(
        Evidence("dead_unit_share", 1.0, "1", threshold=0.9),
        Evidence("largest_input", -12.33333, "", text="the largest value before it", sample=3, element=(3, 17)),
        Evidence("gradient_rms", math.nan, "1"),
    ),
    remedies=("Initialise the bias with zeros.", "Use LeakyReLU."),
    affected=tuple(f"blocks.{n}.linear.weight" for n in range(12)),
    proof=Proof("relu replaced by leaky_relu", "gradient_rms", 0.0, 0.00123456, confirmed=True),
)
NOTE = Finding(
    "frozen-parameter", Symptom.NO_GRADIENT, Severity.INFO, Location(parameter="stem.weight"), "It is frozen."
)
SICK = dataclasses.replace(
    EMPTY,
    verdict=Verdict.CRITICAL,
    findings=(DEAD_RELU, NOTE),
    unobserved=(Unobserved("head", "it was not called"),),
    notes=("The model was traced.",),
    loss=2.3025851,
    environment=Environment("cpu", "2.13.0", "0.1.0", "process", 1 << 28, 0, 2, {"FORWARD": 0.01}),
    start_time=START,
    end_time=START.replace(microsecond=420_000),
)


def text(diagnosis: Diagnosis, columns: int = 100) -> str:
    stream = io.StringIO()
    Console(file=stream, width=columns, highlight=False, markup=False, emoji=False).print(report(diagnosis))
    return stream.getvalue()


def test_a_report_says_everything_in_order() -> None:
    shown = " ".join(text(SICK).split())
    order = [
        "CRITICAL 1 critical, 1 for information",
        "loss random_projection = 2.303",
        "420 ms",
        "1. CRITICAL dead-relu",
        "blocks.3.activation aten::relu",
        "/home/user/training/models/tabular.py:21",
        "> return self.activation(self.linear(x))",
        "All 64 units",
        "dead_unit_share = 100 % (threshold 90 %)",
        "largest_input = -12.33 at sample 3, element [3, 17]: the largest value before it",
        "gradient_rms = nan",
        "blocks.7.linear.weight and 4 more",
        "1) Initialise the bias with zeros.",
        "2) Use LeakyReLU.",
        "relu replaced by leaky_relu: gradient_rms 0 -> 0.001235 (confirmed)",
        "2. INFO frozen-parameter",
        "parameter stem.weight",
        "Not observed",
        "head: it was not called",
        "Notes",
        "The model was traced.",
    ]
    for part in order:
        before, found, shown = shown.partition(part)
        assert part == found, before


@pytest.mark.parametrize("columns", [40, 80, 100])
def test_a_report_fits(columns: int) -> None:
    long = Location(module=".".join(["layer"] * 60), op="aten::relu", source=SourceLine("x" * 300, 1, "y" * 300))
    diagnosis = dataclasses.replace(SICK, findings=(dataclasses.replace(DEAD_RELU, location=long), NOTE))
    assert columns >= max(map(len, text(diagnosis, columns).splitlines()))


def test_a_healthy_model_says_so() -> None:
    assert "HEALTHY  nothing found" == text(EMPTY).splitlines()[0].rstrip()


def test_a_failure_says_why() -> None:
    failure = Failure("FORWARD_ERROR", "shapes differ\nmat1 and mat2", "spec.inputs_sha256", "at model.py:3")
    shown = " ".join(text(dataclasses.replace(EMPTY, verdict=None, state="FAILED", failure=failure)).split())
    assert shown.startswith("FAILED diagnosis 0192f0c1")
    assert (
        "reason FORWARD_ERROR message shapes differ mat1 and mat2 field spec.inputs_sha256 trace at model.py:3" in shown
    )


def test_names_cannot_steer_the_terminal() -> None:
    evil = "a\x1b]0;title\x07b\u202ec[bold red]d\udc80"
    location = Location(module=evil, op=evil, source=SourceLine(evil, 1, evil))
    finding = dataclasses.replace(
        DEAD_RELU, code=evil, location=location, explanation=evil, remedies=(evil,), affected=(evil,)
    )
    shown = text(dataclasses.replace(SICK, findings=(finding, finding), notes=(evil,)))
    assert not set("\x1b\x07\u202e\udc80") & set(shown)
    assert r"a\x1b]0;title\x07b\u202ec[bold red]d\udc80" in shown


def test_line_breaks_are_kept_only_where_they_are_meant() -> None:
    assert (r"a\nb", "a\nb") == (safe("a\nb"), safe("a\nb", lines=True))


def test_a_diagnosis_is_json() -> None:
    loaded = json.loads(json.dumps(SICK.to_dict(), allow_nan=False))
    assert "NaN" == loaded["findings"][0]["evidence"][2]["value"]
    assert "2026-01-01T00:00:00+00:00" == loaded["start_time"]
    assert None is loaded["findings"][0]["location"]["parameter"]
    assert 0.01 == loaded["environment"]["seconds_by_stage"]["FORWARD"]


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.0, "1", "0"),
        (64.0, "elements", "64 elements"),
        (1e-9, "", "1e-09"),
        (-math.inf, "", "-inf"),
        (2e7, "", "2e+07"),
    ],
)
def test_numbers(value: float, unit: str, expected: str) -> None:
    assert expected == figures.number(value, unit)


def test_shares_are_not_rounded_to_all_or_nothing() -> None:
    assert ["0 %", "100 %", "50 %", "99.99 %", "0.01 %"] == [
        figures.share(value) for value in (0.0, 1.0, 0.5, 0.9999, 0.0001)
    ]


def test_wire_messages_become_records() -> None:
    message = diagnosis_pb2.Diagnosis(id="d", state=diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED, progress=1.0)
    finding = message.result.findings.add(
        code="dead-relu", symptom=finding_pb2.SYMPTOM_ZERO_GRADIENT, severity=finding_pb2.SEVERITY_CRITICAL
    )
    finding.location.module = ""
    finding.evidence.add(name="x", value=math.inf, unit="1", sample=0)
    message.result.verdict = finding_pb2.VERDICT_CRITICAL
    message.result.parameters.add(name="w", status=flow_pb2.GRADIENT_STATUS_MISSING)
    site = message.result.sites.add(index=3)
    site.activation.histogram.counts.extend([1, 2])
    diagnosis = translation.diagnosis(message)
    assert ("CRITICAL", None, None) == (diagnosis.verdict, diagnosis.stage, diagnosis.loss)
    assert Location(module="") == diagnosis.findings[0].location
    assert (0, None) == (diagnosis.findings[0].evidence[0].sample, diagnosis.findings[0].evidence[0].element)
    assert ("MISSING", None) == (diagnosis.parameters[0].status, diagnosis.parameters[0].gradient)
    activation = diagnosis.sites[0].activation
    assert activation is not None
    assert activation.histogram is not None
    assert (1, 2) == activation.histogram.counts


def test_a_value_that_this_client_does_not_know_keeps_its_number() -> None:
    message = diagnosis_pb2.Diagnosis(state=99)  # type: ignore[arg-type]  # from a newer server
    assert "99" == translation.diagnosis(message).state
