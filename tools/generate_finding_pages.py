"""Generates docs/findings from the rules' own pages; with --check only tells whether the committed ones are current."""

import argparse
import sys
from pathlib import Path

from gradclinic_engine.records import Symptom
from gradclinic_engine.rules import RULES

ROOT = Path(__file__).resolve().parent.parent
COMMITTED = ROOT / "docs" / "findings"
NOTE = "<!-- Generated from engine/gradclinic_engine/rules by `make pages`; do not edit. -->"


def pages() -> dict[str, str]:
    """File name and text of every page."""
    found = {f"{rule.code}.md": f"{NOTE}\n# {rule.code}\n\n{_markdown(rule.page)}" for rule in RULES}
    lines = [NOTE, "# Findings", "", "`gradclinic explain CODE` prints the same pages.", ""]
    for symptom in Symptom:
        rules = [rule for rule in RULES if rule.symptom is symptom]
        if rules:
            lines += [f"## {symptom.heading}", "", "| code | what it says |", "| --- | --- |"]
            lines += [f"| [`{rule.code}`]({rule.code}.md) | {rule.summary} |" for rule in rules]
            lines.append("")
    return found | {"README.md": "\n".join(lines)}


def _markdown(page: str) -> str:
    """The page with blank lines around headings, lists and code, as Markdown readers want them."""
    lines: list[str] = []
    for line in page.strip().splitlines():
        before = lines[-1] if lines else ""
        starts_list = line.startswith("- ") and not before.startswith(("- ", "  "))
        starts_code = line.startswith("    ") and not before.startswith("    ")
        ends_heading = before.startswith("#")
        if before and (starts_list or starts_code or ends_heading):
            lines.append("")
        lines.append(line)
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes or checks the pages; the exit code is 1 where a check fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail on missing, changed and orphaned pages"
    )
    arguments = parser.parse_args()
    wanted = pages()
    present = {path.name: path.read_text() for path in COMMITTED.glob("*")} if COMMITTED.is_dir() else {}
    wrong = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    if not arguments.check:
        COMMITTED.mkdir(parents=True, exist_ok=True)
        for name, text in wanted.items():
            (COMMITTED / name).write_text(text)
        for name in present.keys() - wanted.keys():
            (COMMITTED / name).unlink()
        print(f"{len(wanted)} pages, {len(wrong)} changed")
        return 0
    for name in wrong:
        print(f"docs/findings/{name} is not what `make pages` writes")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
