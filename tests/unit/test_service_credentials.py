"""The token file and the command that keeps it: what is accepted, what is refused, and that no token lies in it."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from gradclinic.v1 import artifact_pb2, diagnosis_pb2, server_pb2
from gradclinic_service import credentials as module
from gradclinic_service.credentials import BadCredentials, CredentialFile, Credentials, digest, new_token
from gradclinic_service.identity import Caller, Role, needed_role
from gradclinic_service.token_command import token as command

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2027, 1, 15, tzinfo=UTC)
DIGEST = digest("x")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, env={"GRADCLINIC_TOKEN_FILE": None})


def test_a_token_is_known_by_its_hash_alone() -> None:
    token, credential = new_token("speech", Role.SUBMIT)
    line = str(credential)
    assert token not in line
    assert token.split("_", 2)[2] not in line
    read = Credentials.parse(line).of_token(token, NOW)
    assert credential == read
    assert Caller("speech", Role.SUBMIT, credential.id) == credential.caller
    assert re.fullmatch(r"gct_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", token)


def test_what_is_not_exactly_the_token_is_nobodys() -> None:
    token, credential = new_token("speech", Role.SUBMIT)
    known = Credentials.parse(str(credential))
    name = credential.id
    for wrong in ("", "gct", f"gct_{name}_", f"gct_{name}_x", token + "x", token[:-1], token.upper(), name, "é" * 50):
        assert known.of_token(wrong, NOW) is None
    other = new_token("vision", Role.ADMIN)[0]
    mixed = f"gct_{name}_{other.split('_', 2)[2]}"
    assert known.of_token(mixed, NOW) is None


def test_several_tokens_of_one_tenant_are_valid_at_once() -> None:
    made = [new_token("speech", role) for role in Role]
    known = Credentials.parse(
        "# comment\n\n" + "\n".join(f"{credential}  # {n}" for n, (_, credential) in enumerate(made))
    )
    assert [credential for _, credential in made] == [known.of_token(token, NOW) for token, _ in made]


def test_a_token_ends_on_its_day() -> None:
    token, credential = new_token("speech", Role.READ, until=NOW)
    known = Credentials.parse(str(credential))
    assert known.of_token(token, NOW - timedelta(seconds=1)) == credential
    assert known.of_token(token, NOW) is None


def test_a_certificate_is_no_token_and_the_other_way_round() -> None:
    known = Credentials.parse(f"a red read certificate:host\nb red read sha256:{DIGEST}")
    assert known.of_certificate(["other", "host"], NOW) == known.by_id["a"]
    assert known.of_certificate([DIGEST], NOW) is None
    assert known.of_token("gct_a_host", NOW) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sesame", "line 1: expected `ID TENANT ROLE"),
        (f"\na red read sha256:{DIGEST} 2027-01-01 more", "line 2: expected"),
        (f"a_b red read sha256:{DIGEST}", "'a_b' is no id"),
        (f"a Red read sha256:{DIGEST}", "'Red' is no tenant's name"),
        (f"a red:blue read sha256:{DIGEST}", "'red:blue' is no tenant's name"),
        (f"a red root sha256:{DIGEST}", "'root' is no role; write read, submit, admin"),
        (f"a red READ sha256:{DIGEST}", "'READ' is no role"),
        ("a red read sha256:abc", "64 lower-case hexadecimal digits"),
        ("a red read md5:abc", "the fourth field is"),
        ("a red read certificate:", "the fourth field is"),
        (f"a red read sha256:{DIGEST} tomorrow", "'tomorrow' is no date"),
        (f"a red read sha256:{DIGEST}\na blue read sha256:{DIGEST}", "line 2: the id a stands there twice"),
        ("a red read certificate:h\nb blue read certificate:h", "a certificate's name stands there twice"),
    ],
)
def test_a_wrong_line_is_told_with_its_number(text: str, said: str) -> None:
    with pytest.raises(BadCredentials, match=re.escape(said)):
        Credentials.parse(text)


def test_the_file_is_read_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_SECONDS", 0.0)
    troubles: list[None] = []
    path = tmp_path / "tokens"
    first, second = new_token("red", Role.READ), new_token("red", Role.READ)
    path.write_text(f"{first[1]}\n")
    file = CredentialFile(path, lambda: troubles.append(None))
    path.write_text(f"{first[1]}\n{second[1]}\n")
    assert {first[1].id, second[1].id} == set(file.current().by_id)
    other = tmp_path / "new"
    other.write_text(f"{second[1]}\n")
    other.replace(path)
    assert {second[1].id} == set(file.current().by_id)
    path.write_text("half a li")
    assert {second[1].id} == set(file.current().by_id)
    path.unlink()
    assert {second[1].id} == set(file.current().by_id)
    assert [None, None] == troubles
    path.write_text("")  # the last one was revoked: that counts
    assert set() == set(file.current().by_id)


def test_a_file_that_does_not_change_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"{new_token('red', Role.READ)[1]}\n")
    file = CredentialFile(path)
    monkeypatch.setattr(Credentials, "parse", lambda _: pytest.fail("it was read again"))
    monkeypatch.setattr(module, "LOOK_EVERY_SECONDS", 0.0)
    for _ in range(3):
        file.current()
        time.sleep(0.01)


def test_every_call_of_the_contract_needs_a_role_that_somebody_chose() -> None:
    methods = {
        f"/{service.full_name}/{method.name}"
        for file in (server_pb2, artifact_pb2, diagnosis_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert methods == set(module_needed())
    assert Role.ADMIN == needed_role("/somebody.Else/Call")
    assert Role.READ == needed_role("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")


def module_needed() -> dict[str, Role]:
    from gradclinic_service import identity  # noqa: PLC0415, the table is private to its module

    return dict(identity._NEEDED)  # noqa: SLF001, as above


def test_new_prints_the_token_and_keeps_its_hash(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    made = run("new", "--tenant", "speech", "--role", "admin", "--file", str(file))
    assert 0 == made.exit_code, made.output
    token = made.stdout.strip()
    credential = Credentials.parse(file.read_text()).of_token(token, datetime.now(UTC))
    assert credential is not None
    assert ("speech", Role.ADMIN) == (credential.tenant, credential.role)
    assert token not in file.read_text()
    assert 0o600 == file.stat().st_mode & 0o777


def test_new_without_a_file_prints_the_line_too() -> None:
    token, line = run("new", "--days", "1").stdout.splitlines()
    assert Credentials.parse(line).of_token(token, datetime.now(UTC)) is not None
    assert Credentials.parse(line).of_token(token, datetime.now(UTC) + timedelta(days=2)) is None


def test_list_and_revoke(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# ours\nold red read sha256:{DIGEST} 2020-01-01\nhost red submit certificate:trainer\n")
    file.chmod(0o640)
    assert "old  red  read  token  until 2020-01-01  expired" in run("list", "--file", str(file)).stdout
    assert DIGEST not in run("list", "--file", str(file)).stdout
    assert 0 == run("revoke", "old", "--file", str(file)).exit_code
    assert "# ours\nhost red submit certificate:trainer\n" == file.read_text()
    assert 0o640 == file.stat().st_mode & 0o777
    assert [file] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list"], "GRADCLINIC_TOKEN_FILE"),
        (["new", "--tenant", "No Tenant"], "is no tenant's name"),
        (["new", "--role", "root"], "is no role"),
        (["new", "--days", "0"], "0 is not in the range"),
        (["revoke", "x"], "GRADCLINIC_TOKEN_FILE"),
        (["list", "--file", "/nowhere/tokens"], "cannot be read"),
        (["new", "--file", "/nowhere/tokens"], "cannot be written"),
    ],
)
def test_a_wrong_use_is_told(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert 0 != result.exit_code
    assert said in " ".join(result.output.split())


def test_revoking_what_is_not_there_is_told(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"a red read sha256:{DIGEST}\n")
    result = run("revoke", "b", "--file", str(file))
    assert 2 == result.exit_code
    assert "has no credential 'b'" in result.output
