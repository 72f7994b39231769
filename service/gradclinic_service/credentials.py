"""The token file: one credential per line, tokens as hashes, read again when it changes.

    # id          tenant   role     what is shown                       until (optional)
    5f0c6a1d9b27  speech   submit   sha256:6b51d431df5d7f14…            2027-01-31
    trainer-7     speech   submit   certificate:trainer-7.speech.example

A token is ``gct_ID_SECRET``; its secret has 256 random bits, which is why one round of SHA-256 hides it: there is
nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gradclinic_service.identity import Caller, Role
from gradclinic_store.tenants import checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

TOKEN_PREFIX = "gct"  # noqa: S105 - lets a person and a scanner of leaked secrets see what it is
LOOK_EVERY_SECONDS = 1.0
_ID_BYTES = 6
_SECRET_BYTES = 32
_LONGEST_TOKEN = 200
_FIELDS = 4  # and perhaps one more: until when
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NOBODYS_DIGEST = secrets.token_hex(32)

logger = logging.getLogger(__name__)


class BadCredentials(ValueError):
    """The token file cannot be used; says which line, and what to write."""


@dataclass(frozen=True, slots=True)
class Credential:
    """One line of the token file."""

    id: str
    tenant: str
    role: Role
    kind: str  # `sha256` or `certificate`
    value: str  # the digest of a token, or the name in a client's certificate
    until: datetime | None = None  # from this moment on it counts no more

    def __str__(self) -> str:
        line = f"{self.id} {self.tenant} {self.role} {self.kind}:{self.value}"
        return f"{line} {self.until:%Y-%m-%d}" if self.until else line

    @property
    def caller(self) -> Caller:
        """Who shows it."""
        return Caller(self.tenant, self.role, self.id)

    def counts(self, now: datetime) -> bool:
        """Whether its time is not over."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class Credentials:
    """All credentials of a token file."""

    by_id: Mapping[str, Credential]
    by_certificate: Mapping[str, Credential]

    @classmethod
    def parse(cls, text: str) -> Credentials:
        """Reads a token file.

        Raises:
            BadCredentials: a line is wrong.
        """
        by_id: dict[str, Credential] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            fields = line.partition("#")[0].split()
            if not fields:
                continue
            try:
                credential = _credential(fields)
            except ValueError as error:
                raise BadCredentials(f"line {number}: {error}") from error
            if credential.id in by_id:
                raise BadCredentials(f"line {number}: the id {credential.id} stands there twice")
            by_id[credential.id] = credential
        certificates = [credential for credential in by_id.values() if credential.kind == "certificate"]
        by_certificate = {credential.value: credential for credential in certificates}
        if len(by_certificate) < len(certificates):
            raise BadCredentials("a certificate's name stands there twice")
        return cls(by_id, by_certificate)

    def of_token(self, token: str, now: datetime) -> Credential | None:
        """The credential of a token; None when it is not in force. Takes as long for any token."""
        parts = token.split("_", 2)
        credential = self.by_id.get(parts[1]) if len(parts) == len(("gct", "id", "secret")) else None
        expected = credential.value if credential is not None and credential.kind == "sha256" else _NOBODYS_DIGEST
        given = digest(token[:_LONGEST_TOKEN])
        if not hmac.compare_digest(given, expected):
            return None
        return credential if credential is not None and credential.counts(now) else None

    def of_certificate(self, names: Iterable[str], now: datetime) -> Credential | None:
        """The credential of a client's verified certificate, by any of its names; None when there is none in force."""
        found = (self.by_certificate.get(name) for name in names)
        return next((credential for credential in found if credential is not None and credential.counts(now)), None)


class CredentialFile:
    """A token file that is read again when it changes.

    One that became unreadable changes nothing, and is told; one that became empty lets nobody in.
    """

    def __init__(self, path: Path, on_trouble: Callable[[], None] = lambda: None) -> None:
        """Reads it.

        Raises:
            BadCredentials: it cannot be read.
        """
        self._path = path
        self._on_trouble = on_trouble
        self._seen = self._identity()
        self._look_again_at = time.monotonic() + LOOK_EVERY_SECONDS
        self._current = self._read()

    def current(self) -> Credentials:
        """The credentials as of a second ago at most."""
        if time.monotonic() >= self._look_again_at:
            self._look_again_at = time.monotonic() + LOOK_EVERY_SECONDS
            seen = self._identity()
            if seen != self._seen:
                self._seen = seen
                self._reload()
        return self._current

    def _reload(self) -> None:
        try:
            self._current = self._read()
        except BadCredentials as error:
            self._on_trouble()
            logger.error("the token file is wrong, the old tokens stay in force file=%s error=%s", self._path, error)  # noqa: TRY400, the error says all
        else:
            logger.info("the token file was read again file=%s credentials=%d", self._path, len(self._current.by_id))

    def _read(self) -> Credentials:
        try:
            return Credentials.parse(self._path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise BadCredentials(f"cannot be read: {error}") from error

    def _identity(self) -> tuple[int, int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size


def new_token(tenant: str, role: Role, until: datetime | None = None) -> tuple[str, Credential]:
    """Makes a token, which is kept nowhere, and the credential to put into the file."""
    name = secrets.token_hex(_ID_BYTES)
    token = f"{TOKEN_PREFIX}_{name}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    return token, Credential(name, tenant, role, "sha256", digest(token), until)


def digest(token: str) -> str:
    """What the file has of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _credential(fields: list[str]) -> Credential:
    if not _FIELDS <= len(fields) <= _FIELDS + 1:
        raise ValueError("expected `ID TENANT ROLE sha256:DIGEST [DATE]`; `gradclinic token new` writes such a line")
    name, tenant, role, shown = fields[:_FIELDS]
    kind, _, value = shown.partition(":")
    if not _ID.fullmatch(name):
        raise ValueError(f"{name!r} is no id; write up to 64 letters, digits, dots and hyphens")
    if kind not in {"sha256", "certificate"} or not value:
        raise ValueError("the fourth field is `sha256:` and a token's digest, or `certificate:` and a client's name")
    if kind == "sha256" and not _DIGEST.fullmatch(value):
        raise ValueError("after `sha256:` stand 64 lower-case hexadecimal digits")
    return Credential(name, checked(tenant), Role.parse(role), kind, value, _until(fields[_FIELDS:]))


def _until(fields: list[str]) -> datetime | None:
    if not fields:
        return None
    try:
        moment = datetime.fromisoformat(fields[0])
    except ValueError:
        raise ValueError(f"{fields[0]!r} is no date; write it as 2027-01-31") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
