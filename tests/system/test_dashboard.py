"""The dashboard as a file: what Grafana would trip over, and what a reader would."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from system.metric_names import dashboard_expressions, metric_names, rules

if TYPE_CHECKING:
    from collections.abc import Callable

NODE_CHECK = Path(__file__).parent / "dashboard"


@pytest.fixture
def path(deploy: Path) -> Path:
    return deploy / "grafana" / "dashboards" / "gradclinic.json"


@pytest.fixture
def panels(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    return found


def test_panels_have_ids_of_their_own(panels: list[dict[str, Any]]) -> None:
    ids = [panel["id"] for panel in panels]
    assert sorted(set(ids)) == sorted(ids)


def test_panels_lie_side_by_side_within_the_grid(panels: list[dict[str, Any]]) -> None:
    cells: dict[tuple[int, int], str] = {}
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for cell in itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])):
            assert cells.setdefault(cell, panel["title"]) == panel["title"]


def test_panels_say_what_they_show(panels: list[dict[str, Any]]) -> None:
    assert [] == [panel["title"] for panel in panels if panel["type"] != "row" and not panel.get("description")]


def test_queries_go_to_the_chosen_datasource(panels: list[dict[str, Any]]) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    asked = [target["datasource"] for panel in panels for target in panel.get("targets", ())]
    assert [chosen] * len(asked) == asked


def test_the_default_datasource_is_the_provisioned_one(deploy: Path, path: Path) -> None:
    provisioned = (deploy / "grafana/provisioning/datasources/prometheus.yml").read_text()
    variables = {variable["name"]: variable for variable in json.loads(path.read_text())["templating"]["list"]}
    assert f"uid: {variables['datasource']['current']['value']}\n" in provisioned


def test_recorded_metrics_are_recorded(deploy: Path, path: Path) -> None:
    expressions = [*dashboard_expressions(path), *rules(deploy / "prometheus" / "rules")]
    recorded = {name for name, _ in rules(deploy / "prometheus" / "rules")}
    named = {name for _, expression in expressions for name in metric_names(expression) if ":" in name}
    assert set() == named - recorded


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ('sum by (a) (rate(b_total{c="d"}[5m])) * 60', {"b_total"}),
        ("max(e) by (f) == 0 and on () max(g) == 1", {"e", "g"}),
        ("x:y:z > 14.4 * 0.001 or vector(0)", {"x:y:z"}),
    ],
)
def test_metric_names_are_found(expression: str, named: set[str]) -> None:
    assert named == metric_names(expression)


@pytest.mark.system
def test_dashboard_is_of_grafana_types(path: Path, program: Callable[[str, str], str], tmp_path: Path) -> None:
    """Against the types that Grafana publishes as an npm package, every field of every panel."""
    npm, node = program("npm", "install Node.js"), program("node", "install Node.js")
    shutil.copytree(NODE_CHECK, tmp_path, dirs_exist_ok=True)
    install = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
    subprocess.run(install, cwd=tmp_path, check=True, timeout=100)

    def faults(dashboard: str) -> str:
        (tmp_path / "candidate.json").write_text(dashboard)
        check = [node, "validate.mjs", "candidate.json"]
        return subprocess.run(check, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60).stderr

    dashboard = path.read_text()
    assert faults(dashboard) == ""
    assert "/panels/" in faults(dashboard.replace('"drawStyle": "line"', '"drawStyle": "lines"', 1))
    assert "/panels/" in faults(dashboard.replace('"type": "stat"', '"type": "singlestat"', 1))
