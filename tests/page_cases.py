"""Diagnoses for tests of the page and the plot: a small sick model with every kind of value, and hostile names."""

from __future__ import annotations

import dataclasses
import math
from typing import cast

from gradclinic import translation
from gradclinic.records import (
    Diagnosis,
    Environment,
    Evidence,
    Finding,
    GradientStatus,
    Location,
    MagnitudeHistogram,
    ParameterGradient,
    Proof,
    Severity,
    Site,
    SourceLine,
    Statistics,
    Symptom,
    Unobserved,
    Verdict,
)
from gradclinic.v1 import diagnosis_pb2, finding_pb2

EMPTY = translation.diagnosis(
    diagnosis_pb2.Diagnosis(
        id="0192f0c1-6c1e-7d53-8f3b-9f5d2f6f3c11",
        state=diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED,
        result=diagnosis_pb2.DiagnosisResult(verdict=finding_pb2.VERDICT_HEALTHY),
    )
)
HOSTILE = (
    "</script><script>window.hostile=1</script><img src=x onerror=window.hostile=2>"
    "\"'`&\u2028\u2029\x00\x1b\u202e{{7*7}}"
)
LINE = SourceLine("/home/user/net.py", 12, "return self.act(self.fc(x))")


def statistics(rms: float, nonfinite: int = 0, zeros: int = 0) -> Statistics:
    """Statistics of 64 elements."""
    return Statistics(64, nonfinite, zeros, 0.0, rms, -abs(rms), abs(rms), MagnitudeHistogram(-3, (1, 20, 3)))


def site(index: int, module: str, op: str, activation: Statistics | None, gradient: Statistics | None = None) -> Site:
    """An operation on the gradient's path."""
    return Site(index, Location(module=module, op=op, source=LINE), 1, (8, 8), "float32", True, activation, gradient)  # noqa: FBT003 - a record's field


def parameter(name: str, status: GradientStatus, gradient: Statistics | None) -> ParameterGradient:
    """A trainable parameter."""
    return ParameterGradient(name, name.rpartition(".")[0], (8, 8), "float32", True, status, statistics(0.1), gradient)  # noqa: FBT003


FINDING = Finding(
    code="dead-relu",
    symptom=Symptom.ZERO_GRADIENT,
    severity=Severity.CRITICAL,
    location=Location(module="blocks.1.act", op="aten::relu", source=LINE),
    explanation="All units of `blocks.1.act` are off.",
    evidence=(Evidence("off_share", 1.0, "1", threshold=0.9), Evidence("largest_input", math.nan, "1", sample=3)),
    remedies=("Use `nn.LeakyReLU`.",),
    affected=("blocks.0.fc.weight", "blocks.1.fc.weight"),
    proof=Proof("relu replaced by leaky_relu", "gradient_rms", 0.0, 0.5, confirmed=True),
)
SICK = dataclasses.replace(
    EMPTY,
    verdict=Verdict.CRITICAL,
    findings=(
        FINDING,
        Finding("unused-parameter", Symptom.NO_GRADIENT, Severity.INFO, Location(module="spare"), "It is unused."),
    ),
    sites=(
        site(0, "blocks.0.fc", "aten::linear", statistics(0.5), statistics(0.0, zeros=64)),
        site(1, "blocks.0.act", "aten::relu", statistics(0.4), statistics(0.0, zeros=64)),
        dataclasses.replace(site(2, "", "aten::view", None), requires_grad=True),
        site(3, "blocks.1.fc", "aten::linear", statistics(20.0), statistics(0.0, zeros=64)),
        dataclasses.replace(
            site(4, "blocks.1.act", "aten::relu", statistics(0.0, zeros=64), statistics(1e-3)),
            dead_unit_share=1.0,
            flat_share=0.5,
            gradient_gain=0.0,
        ),
        dataclasses.replace(
            site(5, "loop", "aten::tanh", statistics(0.3), statistics(1e-2)),
            calls=3,
            gradient_gain=2.0,
            gradient_rms_by_call=(0.0, 1e-3, math.nan),
        ),
        site(6, "side", "aten::linear", statistics(0.7)),
        dataclasses.replace(
            site(7, "head", "aten::log", statistics(math.nan, 64), statistics(3.0, 2)), gradient_gain=math.inf
        ),
    ),
    parameters=(
        parameter("blocks.0.fc.weight", GradientStatus.ZERO, statistics(0.0, zeros=64)),
        parameter("blocks.1.fc.weight", GradientStatus.ZERO, statistics(0.0, zeros=64)),
        parameter("spare.weight", GradientStatus.MISSING, None),
        parameter("head.weight", GradientStatus.NON_FINITE, statistics(math.nan, 64)),
    ),
    unobserved=(Unobserved("spare", "it was not called"),),
    notes=("The model was traced.",),
    loss=math.nan,
    environment=Environment("cpu", "2.13.0", "0.1.0", "process", 1 << 28, 0, 2, {"FORWARD": 0.01}),
)


def hostile() -> Diagnosis:
    """A model all of whose names, lines and messages try to get out of where they stand."""
    location = Location(module=HOSTILE, parameter=HOSTILE, op=HOSTILE, source=SourceLine(HOSTILE, 1, HOSTILE))
    finding = dataclasses.replace(
        FINDING,
        code=HOSTILE,
        symptom=cast("Symptom", HOSTILE),
        severity=cast("Severity", HOSTILE),
        location=location,
        explanation=HOSTILE,
        evidence=(Evidence(HOSTILE, 1.0, HOSTILE, text=HOSTILE),),
        remedies=(HOSTILE,),
        affected=(HOSTILE,),
        proof=Proof(HOSTILE, HOSTILE, 0.0, 1.0, confirmed=False),
    )
    sites = tuple(dataclasses.replace(each, location=location, dtype=HOSTILE) for each in SICK.sites)
    parameters = tuple(
        dataclasses.replace(each, name=HOSTILE, module=HOSTILE, status=cast("GradientStatus", HOSTILE), dtype=HOSTILE)
        for each in SICK.parameters
    )
    spec = dataclasses.replace(
        SICK.spec, loss=HOSTILE, run=HOSTILE, labels={HOSTILE: HOSTILE}, optimizer=HOSTILE, model_sha256=HOSTILE
    )
    return dataclasses.replace(
        SICK,
        id=HOSTILE,
        findings=(finding,),
        sites=sites,
        parameters=parameters,
        spec=spec,
        notes=(HOSTILE,),
        unobserved=(Unobserved(HOSTILE, HOSTILE),),
        environment=Environment(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1, 1, 1, {HOSTILE: 1.0}),
    )


def deep(layers: int = 500) -> Diagnosis:
    """A deep model whose gradient vanishes."""
    sites = tuple(
        site(
            2 * layer + part,
            f"layers.{layer}.{name}",
            op,
            statistics(0.5),
            statistics(10.0 ** (-30 * (1 - layer / layers))),
        )
        for layer in range(layers)
        for part, (name, op) in enumerate((("fc", "aten::linear"), ("act", "aten::tanh")))
    )
    parameters = tuple(
        parameter(f"layers.{layer}.fc.weight", GradientStatus.FLOWING, statistics(1e-9)) for layer in range(layers)
    )
    return dataclasses.replace(SICK, findings=(), verdict=Verdict.HEALTHY, sites=sites, parameters=parameters)
