"""`gradclinic token`: makes, lists and revokes the credentials of a token file."""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradclinic.command_options import Parsed
from gradclinic_service.credentials import BadCredentials, Credentials, new_token
from gradclinic_service.identity import Role
from gradclinic_store.tenants import DEFAULT_TENANT, checked

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIVATE = 0o600


file_option = click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="GRADCLINIC_TOKEN_FILE",
    show_envvar=True,
    help="The token file of `gradclinic serve`, which reads it again by itself.",
)


@click.group()
def token() -> None:
    """Say who may call: make, list and revoke tokens."""


@token.command()
@click.option(
    "--tenant",
    default=DEFAULT_TENANT,
    show_default=True,
    type=Parsed("TENANT", checked),
    help="Who shares diagnoses, artifacts and limits; tenants see nothing of each other.",
)
@click.option(
    "--role",
    default=str(Role.SUBMIT),
    show_default=True,
    type=Parsed("|".join(map(str, Role)), Role.parse),
    help="read: see diagnoses; submit: also upload, create and cancel; admin: also delete.",
)
@click.option("--days", type=click.IntRange(min=1), help="How long it is valid. [default: until it is revoked]")
@file_option
def new(tenant: str, role: Role, days: int | None, file: Path | None) -> None:
    """Make a token and print it, this once.

    With --file its hash is added there; without, the line to add is printed after the token.
    """
    until = None
    if days is not None:
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        until = midnight + timedelta(days=days + 1)
    made, credential = new_token(tenant, role, until)
    if file is None:
        click.echo(made)
        click.echo(str(credential))
        return
    with _changing(file) as lines:
        lines.append(str(credential))
    click.echo(made)
    click.echo(f"{credential.id} is in {file}; the token itself is kept nowhere, this is its only sight", err=True)


@token.command("list")
@file_option
def list_(file: Path | None) -> None:
    """List the credentials of a token file."""
    for credential in _read(_needed(file)).by_id.values():
        ends = f"until {credential.until:%Y-%m-%d}" if credential.until else ""
        over = "" if credential.counts(datetime.now(UTC)) else "expired"
        shown = credential.value if credential.kind == "certificate" else "token"
        click.echo("  ".join(filter(None, (credential.id, credential.tenant, str(credential.role), shown, ends, over))))


@token.command()
@click.argument("id")
@file_option
def revoke(id: str, file: Path | None) -> None:  # noqa: A002, click's name for the argument
    """Take the credential ID out of a token file."""
    path = _needed(file)
    if id not in _read(path).by_id:
        raise click.UsageError(f"{path} has no credential {id!r}; `gradclinic token list` shows all")
    with _changing(path) as lines:
        lines[:] = [line for line in lines if line.partition("#")[0].split()[:1] != [id]]


def _needed(file: Path | None) -> Path:
    if file is None:
        raise click.UsageError("name the token file: --file, or GRADCLINIC_TOKEN_FILE")
    return file


def _read(path: Path) -> Credentials:
    try:
        return Credentials.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from error
    except BadCredentials as error:
        raise click.ClickException(f"{path}: {error}") from error


@contextmanager
def _changing(path: Path) -> Iterator[list[str]]:
    """The lines of a file, changed all at once: a reader sees the old file or the new one; one writer at a time."""
    try:
        with _locked(path):
            old = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            lines = list(old)
            yield lines
            mode = path.stat().st_mode & 0o777 if path.exists() else PRIVATE
            _replace(path.resolve(), "\n".join(lines) + "\n" if lines else "", mode)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keeps other writers of the folder out."""
    folder = os.open(path.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _replace(path: Path, text: str, mode: int) -> None:
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as new:
        temporary = Path(new.name)
        try:
            new.write(text)
            new.flush()
            os.fchmod(new.fileno(), mode)
            os.fsync(new.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
