"""Runs the benchmarks, prints a table and writes the numbers as JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import warnings
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from bench.measured import Measured

BENCHES = (
    "upload",
    "latency",
    "throughput",
    "analysis",
    "graph",
    "vetting",
    "load",
    "record",
    "reading",
)  # modules of this package, each with `measure`


def main() -> int:
    """Measures what was asked for; the exit status is 1 where an aim was missed and `--strict` was given."""
    options = _options()
    warnings.filterwarnings("ignore", "`torch.jit")  # we know, see docs/decisions
    console = Console(width=max(100, Console().width))
    rows: list[Measured] = []
    for name in options.only or BENCHES:
        console.print(f"[dim]measuring {name} ...[/dim]", highlight=False)
        rows += importlib.import_module(f"bench.{name}").measure(smoke=options.smoke)
    console.print(_table(rows, smoke=options.smoke))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(_report(rows, smoke=options.smoke), indent=2) + "\n")
    console.print(f"written to {options.output}", highlight=False)
    return 1 if options.strict and any(row.met is False for row in rows) else 0


def _options() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    arguments.add_argument("--only", action="append", choices=BENCHES, help="only this one; may be repeated")
    arguments.add_argument("--smoke", action="store_true", help="tiny sizes: shows that it runs, measures nothing")
    arguments.add_argument("--strict", action="store_true", help="exit with 1 where an aim was missed")
    arguments.add_argument("--output", type=Path, default=Path("build/bench.json"), help="default: %(default)s")
    return arguments.parse_args()


def _table(rows: list[Measured], *, smoke: bool) -> Table:
    table = Table(title="Smoke sizes: these numbers mean nothing" if smoke else None)
    table.add_column("bench")
    table.add_column("what", ratio=1)
    table.add_column("measured", justify="right")
    table.add_column("aim", justify="right")
    table.add_column("met")
    for row in rows:
        met = {True: "yes", False: "no", None: ""}[row.met]
        table.add_row(row.bench, row.what, f"{row.value:.3g}", row.aim, met)
    return table


def _report(rows: list[Measured], *, smoke: bool) -> dict[str, object]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "smoke": smoke,
        "machine": {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("gradclinic", "torch", "grpcio", "redis", "rq")},
        "rows": [
            {name: value for name, value in asdict(row).items() if value not in (float("inf"), float("-inf"))}
            | {"met": row.met}
            for row in rows
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
