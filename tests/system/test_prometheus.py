"""Prometheus watches the real processes: its configuration, its rules, and every query of the dashboard."""

from __future__ import annotations

import re
import socket
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from gradclinic import Client
from real_stack import RealStack
from system.metric_names import dashboard_expressions, metric_names, rules
from system.prometheus_server import PrometheusServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

REMEDY = "apt-get install prometheus"
SETTLE_TIMEOUT_SECONDS = 30.0
# These have no samples as long as nothing goes wrong and Redis has no limit.
QUIET = {"Sandbox violations A", "annotation Alerts", "Memory of Redis B"}
BUILT_IN = {"up", "ALERTS"}


@pytest.fixture(scope="module")
def ports() -> tuple[int, int, int]:
    with socket.socket() as first, socket.socket() as second, socket.socket() as third:
        for probe in (first, second, third):
            probe.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1], third.getsockname()[1]


@pytest.fixture(scope="module")
def stack(ports: tuple[int, int, int]) -> Iterator[RealStack]:
    service, worker, _ = ports
    with RealStack(
        serve_options=("--metrics-listen", f"127.0.0.1:{service}"),
        work_options=("--metrics-listen", f"127.0.0.1:{worker}"),
    ) as stack:
        stack.add_worker()
        yield stack


@pytest.fixture(scope="module")
def prometheus(
    stack: RealStack, ports: tuple[int, int, int], deploy: Path, program: Callable[[str, str], str]
) -> Iterator[PrometheusServer]:
    """Has scraped before, between and after diagnoses of a broken model."""
    service, worker, port = ports
    targets = {"gradclinic-service": [f"127.0.0.1:{service}"], "gradclinic-worker": [f"127.0.0.1:{worker}"]}
    binary = program("prometheus", REMEDY)
    with PrometheusServer(binary, deploy / "prometheus" / "prometheus.yml", port, targets) as prometheus:
        _await(prometheus, "sum(up)", 2)
        for completed in (1, 2):
            _diagnose(stack.target)
            _await(prometheus, 'max(gradclinic_diagnoses_completed_total{outcome="succeeded"})', completed)
            _await(prometheus, "sum(gradclinic_worker_jobs_total)", completed)
        time.sleep(3)  # so that rates see the last step, and rules the rates
        yield prometheus


def _diagnose(target: str) -> None:
    first = nn.Linear(4, 8)
    nn.init.constant_(first.bias, -100.0)
    model = nn.Sequential(first, nn.ReLU(), nn.Linear(8, 2))
    with Client(target) as client:
        diagnosis = client.diagnose(model, torch.randn(16, 4), target=torch.randint(2, (16,)), loss="cross_entropy")
    assert diagnosis.findings[0].code == "dead-relu"


def _await(prometheus: PrometheusServer, expression: str, value: float) -> None:
    deadline = time.monotonic() + SETTLE_TIMEOUT_SECONDS
    while prometheus.value(expression) != value:
        assert time.monotonic() < deadline, f"{expression} is {prometheus.value(expression)}, not {value}"
        time.sleep(0.2)


def test_configuration_and_rules_are_valid(deploy: Path, program: Callable[[str, str], str]) -> None:
    promtool = program("promtool", REMEDY)
    subprocess.run([promtool, "check", "config", str(deploy / "prometheus" / "prometheus.yml")], check=True)
    tests = [str(path) for path in (deploy / "prometheus" / "tests").glob("*.yml")]
    subprocess.run([promtool, "test", "rules", *tests], check=True)


def test_metrics_pages_are_well_formed(
    stack: RealStack,  # noqa: ARG001, the processes that serve the pages
    ports: tuple[int, int, int],
    program: Callable[[str, str], str],
) -> None:
    promtool = program("promtool", REMEDY)
    for port in ports[:2]:
        check = subprocess.run([promtool, "check", "metrics"], check=False, input=_page(port), capture_output=True)
        assert (0, b"") == (check.returncode, check.stderr)


def test_metrics_that_anything_names_exist(
    prometheus: PrometheusServer, ports: tuple[int, int, int], deploy: Path
) -> None:
    expressions = [
        *dashboard_expressions(deploy / "grafana" / "dashboards" / "gradclinic.json"),
        *rules(deploy / "prometheus" / "rules"),
    ]
    named = {name for _, expression in expressions for name in metric_names(expression)}
    recorded = {rule["name"] for rule in prometheus.rules() if rule["type"] == "recording"}
    assert set() == named - BUILT_IN - recorded - _served(_page(ports[0])) - _served(_page(ports[1]))


def _page(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        page: bytes = reply.read()
    return page


def _served(page: bytes) -> set[str]:
    """Names of the series that a page declares, those without samples included."""
    names = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\w+)$", page.decode(), re.MULTILINE):
        names |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return names


def test_dashboard_queries_answer(prometheus: PrometheusServer, deploy: Path) -> None:
    path = deploy / "grafana" / "dashboards" / "gradclinic.json"
    empty = {where for where, expression in dashboard_expressions(path) if not prometheus.query(expression)}
    assert QUIET == empty


def test_rules_evaluate_and_nothing_fires(prometheus: PrometheusServer) -> None:
    found = prometheus.rules()
    assert [] == [(rule["name"], rule.get("lastError")) for rule in found if rule["health"] != "ok"]
    assert [] == [rule["name"] for rule in found if rule.get("state") == "firing"]


def test_fleet_numbers_are_those_of_the_diagnoses(prometheus: PrometheusServer) -> None:
    assert prometheus.value("max(gradclinic_diagnoses_submitted_total)") == 2
    assert prometheus.value("max(gradclinic_diagnoses_in_flight)") == 0
    assert prometheus.value("sum(gradclinic_workers)") == 1
    assert prometheus.value('max(gradclinic_findings_total{code="dead-relu"})') == 2
