"""Writes what every model of the zoo, and every wild architecture, is diagnosed with, one sorted line each.

The files of two commits are compared by `diff`: a change that must not change any diagnosis shows no difference.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import multiprocessing
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.progress import track

from gradclinic.v1 import diagnosis_pb2, finding_pb2
from zoo import run
from zoo.case import CASES, Case

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTH = "standard"
PARTS = ("wild", "zoo")
PROCESSES = 2


@functools.cache
def part(name: str) -> dict[str, Case]:
    """The cases of a part, by the name that their lines begin with."""
    if name == "zoo":
        run.register()
        found = CASES
    else:
        # Imported here, for what it imports is there only after `make wild-ready`.
        found = importlib.import_module("wild.architecture").architectures()
    return {f"{name}/{case.family}.{case.name}": case for case in found}


def said(finding: finding_pb2.Finding) -> str:
    """A finding in one line: its code, place and severity."""
    severity = finding_pb2.Severity.Name(finding.severity).removeprefix("SEVERITY_")
    return f"{finding.code} @ {run.place(finding)} : {severity}"


def line(name: str) -> str:
    """The line of one case."""
    case = part(name.partition("/")[0])[name]
    torch.manual_seed(run.SEED)
    try:
        result = run.diagnose(case, case.build(), DEPTH)
    except Exception as error:  # noqa: BLE001 - a failure is what its line says
        return f"{name} | {case.form} | failed | {_failure(error)}"
    verdict = finding_pb2.Verdict.Name(result.verdict).removeprefix("VERDICT_")
    found = " ; ".join(said(each) for each in result.findings) or "nothing"
    return f"{name} | {case.form} | {verdict} | {found}"


def _failure(error: Exception) -> str:
    """The reason and the first line of what was said, less the names of temporary files."""
    reason = getattr(error, "reason", None)  # an AnalysisError, whose module differs between the commits compared
    title = type(error).__name__ if reason is None else diagnosis_pb2.FailureReason.Name(reason)
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{title}: " + " ".join("FILE" if tempfile.gettempdir() in word else word for word in text.split())


def _quietly() -> None:
    warnings.simplefilter("ignore")  # tracing and old modules of torch say a lot about the models, nothing about us
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    torch.set_num_threads(1)


def lines(names: list[str]) -> Iterator[str]:
    """The lines of the named cases, each diagnosed in one of a few processes."""
    with multiprocessing.get_context("spawn").Pool(PROCESSES, _quietly) as processes:
        yield from processes.imap_unordered(line, names, chunksize=4)


def main() -> int:
    """Writes the file."""
    parser = argparse.ArgumentParser(prog="python -m zoo.snapshot", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--part", choices=PARTS, help="only this part (default: both)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases whose name contains this")
    arguments = parser.parse_args()
    _quietly()
    parts = [arguments.part] if arguments.part else PARTS
    names = sorted(name for each in parts for name in part(each) if arguments.only in name)
    shown = track(lines(names), "diagnosing", len(names), console=Console(stderr=True), transient=True)
    arguments.file.write_text("".join(f"{each}\n" for each in sorted(shown)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
