"""The findings as cards: where, why, measured, affected, what to do, proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gradclinic import figures
from gradclinic.page.markup import Markup, element, fragment, prose

if TYPE_CHECKING:
    from gradclinic.flow import Spot
    from gradclinic.records import Evidence, Finding, Location, Proof

_AFFECTED_SHOWN: Final = 12


def findings(found: tuple[Finding, ...], spots: tuple[Spot, ...]) -> Markup:
    """All findings, worst first; those that stand in the flow can be pointed at in the chart."""
    cards = [
        _card(finding, number, in_flow=bool(spot.at or spot.affected or spot.edge))
        for number, (finding, spot) in enumerate(zip(found, spots, strict=True), start=1)
    ]
    if not cards:
        cards = [element("p", "Nothing was found that needs a change.", class_="quiet")]
    return element("section", element("h2", "Findings"), *cards, id="findings")


def _card(finding: Finding, number: int, *, in_flow: bool) -> Markup:
    locate = {"type": "button", "class_": "locate", "data_finding": str(number)}
    head = element(
        "header",
        element("span", str(number), class_="number"),
        element("h3", finding.code),
        severity_badge(finding.severity),
        element("span", finding.symptom.replace("_", " ").lower(), class_="symptom"),
        element("button", "Show in the gradient flow", **locate) if in_flow else None,
    )
    rows = [
        ("where", _place(finding.location)),
        ("why", element("p", prose(finding.explanation))),
        ("measured", _evidence_table(finding.evidence) if finding.evidence else None),
        ("do", _remedies(finding.remedies) if finding.remedies else None),
        ("affects", _affected(finding.affected) if finding.affected else None),
        ("proof", _proof(finding.proof) if finding.proof else None),
    ]
    described = [
        fragment(element("dt", label), element("dd", content)) for label, content in rows if content is not None
    ]
    return element(
        "article",
        head,
        element("dl", *described),
        class_=f"finding {_severity_class(finding.severity)}",
        id=f"finding-{number}",
    )


def severity_badge(severity: str) -> Markup:
    """A severity or verdict in its colour."""
    return element("span", severity, class_=f"badge {_severity_class(severity)}")


def _severity_class(severity: str) -> str:
    return severity.lower() if severity in ("CRITICAL", "WARNING", "INFO", "HEALTHY") else "unknown"


def _place(location: Location) -> Markup:
    if location.name is not None:
        place = element("code", location.name)
    elif location.parameter is not None:
        place = fragment("parameter ", element("code", location.parameter))
    elif location.module is not None:
        place = element("code", location.module) if location.module else element("span", "the root module")
    else:
        place = element("span", "the whole model") if location.op is None else fragment()
    operation = None if location.op is None else fragment(" ", element("code", location.op, class_="op"))
    source = location.source
    if source is None:
        return element("p", place, operation)
    line = fragment(
        element("p", f"{source.file}:{source.line}", class_="file"),
        element("pre", element("code", source.text)) if source.text else None,
    )
    return fragment(element("p", place, operation), line)


def _evidence_table(evidence: tuple[Evidence, ...]) -> Markup:
    rows = [element("tr", element("th", each.name, scope="row"), element("td", *_measured(each))) for each in evidence]
    return element("table", element("tbody", *rows), class_="evidence")


def _measured(evidence: Evidence) -> list[str]:
    is_share = evidence.unit == "1" and evidence.name.endswith("_share")

    def worded(value: float) -> str:
        return figures.share(value) if is_share else figures.number(value, evidence.unit)

    parts: list[str] = [element("strong", worded(evidence.value))]
    if evidence.threshold is not None:
        parts.append(element("span", f" · threshold {worded(evidence.threshold)}", class_="quiet"))
    spots = [] if evidence.sample is None else [f"sample {evidence.sample}"]
    if evidence.element is not None:
        spots.append(f"element [{', '.join(map(str, evidence.element))}]")
    if spots:
        parts.append(f" at {', '.join(spots)}")
    if evidence.text:
        parts.append(element("span", " · ", prose(evidence.text), class_="quiet"))
    return parts


def _remedies(remedies: tuple[str, ...]) -> Markup:
    return element("ol", *(element("li", prose(remedy)) for remedy in remedies))


def _affected(names: tuple[str, ...]) -> Markup:
    words = [fragment(element("code", name or "(root module)"), " ") for name in names]
    shown, rest = words[:_AFFECTED_SHOWN], words[_AFFECTED_SHOWN:]
    more = element("details", element("summary", f"{len(rest)} more"), *rest) if rest else None
    return element("div", *shown, more, class_="names")


def _proof(proof: Proof) -> Markup:
    outcome = "confirmed" if proof.confirmed else "not confirmed"
    change = f"{proof.measure} {figures.number(proof.before)} → {figures.number(proof.after)}"
    return element(
        "p",
        f"{proof.intervention}: ",
        element("strong", change),
        " ",
        element("span", outcome, class_=f"proof {'yes' if proof.confirmed else 'no'}"),
    )
