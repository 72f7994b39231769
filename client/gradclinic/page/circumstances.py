"""What stands around the findings: the verdict, what was asked for, where it ran, what was not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradclinic import figures
from gradclinic.page.findings import severity_badge
from gradclinic.page.markup import Markup, element, fragment, text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from gradclinic.records import Diagnosis

_PLURALS = {"CRITICAL": "critical", "WARNING": "warning", "INFO": "for information"}
_HASH_CHARACTERS_SHOWN = 12


def header(diagnosis: Diagnosis) -> Markup:
    """The verdict and what the diagnosis is of."""
    spec = diagnosis.spec
    counts = [
        f"{count} {word}"
        for severity, word in _PLURALS.items()
        if (count := sum(finding.severity == severity for finding in diagnosis.findings))
    ]
    outcome = ", ".join(counts) or ("nothing found" if diagnosis.verdict else "no result")
    facts = [f"loss {spec.loss}" + ("" if diagnosis.loss is None else f" = {figures.number(diagnosis.loss)}")]
    if spec.run:
        facts.append(f"run {spec.run}" + ("" if spec.step is None else f", step {spec.step}"))
    facts += [f"{len(diagnosis.sites)} operations", f"{len(diagnosis.parameters)} parameters"]
    if diagnosis.environment is not None:
        facts.append(diagnosis.environment.device)
    return element(
        "header",
        element("p", "gradclinic diagnosis ", element("code", diagnosis.id), class_="name"),
        element("h1", severity_badge(diagnosis.verdict or diagnosis.state), " ", element("span", outcome)),
        element("p", " · ".join(facts), class_="quiet"),
        class_="page-head",
    )


def failure(diagnosis: Diagnosis) -> Markup | None:
    """Why there is no result."""
    failed = diagnosis.failure
    if failed is None:
        return None
    rows = [("reason", failed.reason), ("message", text(failed.message, lines=True)), ("field", failed.field or None)]
    trace = element("pre", text(failed.trace, lines=True)) if failed.trace else None
    return element("section", element("h2", "Why there is no result"), _pairs(rows), trace, class_="failure")


def unobserved(diagnosis: Diagnosis) -> Markup | None:
    """What was not seen, and why."""
    if not diagnosis.unobserved:
        return None
    rows: list[tuple[str, Any]] = [(item.what or "(root)", item.reason) for item in diagnosis.unobserved]
    return element("section", element("h2", "Not observed"), _pairs(rows), id="unobserved")


def notes(diagnosis: Diagnosis) -> Markup | None:
    """Facts about the run that a reader should know."""
    if not diagnosis.notes:
        return None
    listed = element("ul", *(element("li", note) for note in diagnosis.notes))
    return element("section", element("h2", "Notes"), listed, id="notes")


def request(diagnosis: Diagnosis) -> Markup:
    """What was asked for."""
    spec = diagnosis.spec
    rows = [
        ("loss", _with_options(spec.loss, spec.loss_options.items())),
        ("optimizer", _with_options(spec.optimizer, spec.optimizer_options.items()) if spec.optimizer else None),
        ("output", spec.output),
        ("depth", spec.depth.lower()),
        ("seed", str(spec.seed)),
        ("run", spec.run),
        ("step", None if spec.step is None else str(spec.step)),
        ("labels", ", ".join(f"{key}={value}" for key, value in spec.labels.items()) or None),
        ("model", _hash(spec.model_sha256)),
        ("inputs", _hash(spec.inputs_sha256)),
        ("target", _hash(spec.target_sha256)),
    ]
    return element("section", element("h2", "Request"), _pairs(rows), id="request")


def environment(diagnosis: Diagnosis) -> Markup:
    """Where and when it ran, and how long each stage took."""
    found = diagnosis.environment
    rows: list[tuple[str, Any]] = [
        ("accepted", _moment(diagnosis.create_time)),
        ("took", figures.run_time(diagnosis) or None),
        ("attempt", str(diagnosis.attempt) if diagnosis.attempt > 1 else None),
        ("reused", "answered from an identical earlier request" if diagnosis.reused else None),
    ]
    if found is not None:
        memory = figures.size(found.peak_memory_bytes)
        if found.peak_device_memory_bytes:
            memory += f", on the GPU {figures.size(found.peak_device_memory_bytes)}"
        stages = " · ".join(
            f"{stage.lower()} {figures.seconds(spent)}" for stage, spent in found.seconds_by_stage.items()
        )
        rows += [
            ("device", f"{found.device}, {found.threads} threads" if found.threads > 1 else found.device),
            ("torch", found.torch_version),
            ("gradclinic", found.gradclinic_version),
            ("sandbox", found.sandbox_level or None),
            ("peak memory", memory),
            ("stages", stages or None),
        ]
    return element("section", element("h2", "Environment"), _pairs(rows), id="environment")


def _pairs(rows: Iterable[tuple[str, str | None]]) -> Markup:
    shown = [fragment(element("dt", label), element("dd", value)) for label, value in rows if value]
    return element("dl", *shown, class_="pairs")


def _with_options(name: str, options: Iterable[tuple[str, Any]]) -> str:
    listed = ", ".join(f"{key}={value!r}" for key, value in options)
    return f"{name}({listed})" if listed else name


def _hash(sha256: str | None) -> Markup | None:
    return element("code", f"{sha256[:_HASH_CHARACTERS_SHOWN]}…", title=sha256) if sha256 else None


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
