"""Checks on a CUDA machine what no machine without one can show; `--device cpu` is a dry run of the same steps."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
import traceback
import warnings
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from gpu.check import Check

STEPS = ("demo", "memory_limit", "synchronisations", "analysis_cost", "same_findings")  # modules, each with `check`


def main() -> int:
    """Run the steps; the exit status is 1 where one failed, 2 where the device is missing."""
    options = _options()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.stderr.write(f"torch {torch.__version__} finds no CUDA device. `--device cpu` is a dry run.\n")
        return 2
    warnings.filterwarnings("ignore", "`torch.jit")  # we know, see docs/decisions
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    console = Console(width=max(100, Console().width), highlight=False)
    checks: list[Check] = []
    for name in options.only or STEPS:
        console.print(f"[dim]{name} ...[/dim]")
        checks += _step(name, device, smoke=options.smoke)
    console.print(_table(checks))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(_report(checks, device), indent=2) + "\n")
    console.print(f"written to {options.output}")
    return 1 if any(check.outcome == "FAILED" for check in checks) else 0


def _options() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="make gpu-check ARGS=...", description=__doc__)
    arguments.add_argument("--device", default="cuda:0", help="default: %(default)s; cpu is a dry run")
    arguments.add_argument("--only", action="append", choices=STEPS, help="only this step; may be repeated")
    arguments.add_argument("--smoke", action="store_true", help="tiny sizes: shows that it runs, measures nothing")
    arguments.add_argument("--output", type=Path, default=Path("build/gpu.json"), help="default: %(default)s")
    return arguments.parse_args()


def _step(name: str, device: torch.device, *, smoke: bool) -> list[Check]:
    began = time.perf_counter()
    try:
        found: list[Check] = importlib.import_module(f"gpu.{name}").check(device, smoke=smoke)
    except Exception:  # noqa: BLE001 - a step that raises has failed; the others still run
        found = [Check("runs to its end", outcome="FAILED", said=traceback.format_exc())]
    seconds = round(time.perf_counter() - began, 1)
    for check in found:
        check.step, check.step_seconds = name, seconds
    return found


def _table(checks: list[Check]) -> Table:
    table = Table()
    for heading in ("step", "what", "outcome", "said"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        table.add_row(check.step, check.what, check.outcome, check.said)
    return table


def _report(checks: list[Check], device: torch.device) -> dict[str, object]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return {
        "device": f"{device} {name}".strip(),
        "torch": torch.__version__,
        "checks": [asdict(check) for check in checks],
    }


if __name__ == "__main__":
    sys.exit(main())
