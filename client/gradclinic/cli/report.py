"""A diagnosis as text for a terminal of at most 100 columns, readable without colour."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import click
from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gradclinic import figures
from gradclinic.plain_text import safe

if TYPE_CHECKING:
    from gradclinic.records import Diagnosis, Evidence, Finding, Location, Proof

WIDTH_COLUMNS: Final = 100
_LABEL_COLUMNS: Final = 9
_AFFECTED_SHOWN: Final = 8
_STYLES: Final = {"CRITICAL": "bold red", "WARNING": "bold yellow", "INFO": "cyan", "HEALTHY": "bold green"}
_PLURALS: Final = {"CRITICAL": "critical", "WARNING": "warning", "INFO": "for information"}


def console(*, stderr: bool = False) -> Console:
    """A console that is never wider than 100 columns, and exactly so where it is no terminal."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDTH_COLUMNS
    made = Console(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)
    made.width = min(made.width, WIDTH_COLUMNS)
    return made


def show(content: RenderableType | str) -> None:
    """Prints on standard output; into a file or pipe without the blanks that fill lines up."""
    out = console()
    if out.is_terminal:
        out.print(content)
        return
    with out.capture() as captured:
        out.print(content)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def report(diagnosis: Diagnosis) -> RenderableType:
    """The whole report: verdict, findings, what was not seen, notes."""
    parts: list[RenderableType] = [_headline(diagnosis), *_circumstances(diagnosis)]
    if diagnosis.failure is not None:
        parts.append(_failure(diagnosis))
    if len(diagnosis.findings) > 1:
        parts += [Text(), findings_table(diagnosis.findings)]
    for index, finding in enumerate(diagnosis.findings, start=1):
        parts += [Text(), finding_block(finding, index)]
    if diagnosis.unobserved:
        lines = [f"{safe(item.what) or '(root)'}: {safe(item.reason)}" for item in diagnosis.unobserved]
        parts += [Text(), _list("Not observed", lines)]
    if diagnosis.notes:
        parts += [Text(), _list("Notes", [safe(note) for note in diagnosis.notes])]
    return Group(*parts)


def findings_table(findings: tuple[Finding, ...]) -> Table:
    """One line per finding: how bad, what, where."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=False)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("severity", no_wrap=True)
    table.add_column("code", no_wrap=True)
    table.add_column("where", overflow="fold")
    for index, finding in enumerate(findings, start=1):
        severity = Text(finding.severity, style=_STYLES.get(finding.severity, ""))
        table.add_row(str(index), severity, safe(finding.code), place(finding.location))
    return table


def finding_block(finding: Finding, index: int) -> RenderableType:
    """One finding with everything that is known about it."""
    title = Text.assemble(
        f"{index}. ",
        (finding.severity, _STYLES.get(finding.severity, "")),
        "  ",
        (safe(finding.code), "bold"),
        (f"  ({safe(finding.symptom)})", "dim"),
    )
    rows: list[tuple[str, RenderableType]] = [("where", _where(finding.location)), ("why", _text(finding.explanation))]
    if finding.evidence:
        rows.append(("measured", Group(*map(_evidence, finding.evidence))))
    if finding.affected:
        rows.append(("affects", _text(_affected(finding.affected))))
    if finding.remedies:
        remedies = [f"{n}) {remedy}" if len(finding.remedies) > 1 else remedy for n, remedy in _numbered(finding)]
        rows.append(("do", Group(*map(_text, remedies))))
    if finding.proof is not None:
        rows.append(("proof", _proof(finding.proof)))
    return Group(title, Padding(_grid(rows), (0, 0, 0, 3)))


def place(location: Location) -> str:
    """The location in one line."""
    if location.name is not None:
        return safe(location.name)
    if location.parameter is not None:
        return f"parameter {safe(location.parameter)}"
    parts = [] if location.module is None else [safe(location.module) or "(root module)"]
    if location.op is not None:
        parts.append(safe(location.op))
    return "  ".join(parts) or "(whole model)"


def _headline(diagnosis: Diagnosis) -> Text:
    if diagnosis.verdict is None:
        return Text.assemble((diagnosis.state, "bold"), f"  diagnosis {safe(diagnosis.id)}")
    counts = [
        f"{count} {_PLURALS[severity]}"
        for severity in _PLURALS
        if (count := sum(finding.severity == severity for finding in diagnosis.findings))
    ]
    return Text.assemble((diagnosis.verdict, _STYLES[diagnosis.verdict]), "  ", ", ".join(counts) or "nothing found")


def _circumstances(diagnosis: Diagnosis) -> list[Text]:
    spec, environment = diagnosis.spec, diagnosis.environment
    name = [] if diagnosis.verdict is None else [f"diagnosis {safe(diagnosis.id)}"]
    if spec.run:
        name.append(f"run {safe(spec.run)}" + ("" if spec.step is None else f" step {spec.step}"))
    if diagnosis.reused:
        name.append("answered from an identical earlier request")
    loss = "" if diagnosis.loss is None else f" = {figures.number(diagnosis.loss)}"
    facts = [f"loss {safe(spec.loss)}{loss}", spec.depth.lower()]
    if environment is not None:
        facts.append(safe(environment.device))
    if took := figures.run_time(diagnosis):
        facts.append(took)
    return [Text(" · ".join(line), style="dim") for line in (name, facts) if line]


def _failure(diagnosis: Diagnosis) -> RenderableType:
    failure = diagnosis.failure
    if failure is None:
        return Text()
    rows: list[tuple[str, RenderableType]] = [
        ("reason", Text(safe(failure.reason), style="bold red")),
        ("message", Text(safe(failure.message, lines=True))),
    ]
    if failure.field:
        rows.append(("field", Text(safe(failure.field))))
    if failure.trace:
        rows.append(("trace", Text(safe(failure.trace, lines=True), style="dim")))
    return Padding(_grid(rows), (1, 0, 0, 3))


def _where(location: Location) -> RenderableType:
    lines = [Text(place(location), style="bold", overflow="fold")]
    if location.parameter is not None or location.name is not None:
        beside = [safe(item) for item in (location.module, location.op) if item]
        lines += [Text("in " + "  ".join(beside))] if beside else []
    if location.source is not None:
        source = location.source
        lines.append(Text(f"{safe(source.file)}:{source.line}", overflow="fold"))
        if source.text:
            lines.append(Text(f"  > {safe(source.text)}", overflow="fold"))
    return Group(*lines)


def _evidence(evidence: Evidence) -> Text:
    is_share = evidence.unit == "1" and evidence.name.endswith("_share")
    value = figures.share(evidence.value) if is_share else figures.number(evidence.value, safe(evidence.unit))
    line = f"{safe(evidence.name)} = {value}"
    if evidence.threshold is not None:
        limit = evidence.threshold
        line += f" (threshold {figures.share(limit) if is_share else figures.number(limit, safe(evidence.unit))})"
    spots = [] if evidence.sample is None else [f"sample {evidence.sample}"]
    if evidence.element is not None:
        spots.append(f"element [{', '.join(map(str, evidence.element))}]")
    if spots:
        line += " at " + ", ".join(spots)
    return _text(f"{line}: {evidence.text}" if evidence.text else line)


def _affected(names: tuple[str, ...]) -> str:
    shown = ", ".join(name or "(root module)" for name in names[:_AFFECTED_SHOWN])
    rest = len(names) - _AFFECTED_SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown


def _numbered(finding: Finding) -> list[tuple[int, str]]:
    return list(enumerate(finding.remedies, start=1))


def _proof(proof: Proof) -> Text:
    outcome = "confirmed" if proof.confirmed else "not confirmed"
    change = f"{proof.measure} {figures.number(proof.before)} -> {figures.number(proof.after)}"
    return _text(f"{proof.intervention}: {change} ({outcome})")


def _grid(rows: list[tuple[str, RenderableType]]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=_LABEL_COLUMNS, no_wrap=True)
    grid.add_column(overflow="fold", ratio=1)
    for label, content in rows:
        grid.add_row(Text(label, style="dim"), content)
    return grid


def _list(title: str, lines: list[str]) -> RenderableType:
    items: list[Any] = [Padding(Text(f"- {line}", overflow="fold"), (0, 0, 0, 3)) for line in lines]
    return Group(Text(title, style="bold"), *items)


def _text(text: str) -> Text:
    return Text(safe(" ".join(text.split())), overflow="fold")
