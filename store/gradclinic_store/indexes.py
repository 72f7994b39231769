"""Indexes over diagnoses and the page tokens that walk them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from typing import TYPE_CHECKING

from gradclinic.v1 import diagnosis_pb2, finding_pb2
from gradclinic_store.errors import BadPageToken

if TYPE_CHECKING:
    from collections.abc import Mapping

ALL = "all"
TOKEN_VERSION = 1
_TOKEN = struct.Struct(">BQ8s")  # version, sequence number to go on below, digest of the filter


def names_of(spec: diagnosis_pb2.DiagnosisSpec) -> list[str]:
    """Return the names of the indexes a diagnosis stands in for all its life."""
    names = [ALL]
    if spec.run:
        names.append(_run(spec.run))
    return names + _labels(spec.labels)


def names_for(wanted: diagnosis_pb2.DiagnosisFilter) -> list[str]:
    """Return the names of the indexes that a diagnosis must stand in to match."""
    names = [ALL]
    if wanted.run:
        names.append(_run(wanted.run))
    if wanted.state != diagnosis_pb2.DIAGNOSIS_STATE_UNSPECIFIED:
        names.append(f"state:{wanted.state}")
    if wanted.verdict != finding_pb2.VERDICT_UNSPECIFIED:
        names.append(f"verdict:{wanted.verdict}")
    return names + _labels(wanted.labels)


def page_token(below: int, wanted: diagnosis_pb2.DiagnosisFilter, tenant: str) -> str:
    """Return an opaque token that goes on below a sequence number, for this filter of this tenant only."""
    return base64.urlsafe_b64encode(_TOKEN.pack(TOKEN_VERSION, below, _digest(wanted, tenant))).decode()


def read_page_token(token: str, wanted: diagnosis_pb2.DiagnosisFilter, tenant: str) -> int:
    """Return the sequence number to go on below.

    Raises:
        BadPageToken: not one of ours, or made for another filter or tenant.
    """
    try:
        version, below, digest = _TOKEN.unpack(base64.b64decode(token.encode(), altchars=b"-_", validate=True))
    except (binascii.Error, struct.error, UnicodeEncodeError) as error:
        raise BadPageToken("the page token is not one of this server's") from error
    if version != TOKEN_VERSION:
        raise BadPageToken("the page token is not one of this server's")
    if digest != _digest(wanted, tenant):
        raise BadPageToken("the page token belongs to another filter; keep the filter while you page")
    return int(below)


def _run(run: str) -> str:
    return f"run:{run}"


def _labels(labels: Mapping[str, str]) -> list[str]:
    # The key's length keeps `a` = `b=c` and `a=b` = `c` apart.
    return [f"label:{len(key)}:{key}={value}" for key, value in sorted(labels.items())]


def _digest(wanted: diagnosis_pb2.DiagnosisFilter, tenant: str) -> bytes:
    return hashlib.sha256("\0".join([tenant, *names_for(wanted)]).encode()).digest()[:8]
