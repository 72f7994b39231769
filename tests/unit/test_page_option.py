"""`--html FILE`: the page is written beside the report, and a place that cannot take it is refused at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic.cli import run
from gradclinic.cli.answer import answer
from gradclinic.cli.exit_codes import FINDINGS, USAGE
from page_cases import SICK

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_page_is_written_beside_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert FINDINGS == answer(SICK, as_json=False, fail_on="critical", page=page)
    assert SICK.to_html() == page.read_text()
    printed = capsys.readouterr()
    assert "dead-relu" in printed.out
    assert f"page written to {page}\n" == printed.err


def test_a_place_that_cannot_take_it_is_refused_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert USAGE == run(["show", "some-id", "--html", str(tmp_path / "absent" / "page.html")])
    assert "is no directory that can be written to" in " ".join(capsys.readouterr().err.split())
