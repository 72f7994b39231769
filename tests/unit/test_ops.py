"""The operator table: one row for each operator, and no operator's name anywhere else."""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from gradclinic_engine.graph import ops
from gradclinic_engine.graph.op import Kind, Span
from gradclinic_engine.reading import coverage
from rules.tiny_run import TinyRun

ENGINE = Path(__file__).parents[2] / "engine" / "gradclinic_engine"
# The table itself, and what TorchScript's own graphs are made of.
MAY_NAME_OPERATORS = ("graph", "torchscript")
NAME = re.compile(r"(aten|prim)::")


def names_in(path: Path) -> list[str]:
    """Literal names of operators in a file, less those in docstrings."""
    found = []
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.match(node.value):
            found.append(node.value)
        waiting.extend([] if is_docstring else ast.iter_child_nodes(node))
    return found


def test_operators_are_named_in_the_table_alone() -> None:
    files = [path for path in ENGINE.rglob("*.py") if path.relative_to(ENGINE).parts[0] not in MAY_NAME_OPERATORS]
    assert len(files) > 100
    assert {} == {str(path.relative_to(ENGINE)): names for path in files if (names := names_in(path))}


def test_an_operator_has_one_row() -> None:
    counts = Counter(op.name for op in ops.ROWS)
    assert [] == [name for name, count in counts.items() if count > 1]


def test_in_place_an_operator_has_the_facts_of_the_other() -> None:
    plain, written = ops.of("aten::relu"), ops.of("aten::relu_")
    assert (False, True) == (plain.is_in_place, written.is_in_place)
    assert plain == replace(written, is_in_place=False)


def test_double_underscores_are_no_sign_of_writing() -> None:
    assert (Kind.COMPARISON, False) == (ops.of("aten::__and__").kind, ops.of("aten::__and__").is_in_place)


def test_an_operator_without_a_row_is_unknown() -> None:
    assert ("torchvision::nms", Kind.UNKNOWN, False) == (
        ops.of("torchvision::nms").name,
        ops.of("torchvision::nms").kind,
        ops.of("torchvision::nms").is_known,
    )


def test_the_bounds_of_a_clamp_are_those_of_its_call() -> None:
    clamp = ops.of("aten::clamp")
    assert Span(-1.0, 2.0) == ops.lively_span(clamp, {"min": -1, "max": 2})
    assert None is ops.lively_span(clamp, {"min": None, "max": None})
    assert (0.0, None) == (ops.off_margin(clamp, {"min": 0}), ops.off_margin(clamp, {"min": -1}))


def test_operators_without_a_row_are_counted_in_one_entry() -> None:
    run = TinyRun()
    value = run.op("aten::linear", "x", module="fc", weights=["fc.weight"])
    for _ in range(3):
        value = run.op("torchvision::deform_conv2d", value)
    run.op("torchvision::nms", value, calls=0)
    ((what, why),) = coverage.without_row(run.finish(run.op("my::own", value)))
    assert "operators" == what
    assert "`torchvision::deform_conv2d` (3), `my::own` (1)." in why
    assert "nms" not in why


def test_nothing_is_said_where_all_have_a_row() -> None:
    run = TinyRun()
    assert () == coverage.without_row(run.finish(run.op("aten::linear", "x", weights=["fc.weight"])))
