"""Settings: what is accepted, and that a wrong value is a clear error at start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from gradclinic.addresses import Address
from gradclinic_service import command
from gradclinic_service.credentials import new_token
from gradclinic_service.identity import Role
from gradclinic_service.settings import ServiceSettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[ServiceSettings]:
    """The settings with which the command would have served."""
    seen: list[ServiceSettings] = []

    async def note(settings: ServiceSettings, on_ready: object) -> None:  # noqa: ARG001, the real one's signature
        seen.append(settings)

    monkeypatch.setattr(command, "serve_until_stopped", note)
    return seen


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(command.serve, arguments, env={k.upper(): v for k, v in environment.items()})


def test_defaults(started: list[ServiceSettings]) -> None:
    result = run()
    assert (0, "") == (result.exit_code, result.output)
    (settings,) = started
    assert Address("localhost", 50051) == settings.listen
    assert Address("localhost", 9464) == settings.metrics_listen
    assert 2 << 30 == settings.store.max_artifact_bytes
    assert (500.0, 100.0) == (settings.store.submissions_per_second, settings.store.tenant_submissions_per_second)
    assert ServiceSettings() == settings


def test_flags_win_over_the_environment(started: list[ServiceSettings]) -> None:
    result = run(
        "--listen",
        "[::1]:1",
        "--max-queued=5",
        gradclinic_listen="localhost:2",
        gradclinic_redis_url="redis://elsewhere:1/2",
        gradclinic_metrics_listen="off",
        gradclinic_max_artifact_bytes="1MiB",
        gradclinic_queue_ttl="7.5",
    )
    assert 0 == result.exit_code, result.output
    (settings,) = started
    assert Address("::1", 1) == settings.listen
    assert settings.metrics_listen is None
    assert "redis://elsewhere:1/2" == settings.store.redis_url
    assert (5, 1 << 20, 7.5) == (
        settings.store.max_queued,
        settings.store.max_artifact_bytes,
        settings.store.queue_ttl_seconds,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--listen", "nowhere"], "'nowhere' is not HOST:PORT"),
        (["--metrics-listen", "x:y"], "'x:y' is not HOST:PORT"),
        (["--redis", "localhost:6379"], "redis_url must start with redis://"),
        (["--blob-url", "gs://bucket"], "blob_url: gs:// needs a package that is not installed"),
        (["--max-artifact-bytes", "lots"], "'lots' is no size"),
        (["--max-artifact-bytes", "8GiB"], "max_artifact_bytes must not be above max_stored_bytes"),
        (["--tenant-max-queued", "1001"], "tenant_max_queued must not be above max_queued"),
        (["--tenant-max-running", "-1"], "-1 is not in the range x>=0"),
        (["--memory-reserve", "1"], "1.0 is not in the range 0<=x<1"),
        (["--queue-ttl", "0"], "0.0 is not in the range x>0"),
        (["--run-limit", "soon"], "'soon' is not a valid float"),
        (["--store-threads", "0"], "0 is not in the range x>=1"),
        (["--tls-certificate", __file__], "--tls-certificate and --tls-private-key go together"),
        (["--tls-certificate", "/nowhere.pem"], "'/nowhere.pem' does not exist"),
        (["--log-level", "loud"], "'loud' is not one of"),
    ],
)
def test_a_wrong_value_is_a_usage_error(arguments: list[str], said: str, started: list[ServiceSettings]) -> None:
    result = run(*arguments)
    assert 2 == result.exit_code
    assert said in " ".join(result.output.split())
    assert [] == started


def test_a_wrong_variable_is_told_with_its_option(started: list[ServiceSettings]) -> None:
    result = run(gradclinic_max_queued="many")
    assert 2 == result.exit_code
    assert "--max-queued" in result.output
    assert [] == started


def test_the_token_file_and_certificates_are_read(started: list[ServiceSettings], tmp_path: Path) -> None:
    tokens, pem = tmp_path / "tokens", tmp_path / "pem"
    tokens.write_text(f"{new_token('speech', Role.SUBMIT)[1]}\n")
    pem.write_bytes(b"pem")
    flags = [f"--token-file={tokens}", f"--tls-certificate={pem}", f"--tls-private-key={pem}"]
    assert 0 == run(*flags).exit_code
    (settings,) = started
    assert tokens == settings.token_file
    assert settings.security is not None
    assert (b"pem", b"pem", b"") == (
        settings.security.certificate,
        settings.security.private_key,
        settings.security.client_authority,
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [("\n# no token\n", "the file contains no tokens"), ("sesame\n", "line 1: expected `ID TENANT ROLE")],
)
def test_a_token_file_that_lets_nobody_in_is_refused(content: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(content)
    result = run(f"--token-file={file}")
    assert 2 == result.exit_code
    assert said in " ".join(result.output.split())


def test_a_tenant_may_have_half_where_there_are_tokens_and_all_where_there_are_none(
    started: list[ServiceSettings], tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{new_token('speech', Role.SUBMIT)[1]}\n")
    assert 0 == run().exit_code
    assert 0 == run(f"--token-file={tokens}").exit_code
    assert 0 == run(f"--token-file={tokens}", "--tenant-max-queued=7", "--tenant-max-stored-bytes=3GiB").exit_code
    found = [
        (s.store.tenant_max_stored_bytes, s.store.tenant_max_queued, s.tenant_max_concurrent_uploads) for s in started
    ]
    assert [(0, 0, 0), (2 << 30, 500, 32), (3 << 30, 7, 32)] == found


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "192.0.2.7:1", "gradclinic.example:1"])
def test_only_this_machine_may_call_a_server_that_asks_nobody_who_they_are(
    listen: str, started: list[ServiceSettings]
) -> None:
    result = run("--listen", listen)
    assert 2 == result.exit_code
    assert "--allow-anonymous" in result.output
    assert [] == started
    assert 0 == run("--listen", listen, "--allow-anonymous").exit_code
    assert 0 == run("--listen", listen, gradclinic_allow_anonymous="1").exit_code


@pytest.mark.parametrize(("listen", "warned"), [("0.0.0.0:1", True), ("localhost:1", False)])
def test_tokens_in_plain_text_are_warned_of(
    listen: str, *, warned: bool, started: list[ServiceSettings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{new_token('speech', Role.SUBMIT)[1]}\n")
    assert 0 == run("--listen", listen, f"--token-file={file}").exit_code
    assert started
    assert warned == ("tokens come in plain text" in caplog.text)


@pytest.mark.parametrize("listen", ["localhost:1", "127.0.0.1:1", "127.5.0.1:1", "[::1]:1"])
def test_on_loopback_nobody_has_to_say_who_they_are(listen: str, started: list[ServiceSettings]) -> None:
    assert 0 == run("--listen", listen).exit_code
    assert started[0].token_file is None


def test_help_shows_each_option_with_its_variable_and_default() -> None:
    text = run("--help").output
    for option in command.serve.params:
        if option.opts == ["--help"]:
            continue
        (flag,) = option.opts
        assert flag in text
        assert str(option.envvar) in text
    for default in ("localhost:50051", "redis://localhost:6379/0", "2GiB", "1000", "0.5"):
        assert f"default: {default}" in " ".join(text.split())
