"""What the page's script draws: operations, parameters and where findings stand, as JSON has them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gradclinic import flow
from gradclinic.plain_text import safe

if TYPE_CHECKING:
    from gradclinic.records import Diagnosis, MagnitudeHistogram, ParameterGradient, Site, SourceLine, Statistics


def picture(diagnosis: Diagnosis) -> dict[str, Any]:
    """Everything that is drawn or tabulated by the script. Strings are safe to show, numbers have six digits.

    NaN and infinities are strings, as in protobuf's JSON; what does not apply is left out.
    """
    return {
        "sites": [_site(site) for site in diagnosis.sites],
        "parameters": [_parameter(parameter) for parameter in diagnosis.parameters],
        "findings": [
            _present(
                number=number,
                code=safe(finding.code),
                severity=safe(finding.severity),
                at=list(spot.at),
                affected=list(spot.affected),
                edge=spot.edge,
            )
            for number, (finding, spot) in enumerate(
                zip(diagnosis.findings, flow.spots(diagnosis), strict=True), start=1
            )
        ],
    }


def _site(site: Site) -> dict[str, Any]:
    return _present(
        index=site.index,
        module=safe(site.location.module or ""),
        op=safe(site.location.op or ""),
        source=_source(site.location.source),
        calls=site.calls,
        shape=list(site.shape),
        dtype=safe(site.dtype),
        measured=flow.is_measured(site),
        activationMark=flow.activation_mark(site).value,
        gradientMark=flow.gradient_mark(site).value,
        activation=_statistics(site.activation),
        gradient=_statistics(site.gradient),
        flat=_number(site.flat_share),
        dead=_number(site.dead_unit_share),
        gain=_number(site.gradient_gain),
        byCall=[_number(value) for value in site.gradient_rms_by_call] or None,
    )


def _parameter(parameter: ParameterGradient) -> dict[str, Any]:
    return _present(
        name=safe(parameter.name),
        module=safe(parameter.module),
        shape=list(parameter.shape),
        dtype=safe(parameter.dtype),
        status=safe(parameter.status),
        weight=_statistics(parameter.weight),
        gradient=_statistics(parameter.gradient),
        relative=_number(parameter.relative_gradient),
    )


def _source(source: SourceLine | None) -> dict[str, Any] | None:
    return None if source is None else {"file": safe(source.file), "line": source.line, "text": safe(source.text)}


def _statistics(statistics: Statistics | None) -> dict[str, Any] | None:
    if statistics is None:
        return None
    return _present(
        count=statistics.element_count,
        nonfinite=statistics.nonfinite_count or None,
        zeros=statistics.zero_count or None,
        mean=_number(statistics.mean),
        rms=_number(statistics.rms),
        min=_number(statistics.min),
        max=_number(statistics.max),
        histogram=_histogram(statistics.histogram),
    )


def _histogram(histogram: MagnitudeHistogram | None) -> dict[str, Any] | None:
    return None if histogram is None else {"lowest": histogram.lowest_exponent, "counts": list(histogram.counts)}


def _number(value: float | None) -> float | str | None:
    if value is None or math.isfinite(value):
        return None if value is None else float(f"{value:.6g}")
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _present(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
