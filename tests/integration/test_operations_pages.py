"""The pages of docs/operations can be followed: their commands run as shown, with the accounts of deploy/."""

from __future__ import annotations

import re
import shlex
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis
from click.testing import CliRunner

from gradclinic.cli import gradclinic
from gradclinic.v1 import diagnosis_pb2
from gradclinic_store import Store, StoreSettings
from operations_pages import PAGES, PASSWORD, REDIS_CLI, REDIS_FILES, Operator, commands, give_accounts
from store_cases import result_of, spec_of, started

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from real_redis import RedisServer

RUN_HERE = {"backup.md", "limits.md", "retention.md", "sandbox.md", "tokens.md", "upgrade.md"}


def operated(private_redis: Callable[..., RedisServer], **variables: str) -> tuple[RedisServer, Operator]:
    server = private_redis("--protected-mode", "no")
    give_accounts(server)
    return server, Operator(server, **variables)


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def parsed(line: str) -> None:
    """A `gradclinic` command line is one that the command would take."""
    words = shlex.split(line, comments=True)
    name, *arguments = words[words.index("gradclinic") + 1 :]
    context = gradclinic.make_context("gradclinic", [name])
    command = gradclinic.get_command(context, name)
    assert command is not None
    command.make_context(name, arguments, parent=context)


def test_every_page_is_followed_here() -> None:
    assert RUN_HERE == {page.name for page in PAGES.glob("*.md")}


def test_no_redis_command_stands_outside_of_what_is_run() -> None:
    for page in PAGES.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        shown = len(re.findall(rf"{REDIS_CLI} ", text))
        assert shown == sum(line.startswith(REDIS_CLI) for line in commands(page.name)), page.name


def test_the_operators_alias_is_a_script_of_the_deployment() -> None:
    (alias,) = commands("backup.md", "The operator's account")
    assert alias.endswith("/etc/gradclinic/operator.sh'")
    assert "--user operator" in (REDIS_FILES / "operator.sh").read_text(encoding="utf-8")
    assert "./redis:/etc/gradclinic:ro" in (REDIS_FILES.parent / "docker-compose.yml").read_text(encoding="utf-8")


def test_a_replica_follows_and_takes_over(private_redis: Callable[..., RedisServer]) -> None:
    first, _ = operated(private_redis)
    second, operator = operated(private_redis, PRIMARY_HOST="127.0.0.1", PRIMARY_PORT=str(first.port))
    with Store.connect(StoreSettings(redis_url=first.url)) as store:
        spec = spec_of(store)
        waiting, _ = store.diagnoses.create(spec)
    *follow, told, switch = commands("backup.md", "A replica")
    for line in follow:
        operator.run(line)
    until(lambda: operator.run(told)["master_link_status"] == "up")
    operator.run(switch)
    operator.close()
    with Store.connect(StoreSettings(redis_url=second.url)) as store:
        assert waiting == store.diagnoses.get(waiting.id)
        assert started(store, waiting.id).succeed(result_of())


def test_the_operator_can_neither_wipe_nor_stop_nor_move_files(private_redis: Callable[..., RedisServer]) -> None:
    _, operator = operated(private_redis)
    for line in ("FLUSHALL", "SHUTDOWN NOSAVE", "ACL SETUSER operator +@all", "GET other"):
        with pytest.raises(redis.exceptions.NoPermissionError):
            operator.run(f"{REDIS_CLI} {line}")
    with pytest.raises(redis.exceptions.ResponseError, match="protected"):
        operator.run(f"{REDIS_CLI} CONFIG SET dir /tmp")
    operator.close()


def test_the_roles_cannot_do_what_the_operator_may(private_redis: Callable[..., RedisServer]) -> None:
    server, _ = operated(private_redis)
    client: Any = redis.Redis(port=server.port, username="service", password=PASSWORD)
    for command in (("BGREWRITEAOF",), ("REPLICAOF", "NO", "ONE"), ("CONFIG", "SET", "maxmemory", "0")):
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*command)
    client.close()


def test_limits_who_fills_the_queue(private_redis: Callable[..., RedisServer]) -> None:
    server, operator = operated(private_redis, TENANT="speech")
    with Store.connect(StoreSettings(redis_url=server.url)) as store:
        speech = store.of("speech")
        spec = spec_of(speech)
        first, _ = speech.diagnoses.create(spec)
        speech.diagnoses.create(spec)
        speech.diagnoses.create(spec)
        started(store, first.id)
        assert [2, 1] == [operator.run(line) for line in commands("limits.md")]
    operator.close()


def test_retention_rewrites_the_file_and_forgives_a_model(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    give_accounts(server)
    with Store.connect(StoreSettings(redis_url=server.url)) as store:
        spec = spec_of(store)
        operator = Operator(server, TENANT="default", SHA256=spec.model_sha256)
        crash = diagnosis_pb2.Failure(reason=diagnosis_pb2.FAILURE_REASON_EXECUTOR_CRASHED)
        started(store, store.diagnoses.create(spec)[0].id).fail(crash)
        rewrite, forgive = commands("retention.md", "What deletes it") + commands("retention.md", "Models that crash")
        operator.run(rewrite)
        assert 1 == operator.run(forgive)
        operator.close()


def test_sandbox_and_upgrade_show_commands_that_exist() -> None:
    (line,) = commands("sandbox.md")
    parsed(line)
    assert [] == commands("upgrade.md")


def test_tokens_are_made_shown_and_revoked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("server.pem", "server.key", "roots.pem"):
        (tmp_path / name).touch()
    new, *others = commands("tokens.md", "Who may call")

    def run(line: str) -> str:
        _, *arguments = shlex.split(line, comments=True)
        return CliRunner().invoke(gradclinic, arguments, catch_exceptions=False).output

    first = run(new.replace("/etc/gradclinic/", "")).split("_")[1]
    for line in others:
        parsed(line.replace("/etc/gradclinic/", ""))
    again, listed, revoke = commands("tokens.md", "Change a token")
    run(again)
    assert 2 == len(run(listed).splitlines())
    run(revoke.replace("$ID", first))
    assert first not in run(listed)
