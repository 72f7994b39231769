"""Runs every zoo model through the engine and reports recall, localisation and false alarms per code."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file

from gradclinic.v1 import diagnosis_pb2 as pb
from gradclinic.v1 import executor_pb2, finding_pb2
from gradclinic_worker import analysis
from gradclinic_worker.errors import AnalysisError
from zoo import cases, truth
from zoo.case import CASES, Built, Case

SEED = 1234
RESULTS = Path("build/zoo.json")
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


def archive(case: Case, built: Built, path: Path) -> None:
    """Writes the case's model as TorchScript in the form it asks for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if case.form == "script":
            module = torch.jit.script(built.model)
        else:
            module = torch.jit.trace(built.model, built.inputs, check_trace=False, strict=False)
        torch.jit.save(module, str(path))


def request(built: Built, folder: Path) -> tuple[pb.DiagnosisSpec, dict[executor_pb2.Attachment.ValueType, str]]:
    """Writes inputs and target, and says what to diagnose."""
    files = {executor_pb2.ATTACHMENT_MODEL: str(folder / "model.pt")}
    spec = pb.DiagnosisSpec(depth=pb.DEPTH_QUICK, seed=SEED, output=built.output)
    inputs = {str(position): each.detach().contiguous().clone() for position, each in enumerate(built.inputs)}
    save_file(inputs, folder / "inputs")
    files[executor_pb2.ATTACHMENT_INPUTS] = str(folder / "inputs")
    if built.loss == "model":
        spec.loss.model.SetInParent()
    elif built.loss is None:
        spec.loss.random_projection.SetInParent()
    else:
        spec.loss.functional.name = built.loss
        spec.loss.functional.options.update(dict(built.options))
    if built.target is not None:
        target = dict(built.target) if isinstance(built.target, Mapping) else {"target": built.target}
        save_file({name: each.contiguous().clone() for name, each in target.items()}, folder / "target")
        files[executor_pb2.ATTACHMENT_TARGET] = str(folder / "target")
    return spec, files


def diagnose(case: Case, built: Built) -> pb.DiagnosisResult:
    """The diagnosis of a built case, in this process."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        archive(case, built, folder / "model.pt")
        spec, files = request(built, folder)
        return analysis.analyse(spec, files, device=torch.device("cpu"), entered=lambda *_: None)


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


def run(case: Case) -> Outcome:
    """Builds, checks the truth of, and diagnoses one case."""
    code = case.expected.code if case.expected else None
    torch.manual_seed(SEED)
    built = case.build()
    untrue = truth.fault_is_real(case, built) if case.expected else truth.learns(built)
    built.model.zero_grad(set_to_none=True)
    started = time.perf_counter()
    try:
        result = diagnose(case, built)
    except AnalysisError as error:
        return Outcome(case.name, code, time.perf_counter() - started, problem=f"failed: {error.message}")
    except Exception as error:  # noqa: BLE001 - a crash is the outcome of a case, not of the zoo
        text = f"crashed: {type(error).__name__}: {error}"
        return Outcome(case.name, code, time.perf_counter() - started, problem=text[:300])
    outcome = judge(case, result, time.perf_counter() - started)
    outcome.problem = f"the case is not true: {untrue}" if untrue else ""
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


def main() -> int:
    """Prints the table and writes build/zoo.json; fails when a case is untrue or an aim is missed."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", default="", help="only cases whose name contains this")
    only = arguments.parse_args().only
    for module in pkgutil.iter_modules(cases.__path__):
        importlib.import_module(f"zoo.cases.{module.name}")
    torch.set_num_threads(1)
    outcomes = [run(case) for case in CASES if only in case.name]
    by_code: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_code[outcome.expected or "(healthy)"].append(outcome)
    for code, group in sorted(by_code.items()):
        right = sum(each.recognised for each in group) if code != "(healthy)" else sum(not each.found for each in group)
        located = sum(each.located for each in group)
        print(f"{code:<28} {right:>3}/{len(group):<3} right  {located:>3} located")
        for each in group:
            wrong = each.problem or each.extra or (each.found if not each.expected else not each.located)
            if wrong:
                print(f"    {each.name}: {each.problem or 'said ' + ('; '.join(each.found) or 'nothing')}")
    numbers = summary(outcomes)
    print("  ".join(f"{name} {value:.3g}" for name, value in numbers.items()))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"summary": numbers, "cases": [asdict(each) for each in outcomes]}, indent=1))
    aims = (numbers["recall"] >= 0.97, numbers["located"] >= 0.93, numbers["faulty_with_extra"] <= 0.05)
    return 0 if all(aims) and not numbers["healthy_with_alarm"] and not numbers["untrue_or_failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
