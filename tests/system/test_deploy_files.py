"""Files of deploy/ that a checker can judge without running anything."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

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


def test_kubernetes_manifests_are_valid(deploy: Path, program: Callable[[str, str], str]) -> None:
    manifests = [str(path) for path in sorted((deploy / "kubernetes").glob("*.yaml"))]
    subprocess.run([program("kubernetes-validate", REMEDY), "--strict", *manifests], check=True)
