"""The whole page: head with its security policy, then verdict, findings, gradient flow, tables, circumstances."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Final

from gradclinic import flow
from gradclinic.page import circumstances
from gradclinic.page.findings import findings
from gradclinic.page.markup import Markup, element, json_block
from gradclinic.page.picture import picture

if TYPE_CHECKING:
    from gradclinic.records import Diagnosis

_SCRIPTS: Final = ("words.js", "scales.js", "panels.js", "chart.js", "details.js", "tables.js", "start.js")
_STYLES: Final = ("page.css", "flow.css")


def render(diagnosis: Diagnosis) -> str:
    """The page of a diagnosis, finished or not. It needs no network and names no machine but those in the diagnosis."""
    style, script = _together(_STYLES), f'(() => {{\n"use strict";\n{_together(_SCRIPTS)}}})();\n'
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{diagnosis.verdict or diagnosis.state} · gradclinic {diagnosis.id}"),
        element("style", Markup(style)),
    )
    has_flow = bool(diagnosis.sites or diagnosis.parameters)
    body = element(
        "body",
        element("a", "Skip to the findings", href="#findings", class_="skip"),
        circumstances.header(diagnosis),
        element("main", *_sections(diagnosis, has_flow=has_flow)),
        json_block("picture", picture(diagnosis)) if has_flow else None,
        element("script", Markup(script)) if has_flow else None,
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _sections(diagnosis: Diagnosis, *, has_flow: bool) -> list[Markup | None]:
    return [
        circumstances.failure(diagnosis),
        findings(diagnosis.findings, flow.spots(diagnosis)) if diagnosis.verdict is not None else None,
        _gradient_flow() if diagnosis.sites else None,
        _table("operations", "Operations", "operation") if diagnosis.sites else None,
        _table("parameters", "Parameters", "parameter") if diagnosis.parameters else None,
        element("noscript", element("p", "The chart and the tables need JavaScript.")) if has_flow else None,
        circumstances.unobserved(diagnosis),
        circumstances.notes(diagnosis),
        circumstances.request(diagnosis),
        circumstances.environment(diagnosis),
    ]


def _gradient_flow() -> Markup:
    """The places that the script fills: toolbar, chart, details of the selected operation."""
    return element(
        "section",
        element("h2", "Gradient flow"),
        element(
            "p",
            "Forward order from left to right; the gradient flows from right to left. "
            "Drag to zoom, click to keep an operation; with the keyboard: arrows move, + and - zoom, Escape resets.",
            class_="quiet",
        ),
        element("div", class_="toolbar", id="flow-toolbar"),
        element("div", class_="chart", id="flow-chart"),
        element("p", class_="legend", id="flow-legend"),
        element("div", class_="details", id="flow-details"),
        id="flow",
    )


def _table(identifier: str, title: str, row: str) -> Markup:
    """A table's place: its filter, its rows and how many there are."""
    return element(
        "section",
        element(
            "div",
            element("h2", title),
            element("input", type="search", placeholder="Filter", aria_label=f"Filter by {row}"),
            element("span", class_="count quiet", role="status"),
            class_="heading",
        ),
        element("div", element("table"), class_="rows", tabindex="0", role="region", aria_label=title),
        element("button", "Show more", type="button", class_="more", hidden=True),
        id=identifier,
    )


def _policy(style: str, script: str) -> str:
    """Only this very style and script run, and nothing is loaded or sent."""
    parts = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in parts.items())


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _together(names: tuple[str, ...]) -> str:
    folder = resources.files("gradclinic.page")
    return "".join(folder.joinpath(name).read_text("utf-8") for name in names)
