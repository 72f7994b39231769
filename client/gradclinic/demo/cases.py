"""What the demo diagnoses, and what it expects to be found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from gradclinic.demo import broken, healthy

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradclinic.records import Diagnosis

SEED = 7
_FEATURES, _CLASSES, _BATCH = 16, 4, 32


@dataclass(frozen=True, slots=True)
class Example:
    """A model with one batch."""

    model: torch.nn.Module
    inputs: torch.Tensor
    target: torch.Tensor  # class indices


@dataclass(frozen=True, slots=True)
class Cause:
    """The one finding that a broken model has to get."""

    code: str
    module: str  # where it has to be located
    source: str  # what the named source line has to contain


@dataclass(frozen=True, slots=True)
class Case:
    """One model of the demo."""

    title: str
    build: Callable[[], Example]
    cause: Cause | None  # None: healthy

    def problem(self, diagnosis: Diagnosis) -> str | None:
        """Says what is not as expected; None if all is."""
        serious = [finding for finding in diagnosis.findings if finding.severity != "INFO"]
        if self.cause is None:
            found = ", ".join(finding.code for finding in serious)
            return None if diagnosis.verdict == "HEALTHY" else f"expected HEALTHY, got {diagnosis.verdict}: {found}"
        if diagnosis.verdict != "CRITICAL":
            return f"expected CRITICAL, got {diagnosis.verdict}"
        if [finding.code for finding in serious] != [self.cause.code]:
            found = ", ".join(finding.code for finding in serious) or "nothing"
            return f"expected {self.cause.code} alone, got {found}"
        location = serious[0].location
        if location.module != self.cause.module:
            return f"expected it at {self.cause.module!r}, got {location.module!r}"
        line = location.source.text if location.source else ""
        return None if self.cause.source in line else f"expected the line with {self.cause.source!r}, got {line!r}"


def _gpt2() -> Example:
    inputs, target = healthy.tokens()
    return Example(healthy.LanguageModel(), inputs, target)


def _resnet() -> Example:
    inputs, target = healthy.images()
    return Example(healthy.ImageClassifier(), inputs, target)


def _dead_relu() -> Example:
    return Example(broken.TabularClassifier(), torch.randn(_BATCH, _FEATURES), torch.randint(_CLASSES, (_BATCH,)))


def _detached() -> Example:
    return Example(broken.DetachedEncoder(), torch.randn(_BATCH, 3, 16, 16), torch.randint(_CLASSES, (_BATCH,)))


def _sigmoids() -> Example:
    return Example(broken.SigmoidStack(), torch.randn(_BATCH, _FEATURES), torch.randint(_CLASSES, (_BATCH,)))


CASES = (
    Case("GPT-2, randomly initialised: healthy", _gpt2, None),
    Case("ResNet, randomly initialised: healthy", _resnet, None),
    Case(
        "Tabular classifier with biases of -20 in its fourth block: dead ReLUs",
        _dead_relu,
        Cause("dead-relu", "blocks.3.activation", "self.activation(self.linear(x))"),
    ),
    Case(
        "Classifier whose encoder was detached: it never learns",
        _detached,
        Cause("detached-graph", "", "self.encoder(images).detach()"),
    ),
    Case(
        "Thirty sigmoid layers: the gradient vanishes",
        _sigmoids,
        Cause("vanishing-gradient", "body.0", ""),
    ),
)
