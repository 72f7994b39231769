"""The page: complete, self-contained, with its policy, and closed to what a model's names say."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from html.parser import HTMLParser
from typing import Any

import pytest

from gradclinic.page.markup import Markup, element, json_block, prose, text
from gradclinic.records import Diagnosis, Failure
from page_cases import EMPTY, HOSTILE, SICK, deep, hostile


class Reader(HTMLParser):
    """Elements, the text of each, and what attributes there are."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        holder = {"script": self.scripts, "style": self.styles}.get(self.open[-1] if self.open else "", self.words)
        holder.append(data)


def read(diagnosis: Diagnosis) -> Reader:
    reader = Reader()
    reader.feed(diagnosis.to_html())
    reader.close()
    assert [] == reader.open
    return reader


def picture(reader: Reader) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(reader.scripts[0])
    return found


def test_a_page_says_everything_in_order() -> None:
    shown = " ".join(" ".join(read(SICK).words).split())
    order = [
        "CRITICAL 1 critical, 1 for information",
        "loss random_projection = nan",
        "dead-relu",
        "blocks.1.act aten::relu /home/user/net.py:12 return self.act(self.fc(x))",
        "All units of blocks.1.act are off.",
        "off_share 100 % · threshold 90 %",
        "largest_input nan at sample 3",
        "Use nn.LeakyReLU .",
        "blocks.0.fc.weight",
        "relu replaced by leaky_relu: gradient_rms 0 → 0.5 confirmed",
        "unused-parameter",
        "Gradient flow",
        "Operations",
        "Parameters",
        "Not observed spare it was not called",
        "Notes The model was traced.",
        "Request",
        "Environment",
        "sandbox process",
    ]
    for part in order:
        before, found, shown = shown.partition(part)
        assert part == found, before


def test_only_this_very_style_and_script_may_run() -> None:
    reader = read(SICK)
    policy = next(value for _, value in reader.attributes if value.startswith("default-src"))

    def allowed(content: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"

    assert [
        "default-src 'none'",
        f"script-src {allowed(reader.scripts[1])}",
        f"style-src {allowed(reader.styles[0])}",
        "base-uri 'none'",
        "form-action 'none'",
    ] == policy.split("; ")


@pytest.mark.parametrize("diagnosis", [SICK, hostile()])
def test_nothing_is_loaded_and_no_attribute_runs_code(diagnosis: Diagnosis) -> None:
    reader = read(diagnosis)
    names = {name for name, _ in reader.attributes}
    assert set() == names & {"src", "style", "srcset", "action"}
    assert set() == {name for name in names if name.startswith("on")}
    assert {"#findings"} == {value for name, value in reader.attributes if name == "href"}
    assert ["script", "script"] == [tag for tag in reader.tags if tag == "script"]
    assert set() == {"img", "link", "iframe", "object", "base"} & set(reader.tags)


def test_hostile_names_stay_text() -> None:
    page = hostile().to_html()
    assert 0 == page.count("<script>window")
    assert set() == set("\x00\x1b\u202e\u2028\u2029") & set(page)
    drawn = picture(read(hostile()))
    seen = HOSTILE.encode("unicode_escape").decode()
    assert seen.startswith("</script><script>")
    assert seen == drawn["sites"][0]["module"]


def test_json_in_a_page_cannot_end_its_element() -> None:
    block = json_block("x", {"a": "</script><!--\u2028&"})
    assert '<script type="application/json" id="x">' in block
    assert "\\u003c/script\\u003e\\u003c!--\\u2028\\u0026" in block


def test_text_is_escaped_unless_it_was_made_here() -> None:
    assert '<p title="&quot;&lt;">a&lt;b<b>x</b></p>' == element(
        "p", "a<b", element("b", "x"), title='"<', hidden=False
    )
    assert "<input required>" == element("input", required=True)
    assert "a\\nb" == text("a\nb")
    assert isinstance(text("x"), Markup)


def test_words_between_backticks_are_code() -> None:
    assert "use <code>a&lt;b</code>." == prose("use `a<b`.")
    assert "one ` alone" == prose("one ` alone")


def test_missing_values_are_told_apart() -> None:
    sites = picture(read(SICK))["sites"]
    marks = [(site["activationMark"], site["gradientMark"]) for site in sites]
    assert [
        ("value", "zero"),
        ("value", "zero"),
        ("absent", "absent"),
        ("value", "zero"),
        ("zero", "value"),
        ("value", "value"),
        ("value", "missing"),
        ("non-finite", "non-finite"),
    ] == marks
    assert "NaN" == sites[7]["activation"]["rms"]
    assert "Infinity" == sites[7]["gain"]
    assert [0.0, 0.001, "NaN"] == sites[5]["byCall"]
    assert not sites[2]["measured"]


def test_findings_stand_where_they_belong() -> None:
    first, second = picture(read(SICK))["findings"]
    assert ([4], [0, 1, 2, 3]) == (first["at"], first["affected"])
    assert ([], []) == (second["at"], second["affected"])


def test_a_failed_diagnosis_has_a_page_too() -> None:
    failure = Failure("FORWARD_ERROR", "shapes differ\nmat1 <and> mat2", "spec.inputs_sha256", "at model.py:3")
    reader = read(dataclasses.replace(EMPTY, verdict=None, state="FAILED", failure=failure))
    shown = " ".join(reader.words)
    assert "FAILED" in shown
    assert "shapes differ\nmat1 <and> mat2" in shown
    assert "at model.py:3" in shown
    assert [] == reader.scripts


def test_a_healthy_diagnosis_without_flow_says_so() -> None:
    assert "Nothing was found that needs a change." in " ".join(read(EMPTY).words)


def test_a_page_of_a_deep_model_stays_small() -> None:
    assert 1_000_000 > len(deep().to_html())
