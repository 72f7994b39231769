"""The cases of a rule: the file of this folder that has the rule's name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradclinic_engine.judging.rule import Rule
    from gradclinic_engine.measurements import Measurements


def healthy(rule: Rule) -> Iterable[Measurements]:
    """Runs in which it must find nothing above INFO."""
    found: Iterable[Measurements] = import_module(_name(rule)).healthy()
    return found


def sick(rule: Rule) -> Iterable[Measurements]:
    """Runs in which it must find something."""
    found: Iterable[Measurements] = import_module(_name(rule)).sick()
    return found


def _name(rule: Rule) -> str:
    return f"rules.{rule.code.replace('-', '_')}"
