"""Flags and environment become settings, and settings cross to child processes as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from gradclinic.v1 import diagnosis_pb2, executor_pb2
from gradclinic_worker import command, settings
from gradclinic_worker.cage.sandbox import SandboxLevel
from gradclinic_worker.process import request
from gradclinic_worker.process.child import clean_environment
from gradclinic_worker.settings import ExecutorSettings, WorkerSettings


def parsed(*arguments: str) -> WorkerSettings:
    values: dict[str, Any] = command.work.make_context("work", list(arguments)).params
    return command.settings_from(values)


def test_settings_survive_the_way_to_a_child() -> None:
    here = parsed("--redis", "redis://:secret@example:6379/1", "--spare-executors", "3", "--memory-limit", "1.5GiB")
    assert WorkerSettings.from_json(here.to_json()) == here
    assert ExecutorSettings.from_json(here.executor.to_json()) == here.executor
    assert here.executor.memory_limit_bytes == 3 * 2**29


def test_what_executors_know_holds_no_credential() -> None:
    here = parsed("--redis", "redis://:secret@example:6379/1")
    assert "secret" not in here.executor.to_json()
    assert "redis" not in here.executor.to_json()


def test_defaults_fit_the_machine() -> None:
    here = parsed("--device", "cpu").executor
    assert here.threads == settings.available_cpus()
    assert 0 < here.memory_limit_bytes <= 0.8 * settings.machine_memory_bytes()
    assert here.sandbox is SandboxLevel.CAGE


@pytest.mark.parametrize(("device", "full"), [("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:3", "cuda:3")])
def test_a_device_is_named_in_full(device: str, full: str) -> None:
    here = parsed("--device", device)
    assert (here.executor.device, here.device_kind) == (full, full.partition(":")[0])


@pytest.mark.parametrize("visible", ["", "-1"])
def test_hidden_gpus_do_not_count(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert settings.detected_device() == "cpu"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "tpu"], "'tpu' is not auto, cpu or cuda:N"),
        (["--memory-limit", "lots"], "'lots' is no size"),
        (["--metrics-listen", "9465"], "'9465' is not HOST:PORT"),
        (["--redis", "example:6379"], "redis_url must start with"),
        (["--blob-url", "gs://bucket"], "blob_url: gs:// needs a package"),
        (["--sandbox", "none", "--require-sandbox", "process"], "--require-sandbox process is not met"),
        (["--spare-executors", "0"], "0 is not in the range"),
    ],
)
def test_a_wrong_value_is_a_clear_error(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(command.work, arguments)
    assert (result.exit_code, words in result.output) == (2, True), result.output


def test_the_environment_mirrors_the_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCLINIC_REDIS_URL", "redis://example:6379/5")
    monkeypatch.setenv("GRADCLINIC_THREADS", "3")
    here = parsed()
    assert (here.store.redis_url, here.executor.threads) == ("redis://example:6379/5", 3)


@pytest.mark.parametrize("text", ["", "off"])
def test_metrics_can_be_off(text: str) -> None:
    assert parsed("--metrics-listen", text).metrics_listen is None


@pytest.mark.parametrize(
    ("options", "required"),
    [
        ([], "cage"),
        (["--sandbox", "seccomp"], "seccomp"),
        (["--require-sandbox", "process"], "process"),
        (["--sandbox", "none"], "none"),
    ],
)
def test_less_than_was_asked_for_is_accepted_only_where_that_is_said(options: list[str], required: str) -> None:
    assert required == parsed(*options).executor.required_sandbox


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("docker-compose.yml", "GRADCLINIC_REQUIRE_SANDBOX: ${GRADCLINIC_REQUIRE_SANDBOX:-cage}"),
        ("kubernetes/worker.yaml", "{name: GRADCLINIC_REQUIRE_SANDBOX, value: cage}"),
    ],
)
def test_deployments_demand_the_cage(file: str, words: str) -> None:
    assert words in (Path(__file__).parents[2] / "deploy" / file).read_text()


def test_sandbox_levels_are_ordered() -> None:
    assert sorted(SandboxLevel, key=lambda level: level.rank) == ["none", "process", "seccomp", "cage"]


def test_little_of_the_environment_reaches_a_process_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCLINIC_REDIS_URL", "redis://:secret@example")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    kept = clean_environment()
    assert kept["CUDA_VISIBLE_DEVICES"] == "1"
    assert "secret" not in "".join(kept.values())


def test_a_run_may_take_what_was_asked_for_up_to_the_limit() -> None:
    spec = diagnosis_pb2.DiagnosisSpec()
    assert request.run_seconds(spec, 300.0) == 300.0
    spec.timeout.FromMilliseconds(1500)
    assert request.run_seconds(spec, 300.0) == 1.5
    spec.timeout.FromSeconds(9999)
    assert request.run_seconds(spec, 300.0) == 300.0


def test_only_named_artifacts_are_fetched() -> None:
    spec = diagnosis_pb2.DiagnosisSpec(model_sha256="m", inputs_sha256="i", target_sha256="t")
    spec.loss.functional.tensor_options_sha256 = "o"
    assert [attachment for attachment, _, _ in request.wanted_artifacts(spec)] == [
        executor_pb2.ATTACHMENT_MODEL,
        executor_pb2.ATTACHMENT_INPUTS,
        executor_pb2.ATTACHMENT_TARGET,
        executor_pb2.ATTACHMENT_LOSS_OPTIONS,
    ]


def test_help_shows_each_setting_with_its_variable() -> None:
    text = CliRunner().invoke(command.work, ["--help"]).output
    for option in command.work.params:
        if isinstance(option, click.Option) and option.name != "help":
            assert str(option.envvar) in text.replace("\n", "").replace(" ", "")
