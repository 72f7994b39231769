"""Runs every zoo model through the engine and reports recall, localisation and false alarms per code."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import pkgutil
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeAlias

import torch
from rich.console import Console
from rich.progress import track
from safetensors.torch import save_file

from gradclinic.v1 import diagnosis_pb2 as pb
from gradclinic.v1 import executor_pb2, finding_pb2
from gradclinic_engine.errors import AnalysisError
from gradclinic_worker import analysis
from zoo import cases, truth
from zoo.case import CASES, Built, Case

# What is asked, and where the files of each attachment lie.
Request: TypeAlias = "tuple[pb.DiagnosisSpec, dict[executor_pb2.Attachment.ValueType, str]]"

SEED = 1234
CPU = torch.device("cpu")
RESULTS = Path("build/zoo.json")
DEPTHS = {"quick": pb.DEPTH_QUICK, "standard": pb.DEPTH_STANDARD, "thorough": pb.DEPTH_THOROUGH}
WORSE_THAN_INFO = (finding_pb2.SEVERITY_WARNING, finding_pb2.SEVERITY_CRITICAL)


@dataclass
class Outcome:
    """What the diagnosis of one case said, against what it should have said."""

    name: str
    expected: str | None
    seconds: float
    found: list[str] = field(default_factory=list)
    recognised: bool = False
    located: bool = False
    extra: list[str] = field(default_factory=list)
    problem: str = ""
    family: str = ""
    form: str = ""
    held_out: bool = False


def archive(case: Case, built: Built, path: Path) -> None:
    """Writes the case's model as TorchScript in the form it asks for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if case.form == "script":
            module = torch.jit.script(built.model)
        else:
            module = torch.jit.trace(built.model, built.inputs, check_trace=False, strict=False)
        torch.jit.save(module, str(path))


def request(built: Built, folder: Path, depth: str) -> Request:
    """Writes inputs and target, and says what to diagnose."""
    files = {executor_pb2.ATTACHMENT_MODEL: str(folder / "model.pt")}
    spec = pb.DiagnosisSpec(depth=DEPTHS[depth], seed=SEED, output=built.output)
    inputs = {str(position): each.detach().contiguous().clone() for position, each in enumerate(built.inputs)}
    save_file(inputs, folder / "inputs")
    files[executor_pb2.ATTACHMENT_INPUTS] = str(folder / "inputs")
    if built.loss == "model":
        spec.loss.model.SetInParent()
    elif built.loss is None:
        spec.loss.random_projection.SetInParent()
    elif isinstance(built.loss, torch.nn.Module):
        torch.jit.save(torch.jit.script(built.loss), str(folder / "loss.pt"))
        spec.loss.module_sha256 = hashlib.sha256((folder / "loss.pt").read_bytes()).hexdigest()
        files[executor_pb2.ATTACHMENT_LOSS] = str(folder / "loss.pt")
    else:
        spec.loss.functional.name = built.loss
        spec.loss.functional.options.update(dict(built.options))
    if built.target is not None:
        target = dict(built.target) if isinstance(built.target, Mapping) else {"target": built.target}
        save_file({name: each.contiguous().clone() for name, each in target.items()}, folder / "target")
        files[executor_pb2.ATTACHMENT_TARGET] = str(folder / "target")
    return spec, files


def diagnose(case: Case, built: Built, depth: str) -> pb.DiagnosisResult:
    """The diagnosis of a built case, in this process."""
    with tempfile.TemporaryDirectory() as scratch:
        return analysed(laid_out(case, built, Path(scratch), depth))


def laid_out(case: Case, built: Built, folder: Path, depth: str) -> Request:
    """The request for a built case, its files written into a folder."""
    archive(case, built, folder / "model.pt")
    return request(built, folder, depth)


def analysed(asked: Request, device: torch.device = CPU) -> pb.DiagnosisResult:
    """What the engine answers."""
    spec, files = asked
    return analysis.analyse(spec, files, device=device, entered=lambda *_: None)


def line_of(source: finding_pb2.SourceLine) -> str:
    """The text of a source line; a trace records only its file and number, so it is read here."""
    if source.text or not Path(source.file).is_file():
        return source.text
    return Path(source.file).read_text().splitlines()[source.line - 1]


def at_the_place(case: Case, finding: finding_pb2.Finding) -> bool:
    """Whether a finding names the place that the case expects."""
    expected, location = case.expected, finding.location
    if expected is None:
        return False
    for wanted, got in (
        (expected.module, location.module),
        (expected.parameter, location.parameter),
        (expected.name, location.name),
        (expected.op, location.op),
    ):
        if wanted is not None and got not in ((wanted,) if isinstance(wanted, str) else wanted):
            return False
    return expected.line is None or expected.line in line_of(location.source)


def judge(case: Case, result: pb.DiagnosisResult, seconds: float) -> Outcome:
    """Compares a diagnosis with what the case expects."""
    told = [each for each in result.findings if each.severity in WORSE_THAN_INFO]
    right = [each for each in result.findings if case.expected and each.code == case.expected.code]
    located = [each for each in right if at_the_place(case, each)]
    extra = [each.code for each in told if each not in right[:1] and each not in located[:1]]
    described = [f"{each.code} at {place(each)}" for each in told]
    code = case.expected.code if case.expected else None
    return Outcome(case.name, code, seconds, described, bool(right), bool(located), extra)


def place(finding: finding_pb2.Finding) -> str:
    """The location of a finding in a few words."""
    where = finding.location
    words = [where.name, where.parameter, where.module, where.op, line_of(where.source).strip()]
    return " | ".join(word for word in words if word)


def run(case: Case, depth: str) -> Outcome:
    """Builds, checks the truth of, and diagnoses one case."""
    code = case.expected.code if case.expected else None
    outcome = Outcome(case.name, code, 0.0)
    started = time.perf_counter()
    try:
        torch.manual_seed(SEED)
        built = case.build()
        untrue = truth.fault_is_real(case, built) if case.expected else truth.learns(built)
        built.model.zero_grad(set_to_none=True)
        started = time.perf_counter()
        outcome = judge(case, diagnose(case, built, depth), time.perf_counter() - started)
        outcome.problem = f"the case is not true: {untrue}" if untrue else ""
    except AnalysisError as error:
        outcome.problem = f"failed: {error.message}"
    except Exception as error:  # noqa: BLE001 - a crash is the outcome of a case, not of the zoo
        outcome.problem = f"crashed: {type(error).__name__}: {error}"[:300]
    outcome.seconds = round(time.perf_counter() - started, 3)
    outcome.family, outcome.form, outcome.held_out = case.family, case.form, case.held_out
    return outcome


def summary(outcomes: list[Outcome]) -> dict[str, float]:
    """The numbers that the aims are stated in."""
    sick = [each for each in outcomes if each.expected]
    well = [each for each in outcomes if not each.expected]
    return {
        "faulty": len(sick),
        "healthy": len(well),
        "recall": sum(each.recognised for each in sick) / max(1, len(sick)),
        "located": sum(each.located for each in sick) / max(1, len(sick)),
        "healthy_with_alarm": sum(bool(each.found) for each in well),
        "faulty_with_extra": sum(bool(each.extra) for each in sick) / max(1, len(sick)),
        "untrue_or_failed": sum(bool(each.problem) for each in outcomes),
    }


def aims_met(numbers: Mapping[str, float]) -> bool:
    """Whether a summary meets the aims, and every case is true and was answered."""
    sick = not numbers["faulty"] or (
        numbers["recall"] >= 0.97 and numbers["located"] >= 0.93 and numbers["faulty_with_extra"] <= 0.05
    )
    return bool(sick) and not numbers["healthy_with_alarm"] and not numbers["untrue_or_failed"]


def show(outcomes: list[Outcome]) -> None:
    """Prints a line per code, or per family of healthy models, and below it each case that is not as it should be."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.expected or f"(healthy: {outcome.family})"].append(outcome)
    for name, group in sorted(groups.items()):
        answered = sum(each.recognised if each.expected else not each.found and not each.problem for each in group)
        located = f"{sum(each.located for each in group):>3} located" if group[0].expected else ""
        print(f"{name:<36} {answered:>3}/{len(group):<3} right  {located}".rstrip())
        for each in group:
            wrong = each.problem or each.extra or (each.found if not each.expected else not each.located)
            if wrong:
                print(f"    {each.name}: {each.problem or 'said ' + ('; '.join(each.found) or 'nothing')}")


def register() -> None:
    """Fills CASES, every case with a name of its own in its family."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns of what small random configurations lack
    for module in pkgutil.iter_modules(cases.__path__):
        importlib.import_module(f"zoo.cases.{module.name}")
    twice = sorted(f"{family}.{name}" for (family, name), count in _names().items() if count > 1)
    if twice:
        sys.exit(f"zoo: names of more than one case: {', '.join(twice)}")


def chosen(arguments: argparse.Namespace) -> list[Case]:
    """The cases that the command line asks for."""
    register()
    return [
        case
        for case in CASES
        if arguments.only in case.name
        and arguments.family in case.family
        and arguments.form in {"", case.form}
        and arguments.code in {"", case.expected.code if case.expected else "healthy"}
    ]


def _names() -> Counter[tuple[str, str]]:
    return Counter((case.family, case.name) for case in CASES)


def main() -> int:
    """Prints the table and writes build/zoo.json; 1 when an aim is missed or a case is not true or not answered."""
    parser = argparse.ArgumentParser(prog="make zoo", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases whose name contains this")
    parser.add_argument("--family", default="", metavar="TEXT", help="only cases of files whose name contains this")
    parser.add_argument("--code", default="", help="only cases that expect this code, or `healthy`")
    parser.add_argument("--form", default="", choices=("", "script", "trace"), help="only this form")
    parser.add_argument(
        "--depth", default="standard", choices=DEPTHS, help="how deep (default: standard, the default of the service)"
    )
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help=f"default: {RESULTS}")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # tracing and old modules of torch say a lot about the models, nothing about us
    torch.set_num_threads(1)
    shown = track(chosen(arguments), "diagnosing the zoo", console=Console(stderr=True), transient=True)
    outcomes = [run(case, arguments.depth) for case in shown]
    show(outcomes)
    parts = {
        "all": outcomes,
        "known": [each for each in outcomes if not each.held_out],
        "held_out": [each for each in outcomes if each.held_out],
    }
    numbers = {name: summary(part) for name, part in parts.items() if part}
    for name, part in numbers.items():
        print(f"{name:<9}" + "  ".join(f"{key} {value:.3g}" for key, value in part.items()))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    results = {"depth": arguments.depth, "summary": numbers, "cases": [asdict(each) for each in outcomes]}
    arguments.json.write_text(json.dumps(results, indent=1))
    return 0 if outcomes and aims_met(numbers["all"]) else 1


if __name__ == "__main__":
    sys.exit(main())
