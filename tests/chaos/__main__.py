"""Plays scenes of faults, some at a time, prints a table of what came of them, and writes it as JSON."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from chaos.report import report_of, tables_of
from chaos.scenes import SCENES, play

if TYPE_CHECKING:
    from chaos.ledger import Ledger

AT_ONCE = 3  # they mostly wait


def main() -> int:
    """Play what was asked for; the exit status is 1 where a promise was broken."""
    options = _options()
    console = Console(width=max(120, Console().width), highlight=False)
    started = time.monotonic()
    ledgers = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(AT_ONCE, mp_context=context, max_tasks_per_child=1) as pool:
        for done in as_completed([pool.submit(play, name) for name in options.only or SCENES]):
            ledgers.append(done.result())
            console.print(f"[dim]{_line(ledgers[-1])}[/dim]")
    report = report_of(ledgers, time.monotonic() - started)
    for table in tables_of(ledgers, report):
        console.print(table)
    for breach in report["breaches"]:
        console.print(breach, style="red", markup=False)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n")
    console.print(f"written to {options.output}")
    return 1 if report["breaches"] else 0


def _options() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="make chaos ARGS=...", description=__doc__)
    arguments.add_argument("--only", action="append", choices=SCENES, help="only this scene; may be repeated")
    arguments.add_argument("--output", type=Path, default=Path("build/chaos.json"), help="where to write the numbers")
    return arguments.parse_args()


def _line(ledger: Ledger) -> str:
    broken = f", {len(ledger.breaches)} breaches" if ledger.breaches else ""
    faults, accepted = sum(ledger.faults.values()), len(ledger.accepted)
    return f"{ledger.scene}: {faults} faults, {accepted} accepted, {ledger.details['seconds']:.0f} s{broken}"


if __name__ == "__main__":
    sys.exit(main())
