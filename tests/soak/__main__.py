"""Runs many small diagnoses on a real stack, prints what its processes and its Redis hold, and writes it as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from soak.bounds import breaches, slope, warm
from soak.soaking import MIB_BYTES, Soak, soak

SAMPLES = 40


def main() -> int:
    """Soak; the exit status is 1 where something grew beyond its bound."""
    arguments = argparse.ArgumentParser(prog="make soak ARGS=...", description=__doc__)
    arguments.add_argument("--jobs", type=int, default=10_000, help="how many diagnoses")
    arguments.add_argument("--minutes", type=float, default=60.0, help="no longer than this")
    arguments.add_argument("--workers", type=int, default=1, help="how many workers")
    arguments.add_argument("--output", type=Path, default=Path("build/soak.json"), help="where to write the numbers")
    options = arguments.parse_args()
    warnings.filterwarnings("ignore", "`torch.jit")  # we know, see docs/decisions
    console = Console(width=max(100, Console().width), highlight=False)
    with console.status(f"0 of {options.jobs:,} diagnoses") as status:

        def tell(jobs: int) -> None:
            status.update(f"{jobs:,} of {options.jobs:,} diagnoses")

        sample_every = max(25, options.jobs // SAMPLES)
        run = soak(options.jobs, sample_every, options.minutes * 60, options.workers, tell)
    found = breaches(run)
    console.print(_table(run))
    for breach in found:
        console.print(breach, style="red")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    report = {"seconds": run.seconds, "outcomes": run.outcomes, "balance": run.balance, "breaches": found}
    report |= {"samples": [asdict(sample) for sample in run.samples]}
    options.output.write_text(json.dumps(report, indent=2) + "\n")
    console.print(f"written to {options.output}")
    return 1 if found else 0


def _table(run: Soak) -> Table:
    samples = warm(run.samples)
    first, last = samples[0], samples[-1]
    jobs = [float(sample.jobs) for sample in samples]
    rate = run.samples[-1].jobs / run.seconds
    table = Table(title=f"{last.jobs} jobs in {run.seconds:.0f} s ({rate:.1f} per second); {run.outcomes}")
    for heading in ("what", f"after {first.jobs}", f"after {last.jobs}", "per 1,000 jobs"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for name in last.rss_bytes:
        values = [sample.rss_bytes.get(name, 0) / MIB_BYTES for sample in samples]
        table.add_row(f"memory of {name}, MiB", *_row(jobs, values, ".1f"))
    for name in last.descriptors:
        table.add_row(
            f"descriptors of {name}", *_row(jobs, [float(s.descriptors.get(name, 0)) for s in samples], ".0f")
        )
    table.add_row("processes of workers", *_row(jobs, [float(s.processes) for s in samples], ".0f"))
    table.add_row("files", *_row(jobs, [float(s.files) for s in samples], ".0f"))
    table.add_row("Redis keys", *_row(jobs, [float(s.redis_keys) for s in samples], ".0f"))
    table.add_row("Redis memory, MiB", *_row(jobs, [s.redis_bytes / MIB_BYTES for s in samples], ".2f"))
    table.add_row("families of lasting keys", str(len(run.keys_before)), str(len(run.keys_after)), "")
    return table


def _row(jobs: list[float], values: list[float], form: str) -> tuple[str, str, str]:
    return f"{values[0]:{form}}", f"{values[-1]:{form}}", f"{1000 * slope(jobs, values):+.2f}"


if __name__ == "__main__":
    sys.exit(main())
