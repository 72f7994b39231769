"""Files of deploy/ that a checker can judge without running anything."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.system

REMEDY = "pip install --group system"


def test_dockerfile_is_clean(deploy: Path, program: Callable[[str, str], str]) -> None:
    subprocess.run([program("hadolint", REMEDY), str(deploy / "Dockerfile")], check=True)


def test_shell_scripts_are_clean(deploy: Path, program: Callable[[str, str], str]) -> None:
    scripts = [*deploy.rglob("*.sh"), *deploy.parent.glob("tests/system/*.sh")]
    subprocess.run([program("shellcheck", REMEDY), *map(str, scripts)], check=True)


def test_compose_file_is_of_the_specification(deploy: Path, program: Callable[[str, str], str]) -> None:
    check = [program("check-jsonschema", REMEDY), "--builtin-schema", "vendor.compose-spec"]
    subprocess.run([*check, str(deploy / "docker-compose.yml")], check=True)


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


def test_kubernetes_manifests_are_valid(deploy: Path, program: Callable[[str, str], str]) -> None:
    manifests = [str(path) for path in sorted((deploy / "kubernetes").glob("*.yaml"))]
    subprocess.run([program("kubernetes-validate", REMEDY), "--strict", *manifests], check=True)
