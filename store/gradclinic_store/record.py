"""Diagnoses and artifacts as Redis holds them, and as the contract's messages: translation between the two.

One hash holds a diagnosis; its spec, its failure and its result's summary are serialized messages inside it. Sites and
parameters, by far the largest part, have their own key: a progress write or a list never touches them. Serialized
messages concatenate to their merge, so summary and flow together are the result. The flow is compressed; see
docs/decisions/store-record.md.
"""

from __future__ import annotations

import hashlib
import lzma
import struct
from typing import TYPE_CHECKING

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from gradclinic.v1 import artifact_pb2, diagnosis_pb2, finding_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.timestamp_pb2 import Timestamp

Fields = dict[bytes, bytes]

MS_PER_SECOND = 1000
NS_PER_MS = 1_000_000

XZ_MAGIC = b"\xfd7zXZ\x00"  # no message begins like this; small flows, and those of earlier versions, are messages
# Names and shapes of a layer recur in the next ones: a larger dictionary finds no more, and costs memory.
XZ_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 256 * 1024}]
SMALL_FLOW_BYTES = 2048  # less is stored as it is: setting up the compressor takes longer than a tiny forward
SINGLE_PRECISION_MASK = 0xFFFF_FFFF_E000_0000  # of a double: sign, exponent and as much mantissa as a float32 has
_DOUBLE, _BITS = struct.Struct("<d"), struct.Struct("<Q")

# Of the texts of a failure: an exception's message may hold a whole tensor, its trace repeat itself without end.
MESSAGE_BYTES = 4 * 1024
TRACE_BYTES = 16 * 1024
FIELD_BYTES = 256

BRIEF_BYTES = 8 * 1024  # of a result, in a list
LOCATION_BYTES = 1024  # of one finding in it
LISTED_FIELDS = (
    *("id", "state", "stage", "progress", "attempt", "revision", "request_id", "spec"),
    *("create_ms", "start_ms", "end_ms", "expire_ms", "brief", "failure"),
)


def fields_of(flat: Sequence[bytes]) -> Fields:
    """Return the fields of a hash that a script answered as a flat list."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def to_message(fields: Mapping[bytes, bytes], flow: bytes = b"") -> diagnosis_pb2.Diagnosis:
    """Return the diagnosis; without ``flow`` its result has no sites and parameters."""
    message = diagnosis_pb2.Diagnosis(
        id=fields[b"id"].decode(),
        state=diagnosis_pb2.DiagnosisState.ValueType(int(fields[b"state"])),
        stage=diagnosis_pb2.DiagnosisStage.ValueType(int(fields[b"stage"])),
        progress=float(fields[b"progress"]),
        attempt=int(fields[b"attempt"]),
        revision=int(fields[b"revision"]),
        request_id=fields[b"request_id"].decode(),
    )
    message.spec.ParseFromString(fields[b"spec"])
    set_time(message.create_time, fields[b"create_ms"])
    for name, moment in ((b"start_ms", "start_time"), (b"end_ms", "end_time"), (b"expire_ms", "expire_time")):
        if name in fields:
            set_time(getattr(message, moment), fields[name])
    if b"summary" in fields:
        message.result.ParseFromString(fields[b"summary"])
        message.result.MergeFromString(unpacked(flow))
    if b"failure" in fields:
        message.failure.ParseFromString(fields[b"failure"])
    return message


def to_listed(values: Sequence[bytes | None]) -> diagnosis_pb2.Diagnosis:
    """Return the diagnosis in short, as lists have it, from its `LISTED_FIELDS`."""
    fields = {name.encode(): value for name, value in zip(LISTED_FIELDS, values, strict=True) if value is not None}
    message = to_message(fields)
    if b"brief" in fields:
        message.result.ParseFromString(fields[b"brief"])
    if message.HasField("failure"):
        message.failure.ClearField("trace")
    return message


def brief_of(result: diagnosis_pb2.DiagnosisResult) -> bytes:
    """Return what a list says of a result, serialized: verdict, loss and, worst first, which findings where.

    What does not fit into `BRIEF_BYTES` is left out: first the places of findings, then findings.
    """
    brief = diagnosis_pb2.DiagnosisResult(verdict=result.verdict)
    if result.HasField("loss"):
        brief.loss = result.loss
    room_bytes = BRIEF_BYTES
    for finding in result.findings:
        short = finding_pb2.Finding(code=finding.code, symptom=finding.symptom, severity=finding.severity)
        if finding.location.ByteSize() < min(LOCATION_BYTES, room_bytes):
            short.location.CopyFrom(finding.location)
        room_bytes -= short.ByteSize()
        if room_bytes < 0:
            break
        brief.findings.append(short)
    return brief.SerializeToString()


def bounded(failure: diagnosis_pb2.Failure) -> diagnosis_pb2.Failure:
    """Return the failure with texts that are not too long: the beginning of the message, the end of the trace."""
    message, trace = failure.message.encode(), failure.trace.encode()
    whole = diagnosis_pb2.Failure()
    whole.CopyFrom(failure)
    if len(message) > MESSAGE_BYTES:
        whole.message = message[:MESSAGE_BYTES].decode(errors="ignore") + "…"
    if len(trace) > TRACE_BYTES:
        whole.trace = "…" + trace[-TRACE_BYTES:].decode(errors="ignore")
    whole.field = failure.field.encode()[:FIELD_BYTES].decode(errors="ignore")
    return whole


def split_result(result: diagnosis_pb2.DiagnosisResult) -> tuple[bytes, bytes]:
    """Return the result in two parts: the summary, serialized, and the gradient flow (sites and parameters), packed."""
    flow = diagnosis_pb2.DiagnosisResult(sites=result.sites, parameters=result.parameters)
    summary = diagnosis_pb2.DiagnosisResult()
    summary.CopyFrom(result)
    summary.ClearField("sites")
    summary.ClearField("parameters")
    to_single_precision(flow)
    return summary.SerializeToString(), packed(flow.SerializeToString())


def packed(flow: bytes) -> bytes:
    """Return a serialized flow, compressed unless it is small."""
    if len(flow) < SMALL_FLOW_BYTES:
        return flow
    return lzma.compress(flow, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=XZ_FILTERS)


def unpacked(flow: bytes) -> bytes:
    """Return a serialized flow as it was before `packed`."""
    return lzma.decompress(flow, format=lzma.FORMAT_XZ) if flow.startswith(XZ_MAGIC) else flow


def to_single_precision(message: Message) -> None:
    """Cut each double in a message, and in those within it, to the 24 significant bits of a float32, toward zero.

    The exponent keeps its range. What was measured in float32 stays exactly as it is; digits beyond that say nothing
    about a gradient, and no compression makes them smaller.
    """
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in (value,) if isinstance(value, Message) else value:
                to_single_precision(part)
        elif isinstance(value, float):
            setattr(message, field.name, _single(value))
        elif field.type == FieldDescriptor.TYPE_DOUBLE:
            value[:] = [_single(number) for number in value]


def _single(number: float) -> float:
    (bits,) = _BITS.unpack(_DOUBLE.pack(number))
    cut: float = _DOUBLE.unpack(_BITS.pack(bits & SINGLE_PRECISION_MASK))[0]
    return cut


def to_artifact(answer: tuple[Sequence[bytes], bytes | int] | None) -> artifact_pb2.Artifact | None:
    """Return the artifact that a script answered: its hash as a flat list, and when it expires in milliseconds."""
    if answer is None:
        return None
    flat, expire_ms = answer
    fields = fields_of(flat)
    artifact = artifact_pb2.Artifact(
        sha256=fields[b"sha256"].decode(),
        kind=artifact_pb2.ArtifactKind.ValueType(int(fields[b"kind"])),
        format=artifact_pb2.ArtifactFormat.ValueType(int(fields[b"format"])),
        size_bytes=int(fields[b"size_bytes"]),
    )
    set_time(artifact.create_time, fields[b"create_ms"])
    set_time(artifact.expire_time, expire_ms)
    return artifact


def artifacts_of(spec: diagnosis_pb2.DiagnosisSpec) -> list[str]:
    """Return the SHA-256 of every artifact that the spec names, each once."""
    names = [
        spec.model_sha256,
        spec.inputs_sha256,
        spec.target_sha256,
        spec.loss.module_sha256,
        spec.loss.functional.tensor_options_sha256,
    ]
    return list(dict.fromkeys(name for name in names if name))


def fingerprint(spec: diagnosis_pb2.DiagnosisSpec) -> str:
    """Return what two specs share exactly when they ask for the same in every field."""
    return hashlib.sha256(spec.SerializeToString(deterministic=True)).hexdigest()


def result_fingerprint(spec: diagnosis_pb2.DiagnosisSpec) -> str:
    """Return what two specs share when the answer to one is the answer to the other.

    All but the timeout and the priority agrees.

    Run, step and labels count: a diagnosis that is found under another run's name would be no answer.
    """
    relevant = diagnosis_pb2.DiagnosisSpec()
    relevant.CopyFrom(spec)
    relevant.ClearField("timeout")
    relevant.ClearField("priority")
    return fingerprint(relevant)


def set_time(timestamp: Timestamp, milliseconds: bytes | int) -> None:
    """Set a timestamp from milliseconds since the epoch."""
    seconds, rest = divmod(int(milliseconds), MS_PER_SECOND)
    timestamp.seconds = seconds
    timestamp.nanos = rest * NS_PER_MS


def milliseconds(seconds: float) -> int:
    """Return whole milliseconds, at least one."""
    return max(1, round(seconds * MS_PER_SECOND))
