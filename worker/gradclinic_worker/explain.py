"""The `explain` command: prints the page of a findings code."""

from __future__ import annotations

import difflib
import shutil
import textwrap
from typing import TYPE_CHECKING

import click

from gradclinic_engine.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_WIDTH_COLUMNS = 100


@click.command()
@click.argument("code", required=False)
@click.pass_context
def explain(context: click.Context, code: str | None) -> None:
    """Explains a findings CODE: what it means, how it is measured, what to do.

    Without CODE it lists all codes.
    """
    if code is None:
        for line in overview():
            click.echo(line)
        return
    rule = {rule.code: rule for rule in RULES}.get(code.strip().lower().replace("_", "-"))
    if rule is None:
        near = difflib.get_close_matches(code.lower(), [rule.code for rule in RULES], n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}?" if near else "`gradclinic explain` lists all codes."
        raise click.UsageError(f"There is no code `{code}`. {hint}", context)
    width = min(MAX_WIDTH_COLUMNS, shutil.get_terminal_size().columns)
    for line in rendered(f"# {rule.code}\n\n{rule.page.strip()}", width):
        click.echo(line)


def overview() -> Iterator[str]:
    """All codes with one line each, by section of the catalogue."""
    widest = max(len(rule.code) for rule in RULES)
    section = None
    for rule in RULES:
        if rule.symptom is not section:
            if section is not None:
                yield ""
            section = rule.symptom
            yield click.style(section.heading.upper(), bold=True)
        yield f"  {rule.code:<{widest}}  {rule.summary}"


def rendered(page: str, width: int) -> Iterator[str]:
    """A page for a terminal: headings in bold, paragraphs and items wrapped, code as it is."""
    for block in page.split("\n\n"):
        heading, _, rest = block.partition("\n") if block.startswith("#") else ("", "", block)
        if heading:
            yield click.style(heading.lstrip("# "), bold=True)
        yield from _body(rest, width)
        if rest or heading.startswith("# "):
            yield ""


def _body(text: str, width: int) -> Iterator[str]:
    paragraph: list[str] = []
    for line in [*text.splitlines(), ""]:
        if paragraph and (not line or line.startswith(("- ", "    "))):
            joined = " ".join(part.strip() for part in paragraph)
            hanging = "    " if joined.startswith("- ") else "  "
            yield from textwrap.wrap(joined, width, initial_indent="  ", subsequent_indent=hanging)
            paragraph = []
        if line.startswith("    "):
            yield f"  {line}"
        elif line:
            paragraph.append(line)
