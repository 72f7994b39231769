"""Which metrics a PromQL expression, a dashboard and a rule file name."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NOT_A_METRIC = re.compile(
    r"""
    "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*'  # strings
    | \{[^}]*\} | \[[^\]]*\]               # label matchers, ranges
    | \b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)
    | \boffset\s+\S+
    | \b\d[\w.]*                           # numbers and durations
    """,
    re.VERBOSE,
)
_WORD = re.compile(r"[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])")
_KEYWORDS = {"and", "or", "unless", "bool", "inf", "nan"}


def metric_names(expression: str) -> set[str]:
    """The metrics that ``expression`` reads, recorded ones included."""
    return set(_WORD.findall(_NOT_A_METRIC.sub(" ", expression))) - _KEYWORDS


def dashboard_expressions(path: Path) -> Iterator[tuple[str, str]]:
    """Pairs of where a query of the dashboard stands and the query, its variables replaced as Grafana does."""
    dashboard: dict[str, Any] = json.loads(path.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield f"{panel['title']} {target['refId']}", substituted(target["expr"])
    for annotation in dashboard["annotations"]["list"]:
        if "expr" in annotation.get("target", ()):
            yield f"annotation {annotation['name']}", substituted(annotation["target"]["expr"])


def substituted(expression: str, rate_interval: str = "1m") -> str:
    """``expression`` with every variable replaced by what Grafana would put in."""
    expression = expression.replace("$__rate_interval", rate_interval).replace("$queue", ".*")
    if "$" in expression:
        raise ValueError(f"a variable that nobody replaces: {expression}")
    return expression


def rules(folder: Path) -> Iterator[tuple[str, str]]:
    """Pairs of name and expression of every rule, recording and alerting."""
    for path in sorted(folder.glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield rule.get("record") or rule["alert"], rule["expr"]
