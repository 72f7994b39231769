"""Names and messages that mean to fool whoever reads them: on the terminal and on the page they are only text."""

from __future__ import annotations

import html.parser
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
import safetensors.torch
import torch

from gradclinic import Client
from gradclinic.errors import InvalidRequest
from hostile.hostile_archives import saved
from real_stack import GRADCLINIC, RealStack, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARK = "<img src=x onerror=alert(1)><script>alert(2)</script>"
ESCAPE = "\x1b[2J\x1b]0;owned\x07\x9b31m"
# What a terminal acts on: all control characters but newline and tab. Where output is no terminal we have no colours.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@pytest.fixture(scope="module")
def stack() -> Iterator[RealStack]:
    with RealStack() as stack:
        stack.add_worker()
        yield stack


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inputs") / "inputs.safetensors"
    safetensors.torch.save_file({"0": torch.randn(16, 4, generator=torch.Generator().manual_seed(0))}, path)
    return path


class Named(torch.nn.Module):
    """A chain of layers whose names a stranger has chosen; the last one can never be on."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        first, last = torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)
        with torch.no_grad():
            first.bias.fill_(-1000.0)
        self.add_module(name, first)
        self.add_module("last", last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x``: ``[N, 4]``; returns ``[N, 2]``."""
        out: torch.Tensor = getattr(self, "last")(torch.relu(getattr(self, self.name)(x)))  # noqa: B009 - as its neighbour
        return out


class Raising(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.size(0) > 0:
            raise ValueError(
                "\x1b[2J\x1b]0;owned\x07 <img src=x onerror=alert(1)><script>alert(2)</script> [bold]x[/bold] [/]"
            )
        return x


def cli(stack: RealStack, *arguments: str) -> str:
    """What the command prints, on both streams."""
    ended = subprocess.run(
        [str(GRADCLINIC), *arguments, "--server", stack.target],
        capture_output=True,
        env=clean_environment(),
        timeout=60,
        check=False,
    )
    said = (ended.stdout + ended.stderr).decode()
    assert not re.search(r"^Traceback", said, re.MULTILINE), said
    return said


class Scripts(html.parser.HTMLParser):
    """Counts what a page would run, and collects what handlers it has."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def dangerous(page: str) -> list[str]:
    scripts = Scripts()
    scripts.feed(page)
    return scripts.handlers + [tag for tag in scripts.tags if tag == "img"]


@pytest.mark.parametrize(
    "name", [MARK.replace(".", ""), "esc\x1b[2Jape\x07", "[bold red]x[/bold red]", "../../etc/passwd".replace(".", "_")]
)
def test_a_modules_name_is_only_text(stack: RealStack, inputs: Path, tmp_path: Path, name: str) -> None:
    model = tmp_path / "model.pt"
    model.write_bytes(saved(torch.jit.trace(Named(name), torch.zeros(2, 4))))
    page = tmp_path / "page.html"
    said = cli(stack, "diagnose", str(model), "--inputs", str(inputs), "--html", str(page))
    assert [] == CONTROL.findall(said)
    assert "dead-relu" in said
    content = page.read_text(encoding="utf-8")
    assert [] == dangerous(content)
    assert "<script>alert" not in content
    shown = cli(stack, "list")
    assert [] == CONTROL.findall(shown)


def test_an_error_message_is_only_text(stack: RealStack, inputs: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.pt"
    model.write_bytes(saved(Raising()))
    said = cli(stack, "diagnose", str(model), "--inputs", str(inputs))
    assert [] == CONTROL.findall(said)
    assert "FORWARD_ERROR" in said
    assert "[bold]x[/bold]" in said


def test_run_names_and_labels_are_only_text(stack: RealStack, inputs: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.pt"
    model.write_bytes(saved(torch.nn.Linear(4, 2)))
    with Client(stack.target) as client:
        tensors = safetensors.torch.load_file(inputs)
        with pytest.raises(InvalidRequest, match="cannot be printed"):
            client.diagnose(model, tensors["0"], run=f"run{ESCAPE}", wait=30)
        client.diagnose(model, tensors["0"], run=f"run{MARK}[/bold]", labels={"who": f"{MARK}[/]"}, wait=30)
    said = cli(stack, "list")
    assert ([], True) == (CONTROL.findall(said), "succeeded" in said.lower())
