"""gradclinic: remote diagnosis for neural networks that do not learn.

Public names are imported on first use, so that the generated contract in
``gradclinic.v1`` can be imported without grpc, and the client without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradclinic.aio import AsyncClient, AsyncHandle
    from gradclinic.client import Client, Handle
    from gradclinic.connection import TlsFiles
    from gradclinic.errors import (
        Aborted,
        BadCall,
        ClientForked,
        DeadlineExceeded,
        DiagnosisCancelled,
        DiagnosisExpired,
        DiagnosisFailed,
        ExtraMissing,
        FieldViolation,
        GradclinicError,
        InvalidRequest,
        LimitExceeded,
        NotFound,
        ResultNotReady,
        ServerDefect,
        ServerError,
        ServiceUnavailable,
        Unauthenticated,
    )
    from gradclinic.records import (
        Diagnosis,
        Environment,
        Event,
        Evidence,
        Failure,
        Finding,
        Limits,
        Location,
        MagnitudeHistogram,
        Page,
        ParameterGradient,
        Proof,
        ServerInfo,
        Site,
        SourceLine,
        Statistics,
        Unobserved,
        Worker,
    )

__version__ = "0.1.0"

__all__ = [
    "Aborted",
    "AsyncClient",
    "AsyncHandle",
    "BadCall",
    "Client",
    "ClientForked",
    "DeadlineExceeded",
    "Diagnosis",
    "DiagnosisCancelled",
    "DiagnosisExpired",
    "DiagnosisFailed",
    "Environment",
    "Event",
    "Evidence",
    "ExtraMissing",
    "Failure",
    "FieldViolation",
    "Finding",
    "GradclinicError",
    "Handle",
    "InvalidRequest",
    "LimitExceeded",
    "Limits",
    "Location",
    "MagnitudeHistogram",
    "NotFound",
    "Page",
    "ParameterGradient",
    "Proof",
    "ResultNotReady",
    "ServerDefect",
    "ServerError",
    "ServerInfo",
    "ServiceUnavailable",
    "Site",
    "SourceLine",
    "Statistics",
    "TlsFiles",
    "Unauthenticated",
    "Unobserved",
    "Worker",
    "__version__",
]

# Cheapest first: errors and records need neither grpc nor torch.
_HOMES = ("errors", "records", "connection", "client", "aio")


if not TYPE_CHECKING:  # a checker shall find a misspelt name

    def __getattr__(name: str) -> Any:
        if name in __all__:
            for home in _HOMES:
                module = importlib.import_module(f"{__name__}.{home}")
                if name in vars(module):
                    return vars(module)[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
