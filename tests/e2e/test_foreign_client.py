"""A gRPC client that shares no code with ours (buf curl, through server reflection) creates and reads a diagnosis."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from torch import nn

    from real_stack import RealStack

    Call: TypeAlias = Callable[..., list[dict[str, Any]]]

pytestmark = pytest.mark.system

BUF = Path(__file__).parents[2] / "build" / "node" / "node_modules" / ".bin" / "buf"
CHUNK_BYTES = 4096


@pytest.fixture
def call(stack: RealStack) -> Call:
    """Calls a method with messages as JSON; returns the answers."""
    if not BUF.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "buf is missing: `make test-system` installs it with npm"
        )

    def curl(method: str, *messages: dict[str, Any]) -> list[dict[str, Any]]:
        printed = subprocess.run(
            [
                *(str(BUF), "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--data", "@-"),
                f"http://{stack.target}/gradclinic.v1.{method}",
            ],
            input="\n".join(map(json.dumps, messages)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert 0 == printed.returncode, printed.stderr
        return _json_values(printed.stdout)

    return curl


def _json_values(text: str) -> list[dict[str, Any]]:
    decoder, values = json.JSONDecoder(), []
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        values.append(value)
        text = text[end:]
    return values


def upload(call: Call, kind: str, format_: str, content: bytes) -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    declaration = {"kind": kind, "format": format_, "sizeBytes": len(content), "sha256": sha256}
    chunks = [
        {"offsetBytes": offset, "content": base64.b64encode(content[offset : offset + CHUNK_BYTES]).decode()}
        for offset in range(0, len(content), CHUNK_BYTES)
    ]
    messages = [{"declaration": declaration}, *({"chunk": chunk} for chunk in chunks)]
    (artifact,) = call("ArtifactService/UploadArtifact", *messages)
    assert str(len(content)) == artifact["sizeBytes"]
    return sha256


def test_buf_curl_creates_watches_and_reads_a_diagnosis(
    call: Call, mlp: nn.Module, inputs: torch.Tensor, target: torch.Tensor
) -> None:
    archive = io.BytesIO()
    torch.jit.save(torch.jit.script(mlp), archive)
    spec = {
        "modelSha256": upload(call, "ARTIFACT_KIND_MODEL", "ARTIFACT_FORMAT_TORCHSCRIPT", archive.getvalue()),
        "inputsSha256": upload(call, "ARTIFACT_KIND_TENSORS", "ARTIFACT_FORMAT_SAFETENSORS", save({"0": inputs})),
        "targetSha256": upload(call, "ARTIFACT_KIND_TENSORS", "ARTIFACT_FORMAT_SAFETENSORS", save({"target": target})),
        "loss": {"functional": {"name": "cross_entropy"}},
    }
    (created,) = call("DiagnosisService/CreateDiagnosis", {"spec": spec, "requestId": str(uuid.uuid4())})
    events = call("DiagnosisService/WatchDiagnosis", {"id": created["id"]})
    (diagnosis,) = call("DiagnosisService/GetDiagnosis", {"id": created["id"]})
    assert "DIAGNOSIS_STATE_SUCCEEDED" == diagnosis["state"]
    assert "VERDICT_HEALTHY" == diagnosis["result"]["verdict"]
    assert diagnosis == events[-1]["diagnosis"]
