"""From the engine's result to the message that crosses the wire, small enough for one message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic import codec
from gradclinic_engine.records import Unobserved
from gradclinic_worker.limits import MAX_RESULT_BYTES

if TYPE_CHECKING:
    from gradclinic.v1 import diagnosis_pb2, flow_pb2
    from gradclinic_engine.records import DiagnosisResult


def report(result: DiagnosisResult) -> diagnosis_pb2.DiagnosisResult:
    """The message of a result.

    Where it would exceed `MAX_RESULT_BYTES`, first histograms are left out, then the gradients of single
    calls, then the operations that say least; `unobserved` says what.
    """
    message = codec.result_message(result)
    _shrink(message, {index for finding in result.findings for index in finding.sites})
    return message


def _unobserved(what: str, reason: str) -> flow_pb2.Unobserved:
    return codec.unobserved_message(Unobserved(what, reason))


def _shrink(result: diagnosis_pb2.DiagnosisResult, told: set[int]) -> None:
    """Leaves out what says least until the result fits; ``told``: sites that findings stand at."""
    if result.ByteSize() <= MAX_RESULT_BYTES:
        return
    for flow in (*result.sites, *result.parameters):
        for name in ("activation", "weight", "gradient"):
            if name in flow.DESCRIPTOR.fields_by_name and flow.HasField(name):
                getattr(flow, name).ClearField("histogram")
    result.unobserved.append(_unobserved("histograms", "Left out, because the result would be too large."))
    if result.ByteSize() > MAX_RESULT_BYTES:
        for site in result.sites:
            site.ClearField("gradient_rms_by_call")
        result.unobserved.append(
            _unobserved("gradients of single calls", "Left out, because the result would be too large.")
        )
    _drop_sites(result, told)
    _drop_names(result)


def _drop_sites(result: diagnosis_pb2.DiagnosisResult, told: set[int]) -> None:
    reserve_bytes = 1_024  # for saying so
    excess = result.ByteSize() + reserve_bytes - MAX_RESULT_BYTES
    if excess <= reserve_bytes:
        return
    dropped: set[int] = set()
    for site in sorted(result.sites, key=lambda site: _interest(site, told)):
        if excess <= 0:
            break
        dropped.add(site.index)
        excess -= site.ByteSize() + 2  # and at least its tag and length
    kept = [site for site in result.sites if site.index not in dropped]
    del result.sites[:]
    result.sites.extend(kept)
    reason = f"{len(dropped)} of them left out, because the result would be too large."
    result.unobserved.append(_unobserved("operations", reason))


def _interest(site: flow_pb2.Site, told: set[int]) -> tuple[bool, bool, bool, bool]:
    return site.index in told, site.HasField("gradient"), site.HasField("activation"), site.calls > 0


def _drop_names(result: diagnosis_pb2.DiagnosisResult) -> None:
    """The last resort, for models with very many parameters: the end of the longest list goes."""
    if result.ByteSize() <= MAX_RESULT_BYTES:
        return
    total = len(result.parameters)
    while result.parameters and result.ByteSize() > MAX_RESULT_BYTES:
        del result.parameters[len(result.parameters) // 2 :]
    for finding in result.findings:
        if result.ByteSize() > MAX_RESULT_BYTES:
            del finding.affected[len(finding.affected) // 100 :]
    reason = f"All but {len(result.parameters)} of {total} left out, because the result would be too large."
    result.unobserved.append(_unobserved("parameters", reason))
