"""The pages: complete, the same in the terminal and in docs, and found by a code that is nearly right."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gradclinic.cli.explain import explain
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.records import Symptom
from gradclinic_engine.rules import RULES

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = ["What it means", "Why it happens", "How it is measured", "Example", "What to do"]


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.code) for rule in RULES])
def test_a_page_has_all_its_sections(rule: Rule) -> None:
    assert SECTIONS == [line.removeprefix("## ") for line in rule.page.splitlines() if line.startswith("## ")]
    assert rule.summary.endswith(".")


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.code) for rule in RULES])
def test_explain_prints_the_page(rule: Rule) -> None:
    shown = CliRunner().invoke(explain, [rule.code])
    assert (0, rule.code) == (shown.exit_code, shown.output.splitlines()[0])
    assert "".join(rule.summary.replace("`", "").split()) in "".join(shown.output.split())
    assert max(map(len, shown.output.splitlines())) <= 100


def test_explain_alone_lists_all_codes() -> None:
    shown = CliRunner().invoke(explain, [])
    assert 0 == shown.exit_code
    assert all(f"  {rule.code} " in shown.output for rule in RULES)
    headings = [line for line in shown.output.splitlines() if line.isupper()]
    assert [symptom.heading.upper() for symptom in Symptom if symptom is not Symptom.TRAINING] == headings


def test_a_wrong_code_is_a_usage_error_with_near_ones() -> None:
    shown = CliRunner().invoke(explain, ["dead-rleu"])
    assert 2 == shown.exit_code
    assert "dead-relu" in shown.output
    assert 2 == CliRunner().invoke(explain, ["xyzzy"]).exit_code


def test_the_documentation_is_what_the_rules_say() -> None:
    check = [sys.executable, str(ROOT / "tools" / "generate_finding_pages.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stdout)


def test_rules_need_no_torch() -> None:
    loaded = (
        "import sys, gradclinic.cli.explain, gradclinic_worker.report; "
        "print('torch' in sys.modules, 'redis' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert "False False\n" == done.stdout
