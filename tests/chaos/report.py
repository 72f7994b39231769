"""What came of all scenes: a report for programs, tables for people."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.table import Table

from chaos.deployment import PARTS
from chaos.kills import PARTS_AT, SIGNALS
from chaos.ledger import Broken

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaos.ledger import Ledger


def report_of(ledgers: Sequence[Ledger], seconds: float) -> dict[str, Any]:
    """Return the numbers of all scenes together, and of each."""
    breaches = [breach for ledger in ledgers for breach in ledger.breaches]
    counts = Counter(breach.promise.value for breach in breaches)
    faults = Counter[str]()
    statuses = Counter[str]()
    for ledger in ledgers:
        faults += ledger.faults
        statuses += ledger.statuses
    return {
        "seconds": round(seconds, 1),
        "faults injected": sum(faults.values()),
        "jobs accepted": sum(len(ledger.accepted) for ledger in ledgers),
        "requests refused": sum(ledger.refused for ledger in ledgers),
        **{promise.value: counts[promise.value] for promise in Broken},
        "longest until a lost job was queued again, seconds": round(
            max((ledger.details.get("back_seconds", 0.0) for ledger in ledgers), default=0.0), 2
        ),
        "statuses callers met": dict(sorted(statuses.items())),
        "faults": dict(sorted(faults.items())),
        "scenes": {ledger.scene: {"accepted": len(ledger.accepted), **ledger.details} for ledger in ledgers},
        "breaches": [f"{breach.promise}: {breach.scene}: {breach.what}" for breach in breaches],
    }


def tables_of(ledgers: Sequence[Ledger], report: dict[str, Any]) -> Iterator[Table]:
    """Yield the table of kills, the one of other faults, and the totals."""
    by_scene = {ledger.scene: ledger for ledger in ledgers}
    signals = ", ".join(f"{signum.name[3]} = {signum.name}" for signum in SIGNALS)
    kills = Table(title=f"who was struck at which stage ({signals}; a breach is shown as !)")
    kills.add_column("stage")
    for part in PARTS:
        kills.add_column(part)
    for stage in PARTS_AT:
        if ledger := by_scene.get(stage):
            kills.add_row(stage, *(_cell(ledger, stage, part) for part in PARTS))
    yield kills
    others = Table("scene", "fault", "times", "accepted", "breaches", title="other faults")
    for scene, ledger in by_scene.items():
        if scene not in PARTS_AT:
            for number, (fault, times) in enumerate(ledger.faults.items()):
                counts = (str(len(ledger.accepted)), str(len(ledger.breaches))) if number == 0 else ("", "")
                others.add_row(scene if number == 0 else "", fault, str(times), *counts)
    if others.rows:
        yield others
    totals = Table("what", "count", title="in all")
    for name, value in report.items():
        if isinstance(value, int | float):
            totals.add_row(name, f"{value:g}")
    yield totals


def _cell(ledger: Ledger, stage: str, part: str) -> str:
    marks = []
    for signum in SIGNALS:
        name = f"{stage} {part} {signum.name}"
        if ledger.faults[name]:
            broken = any(detail.startswith(f"{name} ") for detail in ledger.details)
            marks.append(signum.name[3] + ("!" if broken else ""))
    return " ".join(marks)
