"""`gradclinic explain`: the page of a findings code."""

from __future__ import annotations

import difflib
from itertools import groupby

import click
from rich.console import Group, RenderableType
from rich.markdown import Markdown
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gradclinic.cli.report import show
from gradclinic_engine.records import Symptom
from gradclinic_engine.rules import RULES


@click.command()
@click.argument("code", required=False)
def explain(code: str | None) -> None:
    """Explain a findings CODE: what it means, how it is measured, what to do.

    Without CODE all codes are listed.
    """
    if code is None:
        show(_overview())
        return
    rule = {rule.code: rule for rule in RULES}.get(code.strip().lower().replace("_", "-"))
    if rule is None:
        near = difflib.get_close_matches(code.lower(), [rule.code for rule in RULES], n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}?" if near else "`gradclinic explain` lists all codes."
        raise click.UsageError(f"There is no code `{code}`. {hint}")
    show(Group(Text(rule.code, style="bold"), Text(), Markdown(rule.page.strip())))


def _overview() -> Group:
    """All codes with one line each, by section of the catalogue."""
    widest = max(len(rule.code) for rule in RULES)
    parts: list[RenderableType] = []
    by_section = sorted(RULES, key=lambda rule: list(Symptom).index(rule.symptom))
    for symptom, rules in groupby(by_section, key=lambda rule: rule.symptom):
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(width=widest)
        for rule in rules:
            table.add_row(rule.code, Text(rule.summary))
        parts += [Text()] if parts else []
        parts += [Text(symptom.heading.upper(), style="bold"), Padding(table, (0, 0, 0, 2))]
    return Group(*parts)
