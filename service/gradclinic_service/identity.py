"""Who calls: tenant and role, and which call needs which role."""

from __future__ import annotations

import enum
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradclinic_store.tenants import DEFAULT_TENANT

if TYPE_CHECKING:
    from collections.abc import Mapping


class Role(enum.IntEnum):
    """What a caller may do within its tenant; each includes the ones before."""

    READ = 1  # see diagnoses and what the server can do
    SUBMIT = 2  # upload artifacts, create and cancel diagnoses
    ADMIN = 3  # delete diagnoses

    @classmethod
    def parse(cls, text: str) -> Role:
        """Reads ``read``, ``submit`` or ``admin``.

        Raises:
            ValueError: it is none.
        """
        for role in cls:
            if text == str(role):
                return role
        raise ValueError(f"{text!r} is no role; write {', '.join(map(str, cls))}")

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call."""

    tenant: str
    role: Role
    credential: str = ""  # the id of the credential that it showed; empty: none was asked for


ANYBODY = Caller(DEFAULT_TENANT, Role.ADMIN)
"""Who calls where no credentials are asked for."""

OPEN_TO_ALL = "/grpc.health.v1.Health/"  # probes carry no token
_REFLECTION = "/grpc.reflection."
_NEEDED: Mapping[str, Role] = {
    "/gradclinic.v1.ServerService/GetServerInfo": Role.READ,
    # What a model's bytes are is for those who may send them: this call also keeps them for longer.
    "/gradclinic.v1.ArtifactService/GetArtifact": Role.SUBMIT,
    "/gradclinic.v1.ArtifactService/UploadArtifact": Role.SUBMIT,
    "/gradclinic.v1.DiagnosisService/GetDiagnosis": Role.READ,
    "/gradclinic.v1.DiagnosisService/ListDiagnoses": Role.READ,
    "/gradclinic.v1.DiagnosisService/WatchDiagnosis": Role.READ,
    "/gradclinic.v1.DiagnosisService/CreateDiagnosis": Role.SUBMIT,
    "/gradclinic.v1.DiagnosisService/CancelDiagnosis": Role.SUBMIT,
    "/gradclinic.v1.DiagnosisService/DeleteDiagnosis": Role.ADMIN,
}
_caller: ContextVar[Caller] = ContextVar("caller")


def needed_role(method: str) -> Role:
    """The role that a call needs; one that nobody has thought of needs the highest."""
    return Role.READ if method.startswith(_REFLECTION) else _NEEDED.get(method, Role.ADMIN)


def caller() -> Caller:
    """Who makes the call that this task handles.

    Raises:
        LookupError: nobody was let in, which is a defect.
    """
    return _caller.get()


def caller_or_none() -> Caller | None:
    """Who makes the call that this task handles; None where it handles none."""
    return _caller.get(None)


def let_in(who: Caller) -> None:
    """Notes who makes the call that this task handles; each call has a task of its own."""
    _caller.set(who)
