"""Records: what is stored in parts comes back whole."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradclinic.v1 import diagnosis_pb2, flow_pb2
from gradclinic_store import indexes
from gradclinic_store.errors import BadPageToken
from gradclinic_store.record import artifacts_of, fingerprint, result_fingerprint, split_result, to_message
from store_cases import result_of

if TYPE_CHECKING:
    from gradclinic_store.record import Fields

SPEC = diagnosis_pb2.DiagnosisSpec(
    model_sha256="a",
    inputs_sha256="b",
    target_sha256="b",
    loss=diagnosis_pb2.LossSpec(functional=diagnosis_pb2.FunctionalLoss(tensor_options_sha256="c")),
    labels={"x": "1", "y": "2"},
)


def fields() -> Fields:
    return {
        b"id": b"7",
        b"spec": SPEC.SerializeToString(),
        b"state": b"3",
        b"stage": b"0",
        b"progress": b"1",
        b"attempt": b"2",
        b"revision": b"9",
        b"request_id": b"",
        b"create_ms": b"1700000000123",
    }


def test_a_result_in_two_parts_is_one_result() -> None:
    summary, flow = split_result(result_of())
    message = to_message({**fields(), b"summary": summary}, flow)
    assert message.result == result_of()
    assert message.create_time.ToMilliseconds() == 1_700_000_000_123
    assert len(to_message({**fields(), b"summary": summary}).result.sites) == 0


def test_a_flow_that_was_stored_before_flows_were_compressed_is_read() -> None:
    result = result_of()
    summary, _ = split_result(result)
    old = diagnosis_pb2.DiagnosisResult(sites=result.sites, parameters=result.parameters)
    assert to_message({**fields(), b"summary": summary}, old.SerializeToString()).result == result
    assert to_message({**fields(), b"summary": summary}, b"").result.verdict == result.verdict


@given(st.floats(width=32))
def test_what_was_measured_in_single_precision_is_kept_exactly(number: float) -> None:
    assert repr(number) == repr(kept(number))


@given(st.floats(allow_nan=False))
def test_other_numbers_keep_seven_digits_and_their_range(number: float) -> None:
    assert abs(kept(number)) <= abs(number)
    if abs(number) > sys.float_info.min:
        assert math.isclose(number, kept(number), rel_tol=2.0**-23)


def kept(number: float) -> float:
    """Return what is stored of a number."""
    site = flow_pb2.Site(gradient_rms_by_call=[number])
    site.activation.rms = number
    split = to_message({**fields(), b"summary": b""}, split_result(diagnosis_pb2.DiagnosisResult(sites=[site]))[1])
    (stored,) = split.result.sites
    assert repr(stored.activation.rms) == repr(stored.gradient_rms_by_call[0])
    return stored.activation.rms


def test_a_record_without_an_end_has_none() -> None:
    message = to_message(fields())
    assert not message.HasField("result")
    assert not message.HasField("failure")
    assert not message.HasField("end_time")


def test_each_artifact_is_named_once() -> None:
    assert artifacts_of(SPEC) == ["a", "b", "c"]
    assert artifacts_of(diagnosis_pb2.DiagnosisSpec(loss=diagnosis_pb2.LossSpec(module_sha256="m"))) == ["m"]


def test_fingerprints() -> None:
    other = diagnosis_pb2.DiagnosisSpec()
    other.CopyFrom(SPEC)
    assert fingerprint(other) == fingerprint(SPEC)
    other.timeout.seconds = 5
    other.priority = 1
    assert fingerprint(other) != fingerprint(SPEC)
    assert result_fingerprint(other) == result_fingerprint(SPEC)
    other.labels["x"] = "3"
    assert result_fingerprint(other) != result_fingerprint(SPEC)


@given(st.integers(0, 2**63), st.text(max_size=20), st.dictionaries(st.text(), st.text(), max_size=3))
def test_page_tokens_come_back(below: int, run: str, labels: dict[str, str]) -> None:
    wanted = diagnosis_pb2.DiagnosisFilter(run=run, labels=labels)
    assert indexes.read_page_token(indexes.page_token(below, wanted, "a"), wanted, "a") == below


@given(st.text(max_size=40))
def test_any_other_text_is_no_page_token(token: str) -> None:
    with pytest.raises(BadPageToken):
        indexes.read_page_token(token, diagnosis_pb2.DiagnosisFilter(), "a")
