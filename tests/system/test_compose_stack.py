"""The stack of docker-compose.yml on a real engine: built, brought up, used, scaled, watched and stopped."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
import torch
import yaml
from torch import nn

from gradclinic import Client
from system.absent import absent
from system.docker_engine import DockerEngine, NoEngineError
from system.metric_names import dashboard_expressions
from system.prometheus_server import PrometheusApi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.timeout(1800)]

PROJECT = "gradclinic-test"
SETTLE_TIMEOUT_SECONDS = 60.0
# Without Grafana: its image is not one that can be made from Debian packages.
PARTS = ("redis", "service", "worker", "prometheus")


class ComposeStack:
    """The stack under a project name of its own, published on free ports of loopback."""

    def __init__(self, engine: DockerEngine, deploy: Path) -> None:
        self.engine = engine
        self._file = str(deploy / "docker-compose.yml")
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            second.bind(("127.0.0.1", 0))
            self.target, prometheus = (f"127.0.0.1:{probe.getsockname()[1]}" for probe in (first, second))
        self.prometheus = PrometheusApi(f"http://{prometheus}")
        self._settings = {
            "GRADCLINIC_SERVICE_PASSWORD": "serve-secret",
            "GRADCLINIC_WORKER_PASSWORD": "work-secret",
            "GRAFANA_PASSWORD": "unused",
            "GRADCLINIC_ALLOW_ANONYMOUS": "1",  # as in the example, for a port on loopback
            "GRADCLINIC_PUBLISH": self.target,
            "PROMETHEUS_PUBLISH": prometheus,
            "GRADCLINIC_TAG": "test",
            "GRADCLINIC_WORKER_MEMORY": "2g",
            "GRADCLINIC_REQUIRE_SANDBOX": "seccomp",  # Docker before version 23 hides Landlock from containers
            "PIP_NO_INDEX": "1",
        }

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``docker compose *arguments`` on the stack."""
        options = ("--project-name", PROJECT, "--file", self._file)
        return self.engine.run("compose", *options, *arguments, check=check, **self._settings)

    def containers(self, part: str) -> list[str]:
        """Ids of the containers of a part, stopped ones included."""
        return self.compose("ps", "--all", "--quiet", part).stdout.split()


@pytest.fixture(scope="module")
def stack(deploy: Path) -> Iterator[ComposeStack]:
    """Built and up, with two workers."""
    try:
        engine = DockerEngine()
    except NoEngineError as error:
        absent(str(error))
    with engine:
        engine.prepare_builds()
        stack = ComposeStack(engine, deploy)
        stack.compose("build", "service", "worker")
        try:
            stack.compose("up", "--detach", "--wait", "--scale", "worker=2", *PARTS)
            yield stack
        finally:
            print(stack.compose("logs", "--no-color", "--tail", "20", check=False).stdout)  # noqa: T201, shown when a test fails
            stack.compose("down", "--volumes", "--timeout", "1")


@pytest.fixture(scope="module")
def diagnosis_id(stack: ComposeStack) -> str:
    """A diagnosis of a broken model that went through the stack."""
    torch.manual_seed(0)
    first = nn.Linear(4, 8)
    nn.init.constant_(first.bias, -100.0)
    model = nn.Sequential(first, nn.ReLU(), nn.Linear(8, 2))
    with Client(stack.target) as client:
        diagnosis = client.diagnose(model, torch.randn(16, 4), target=torch.randint(2, (16,)), loss="cross_entropy")
    assert (diagnosis.findings[0].code, diagnosis.findings[0].location.module) == ("dead-relu", "1")
    return diagnosis.id


def test_compose_file_resolves_with_the_example_settings(
    deploy: Path, program: Callable[[str, str], str], tmp_path: Path
) -> None:
    filled = (deploy / "env.example").read_text().replace("PASSWORD=\n", "PASSWORD=secret\n")
    (tmp_path / "env").write_text(filled)
    command = [program("docker", "install docker and its compose plugin"), "compose"]
    command += ["--file", str(deploy / "docker-compose.yml"), "--env-file", str(tmp_path / "env"), "--profile", "gpu"]
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    config = subprocess.run([*command, "config"], check=True, capture_output=True, env=environment)
    services = yaml.safe_load(config.stdout)["services"]
    assert {"redis", "service", "worker", "worker-gpu", "prometheus", "grafana"} == set(services)
    for name, service in services.items():
        hardening = (service["read_only"], service["cap_drop"], service["security_opt"], "mem_limit" in service)
        assert (True, ["ALL"], ["no-new-privileges:true"], True) == hardening, name


def test_a_diagnosis_passes_through(diagnosis_id: str) -> None:
    assert diagnosis_id


def test_service_image_holds_no_torch_and_neither_holds_pip(stack: ComposeStack) -> None:
    def imports(image: str, module: str) -> bool:
        command = ("run", "--rm", "--entrypoint", "python", f"{image}:test", "-c", f"import {module}")
        return stack.engine.run(*command, check=False).returncode == 0

    found = {
        (image, module)
        for image in ("gradclinic-service", "gradclinic-worker")
        for module in ("redis", "grpc", "torch", "pip")
        if imports(image, module)
    }
    both = {(image, module) for image in ("gradclinic-service", "gradclinic-worker") for module in ("redis", "grpc")}
    assert {*both, ("gradclinic-worker", "torch")} == found


def test_containers_run_without_privileges(stack: ComposeStack) -> None:
    for part in ("service", "worker"):
        script = "id -u; touch /here 2>&1 | grep -o 'Read-only file system'; grep CapEff /proc/1/status | cut -f 2"
        answer = stack.compose("exec", "--no-TTY", part, "sh", "-c", script).stdout.split("\n")
        assert ["10001", "Read-only file system", "0" * 16, ""] == answer


def test_a_worker_has_no_way_out(stack: ComposeStack) -> None:
    def reached(part: str, address: str) -> bool:
        script = f"import socket; socket.create_connection(('{address}', 50051), 3)"
        return stack.compose("exec", "--no-TTY", part, "python", "-c", script, check=False).returncode == 0

    (service,) = stack.containers("service")
    networks = json.loads(stack.engine.run("inspect", service).stdout)[0]["NetworkSettings"]["Networks"]
    inside, outside = (networks[f"{PROJECT}_{name}"]["IPAddress"] for name in ("backend", "edge"))
    assert (True, True) == (reached("service", inside), reached("service", outside))
    assert (True, False) == (reached("worker", inside), reached("worker", outside))


def test_roles_cannot_administer_redis(stack: ComposeStack) -> None:
    for role, password in (("worker", "work-secret"), ("service", "serve-secret")):
        for command in ("flushall", "config get dir", "acl list", "shutdown", "get elsewhere"):
            login = ("--user", role, "--pass", password, "--no-auth-warning")
            asked = ("exec", "--no-TTY", "redis", "redis-cli", *login, *command.split())
            assert "NOPERM" in stack.compose(*asked).stdout, (role, command)
    anybody = stack.compose("exec", "--no-TTY", "redis", "redis-cli", "get", "gradclinic:counters")
    assert "NOAUTH" in anybody.stdout


@pytest.mark.usefixtures("diagnosis_id")
def test_prometheus_finds_every_process(stack: ComposeStack, deploy: Path) -> None:
    expected = {"prometheus": ["up"], "gradclinic-service": ["up"], "gradclinic-worker": ["up", "up"]}
    deadline = time.monotonic() + SETTLE_TIMEOUT_SECONDS
    while stack.prometheus.health_by_job() != expected:
        assert time.monotonic() < deadline, stack.prometheus.health_by_job()
        time.sleep(1)
    for where, expression in dashboard_expressions(deploy / "grafana" / "dashboards" / "gradclinic.json"):
        assert isinstance(stack.prometheus.query(expression), list), where
    assert stack.prometheus.value("sum(gradclinic_workers)") == 2


def test_what_was_accepted_survives_redis(stack: ComposeStack, diagnosis_id: str) -> None:
    time.sleep(2)  # the file is written once a second
    stack.compose("kill", "redis")
    stack.compose("up", "--detach", "--wait", "redis")
    with Client(stack.target) as client:
        assert client.get(diagnosis_id).findings[0].code == "dead-relu"


def test_sigterm_ends_everything_within_the_grace_period(stack: ComposeStack) -> None:
    stack.compose("stop", "worker", "service")
    ids = [*stack.containers("worker"), *stack.containers("service")]
    codes = stack.engine.run("inspect", "--format", "{{.State.ExitCode}}", *ids).stdout.split()
    assert ["0", "0", "0"] == codes
