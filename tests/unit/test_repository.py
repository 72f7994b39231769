"""What holds for the whole repository: what imports what at run time, links that lead somewhere, short files."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("client", "store", "service", "worker", "engine")
MAX_LINES = 500


def python_files(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return [path for path in found if path.parent != ROOT / "client" / "gradclinic" / "v1"]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported_by(statement: str) -> set[str]:
    """Names of the top-level packages that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import gradclinic.v1.diagnosis_pb2", {"grpc", "torch", "click", "rich", "redis", "rq"}),
        ("from gradclinic import Client", {"torch", "redis", "rq", "gradclinic_store"}),
        ("import gradclinic.cli", {"torch", "redis", "rq", "gradclinic_store"}),
        ("import gradclinic_service.command, gradclinic_service.server", {"torch", "gradclinic_worker"}),
        ("import gradclinic_store.store", {"torch", "grpc"}),
        ("import gradclinic_worker.analysis", {"grpc", "gradclinic_service", "rq", "redis"}),
        ("import gradclinic_engine.rules", {"torch", "grpc"}),
        ("import gradclinic_worker.job", {"torch", "grpc"}),
    ],
)
def test_a_room_does_not_load_what_is_not_its_own(statement: str, forbidden: set[str]) -> None:
    assert set() == imported_by(statement) & forbidden


def test_rq_is_named_in_exactly_one_file() -> None:
    imports_rq = re.compile(r"^\s*(?:import|from) rq\b", re.MULTILINE)
    users = [relative(path) for path in python_files(*ROOMS) if imports_rq.search(path.read_text())]
    assert ["store/gradclinic_store/queue.py"] == users


def test_only_the_torchscript_front_end_uses_torchs_jit() -> None:
    uses_jit = re.compile(r"torch \. (?:jit|_C|Graph)\b|\bScriptModule\b")
    users = {relative(path.parent) for path in python_files(*ROOMS) if uses_jit.search(_without_strings(path))}
    assert {"engine/gradclinic_engine/torchscript"} == users


def _without_strings(path: Path) -> str:
    """The code of a file; what stands in strings, such as advice to the user, is left out."""
    code = io.StringIO(path.read_text())
    return " ".join(
        each.string
        for each in tokenize.generate_tokens(code.readline)
        if each.type not in {tokenize.STRING, tokenize.COMMENT}
    )


def test_no_file_is_too_long_to_read() -> None:
    lengths = {relative(path): len(path.read_text().splitlines()) for path in python_files(*ROOMS, "tools")}
    assert {} == {path: lines for path, lines in lengths.items() if lines > MAX_LINES}


def test_every_module_says_first_what_it_holds() -> None:
    begins = re.compile(r'(#!.*\n)?r?"""')
    modules = [path for path in python_files(*ROOMS, "tests", "tools") if path.stat().st_size]
    assert [] == [relative(path) for path in modules if not begins.match(path.read_text())]


def test_links_in_the_documentation_lead_somewhere() -> None:
    links = [
        (page, link)
        for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    ]
    local = [(page, link) for page, link in links if "://" not in link]
    assert [] == [f"{relative(page)}: {link}" for page, link in local if not (page.parent / link).exists()]


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs" / "decisions" / "README.md").read_text()
    notes = {path.name for path in (ROOT / "docs" / "decisions").glob("*.md")} - {"README.md"}
    assert set() == {name for name in notes if f"]({name})" not in listed}


def test_every_dependency_is_pinned_for_the_checkout() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = [
        *project["project"]["dependencies"],
        *(each for extra in project["project"]["optional-dependencies"].values() for each in extra),
        *project["dependency-groups"]["test"],
    ]
    pins = (ROOT / "constraints.txt").read_text()
    loose = [each for each in declared if "==" not in each and not each.startswith("gradclinic[")]
    names = {re.match(r"[\w.-]+", each)[0] for each in loose}  # type: ignore[index]  # every requirement has a name
    assert set() == {name for name in names if not re.search(rf"^{re.escape(name)}==", pins, re.MULTILINE)}


def test_make_help_lists_every_target_that_a_person_calls() -> None:
    makefile = (ROOT / "Makefile").read_text()
    described = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert {"help", "demo", "test", "test-system", "lint", "format", "bench", "proto", "clean"} <= described


def test_every_name_that_vulture_ignores_stands_in_the_code() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        ignored = tomllib.load(file)["tool"]["vulture"]["ignore_names"]
    words = {word for path in python_files(*ROOMS, "tools") for word in re.findall(r"\w+", path.read_text())}
    assert [] == [name for name in ignored if name not in words]


def test_the_list_of_changes_names_each_change_once() -> None:
    """It is merged by union, which doubles what two branches have moved."""
    for release in re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE):
        lines = [line for line in release.splitlines() if line.startswith(("### ", "- "))]
        assert list(dict.fromkeys(lines)) == lines
