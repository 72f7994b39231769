"""Writes what every model of the zoo, and every wild architecture, is diagnosed with, one sorted line each.

The files of two commits are compared by `diff`: a change that must not change any diagnosis shows no difference.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.progress import track

from gradclinic.v1 import finding_pb2
from zoo import run
from zoo.case import CASES, Case

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTH = "standard"
PARTS = ("wild", "zoo")


@functools.cache
def part(name: str) -> dict[str, Case]:
    """The cases of a part, by the name that their lines begin with."""
    if name == "zoo":
        run.register()
        found = {f"{case.family}.{case.name}": case for case in CASES}
    else:
        # Imported here, for what it imports is there only after `make wild-ready`.
        found = importlib.import_module("wild.architecture").architectures()
    return {f"{name}/{own}": case for own, case in found.items()}


def said(finding: finding_pb2.Finding) -> str:
    """A finding in one line: its code, place and severity."""
    severity = finding_pb2.Severity.Name(finding.severity).removeprefix("SEVERITY_")
    return f"{finding.code} @ {run.place(finding)} : {severity}"


def archived(name: str, folder: Path) -> run.Request | str:
    """Builds a case and writes its files; says what failed."""
    case = part(name.partition("/")[0])[name]
    torch.manual_seed(run.SEED)
    folder.mkdir()
    try:
        return run.laid_out(case, case.build(), folder, DEPTH)
    except Exception as error:  # noqa: BLE001 - a failure is what its line says
        return f"not built | {_failure(error)}"


def answer(asked: run.Request) -> str:
    """What a case is diagnosed with; must run where the case's own Python is not loaded, as in the service."""
    try:
        result = run.analysed(asked)
    except Exception as error:  # noqa: BLE001 - a failure is what its line says
        return f"failed | {_failure(error)}"
    verdict = finding_pb2.Verdict.Name(result.verdict).removeprefix("VERDICT_")
    return f"{verdict} | " + (" ; ".join(said(each) for each in result.findings) or "nothing")


def _failure(error: Exception) -> str:
    """The kind and the first line of an error, less the names of temporary files."""
    text = (str(error).strip().splitlines() or [""])[0]
    words = " ".join("FILE" if tempfile.gettempdir() in word else word for word in text.split())
    return f"{type(error).__name__}: {words}"


def _quietly() -> None:
    warnings.simplefilter("ignore")  # tracing and old modules of torch say a lot about the models, nothing about us
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    torch.set_num_threads(1)


def lines(names: list[str]) -> Iterator[str]:
    """The lines of some named cases: one process builds them, another that has never seen their code diagnoses them."""
    processes = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as scratch,
        ProcessPoolExecutor(1, processes, _quietly) as builder,
        ProcessPoolExecutor(1, processes, _quietly) as engine,
    ):
        folders = [Path(scratch) / str(place) for place in range(len(names))]
        builds = (builder.submit(archived, name, folder) for name, folder in zip(names, folders, strict=True))
        build = next(builds)
        for name, folder in zip(names, folders, strict=True):
            asked = build.result()
            build = next(builds, build)  # while the other process is busy
            found = asked if isinstance(asked, str) else engine.submit(answer, asked).result()
            yield f"{name} | {part(name.partition('/')[0])[name].form} | {found}"
            shutil.rmtree(folder)


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
    if not names:
        parser.error(f"no case has a name that contains {arguments.only!r}")
    shown = track(lines(names), "diagnosing", len(names), console=Console(stderr=True), transient=True)
    arguments.file.write_text("".join(f"{each}\n" for each in sorted(shown)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
