"""Every field of a result survives the way to protobuf and back."""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import Enum
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gradclinic import codec
from gradclinic.v1 import diagnosis_pb2
from gradclinic_engine import measurements, records
from gradclinic_engine.records import DiagnosisResult, Environment, Evidence
from gradclinic_engine.request import Stage

NAMES = {**vars(measurements), **vars(records)}
PLAIN = {
    int: st.integers(0, 2**31 - 1),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    str: st.text(max_size=8),
}
SECONDS = st.integers(0, 10**12).map(lambda nanoseconds: nanoseconds / codec.NANOSECONDS_PER_SECOND)
SPECIAL = {
    # An empty text and an empty index are absent on the wire.
    (Evidence, "text"): st.none() | st.text(min_size=1, max_size=8),
    (Evidence, "element"): st.none() | st.lists(st.integers(0, 2**40), min_size=1, max_size=3).map(tuple),
    (Environment, "seconds_by_stage"): st.dictionaries(st.sampled_from([stage.value for stage in Stage]), SECONDS),
}


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of an annotated type; records with every field drawn."""
    inner = typing.get_args(kind)
    if isinstance(kind, types.UnionType):
        return st.one_of([st.none() if each is types.NoneType else values_of(each) for each in inner])
    if typing.get_origin(kind) is tuple:
        return st.lists(values_of(inner[0]), max_size=2).map(tuple)
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    if kind in PLAIN:
        return PLAIN[kind]
    hints = typing.get_type_hints(kind, NAMES)
    return st.builds(
        kind,
        **{
            each.name: SPECIAL[kind, each.name] if (kind, each.name) in SPECIAL else values_of(hints[each.name])
            for each in dataclasses.fields(kind)
        },
    )


@settings(deadline=None)
@given(values_of(DiagnosisResult))
def test_a_result_survives_the_round_trip(result: DiagnosisResult) -> None:
    wire = codec.result_message(result).SerializeToString()
    assert result == codec.result(diagnosis_pb2.DiagnosisResult.FromString(wire))


def test_what_a_newer_server_sends_is_kept_as_its_number() -> None:
    message = diagnosis_pb2.DiagnosisResult(verdict=99)  # type: ignore[arg-type]  # a value that this client does not know
    assert "99" == codec.result(message).verdict
