"""The figure: what is drawn where, also of values that have no place on a logarithmic scale."""

from __future__ import annotations

import builtins
import io
import math
from typing import TYPE_CHECKING, Any

import pytest

from gradclinic import ExtraMissing
from page_cases import EMPTY, SICK, deep, hostile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gradclinic.records import Diagnosis


def texts(figure: Figure) -> list[str]:
    return [each.get_text() for axes in figure.axes for each in axes.texts]


def test_the_panels() -> None:
    figure = SICK.plot()
    assert ["RMS", "gain", "share, %"] == [axes.get_ylabel() for axes in figure.axes]
    assert ["log", "log", "linear"] == [axes.get_yscale() for axes in figure.axes]
    assert "CRITICAL: dead-relu, unused-parameter" == figure.get_suptitle()


def test_zero_missing_and_non_finite_have_rows_of_their_own() -> None:
    assert {"zero", "none", "NaN/Inf", "1 dead-relu"} == set(texts(SICK.plot()))


def test_lines_break_where_there_is_no_number() -> None:
    lines = {line.get_label(): line.get_ydata() for line in SICK.plot().axes[0].lines}
    gradient = [float(value) for value in lines["gradient RMS"]]  # type: ignore[arg-type, union-attr]  # an array of floats
    assert [True, True, True, False, False, True, False] == [math.isnan(value) for value in gradient]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("diagnosis", [SICK, EMPTY, hostile(), deep(100)], ids=["sick", "empty", "hostile", "deep"])
def test_it_can_be_saved(diagnosis: Diagnosis) -> None:
    written = io.BytesIO()
    diagnosis.plot().savefig(written, format="svg")
    assert b"<svg" in written.getvalue()


def test_without_flow_it_says_so() -> None:
    assert ["This diagnosis has no gradient flow (SUCCEEDED)."] == [each.get_text() for each in EMPTY.plot().texts]


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    importing = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError(name=name)
        return importing(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ExtraMissing, match=r"pip install 'gradclinic\[plot\]'"):
        SICK.plot()
