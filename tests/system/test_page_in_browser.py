"""The page in a real Chromium: no errors, no requests, a chart that answers, names that stay names, every width."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from page_cases import SICK, deep, hostile
from system.absent import absent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gradclinic.records import Diagnosis

pytestmark = pytest.mark.system

_MAX_OPEN_SECONDS = 5.0  # of a 500-layer model, on a busy machine; 0.6 s on an idle one
_MAX_HOVER_SECONDS = 1.0


@dataclass
class Opened:
    """A page in the browser, with what went wrong and what it asked for."""

    page: Any
    troubles: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    opened_seconds: float = 0.0

    def chart(self) -> dict[str, float]:
        """Where the chart is, after it was scrolled into view."""
        self.page.evaluate("document.getElementById('flow').scrollIntoView()")
        box: dict[str, float] = self.page.locator("#flow-chart .surface").bounding_box()
        return box

    def hover(self, part: float) -> str:
        """What the tooltip says at a part of the chart's width."""
        box = self.chart()
        self.page.mouse.move(box["x"] + part * box["width"], box["y"] + 150)
        return str(self.page.locator(".tooltip:not([hidden])").inner_text())

    def overflow_pixels(self) -> int:
        """How far the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


@pytest.fixture(scope="module")
def browser(program: Callable[[str, str], str]) -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only here, and perhaps not there
    except ImportError:
        absent("playwright is missing: make test-system installs it")
    chromium = program("chromium", "apt-get install chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Opens the page of a diagnosis; after the test, nothing went wrong and nothing was asked for."""
    contexts, pages = [], []

    def open_page(diagnosis: Diagnosis, width: int = 1280, scheme: str = "light") -> Opened:
        file = tmp_path / "page.html"
        file.write_bytes(diagnosis.to_html().encode())
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        found = Opened(context.new_page())
        pages.append(found)
        found.page.on("console", lambda message: found.troubles.append(message.text))
        found.page.on("pageerror", lambda error: found.troubles.append(str(error)))
        found.page.on("request", lambda request: found.requests.append(request.url))
        begun = time.monotonic()
        found.page.goto(file.as_uri())
        found.opened_seconds = time.monotonic() - begun
        return found

    yield open_page
    for page in pages:
        assert [] == page.troubles
        assert ["file"] == [url.partition(":")[0] for url in page.requests]
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("diagnosis", [SICK, hostile(), deep()], ids=["sick", "hostile", "deep"])
def test_it_fits_every_width(opened: Callable[..., Opened], diagnosis: Diagnosis, width: int, scheme: str) -> None:
    assert 0 == opened(diagnosis, width, scheme).overflow_pixels()


def test_dark_is_dark(opened: Callable[..., Opened]) -> None:
    def brightness(scheme: str) -> int:
        colour = opened(SICK, scheme=scheme).page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))

    assert brightness("dark") < 150
    assert brightness("light") > 600


def test_hovering_tells_about_the_operation(opened: Callable[..., Opened]) -> None:
    page = opened(SICK)
    said = page.hover(0.4)
    for part in ("blocks.1.fc", "aten::linear", "net.py:12", "return self.act(self.fc(x))", "exactly 0"):
        assert part in said
    assert "none arrived" in page.hover(0.85)
    assert "NaN/Inf in 100 %" in page.hover(0.97)


def test_the_finding_stands_in_the_chart(opened: Callable[..., Opened]) -> None:
    page = opened(SICK).page
    assert 1 == page.locator(".flag").count()
    page.locator(".locate").first.click()
    assert 1 == page.locator(".flag.active").count()
    assert 1 == page.locator(".shade.critical").count()
    assert "blocks.1.act" in page.locator("#flow-details h3").inner_text()


def test_the_keyboard_moves_and_zooms(opened: Callable[..., Opened]) -> None:
    page = opened(deep()).page
    page.locator("#flow-chart .surface").focus()
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert "layers.1.act" in page.locator(".tooltip").inner_text()
    page.keyboard.press("+")
    assert "zoomed" in page.locator("#flow-toolbar").get_attribute("class")
    page.keyboard.press("Enter")
    assert "layers.1.act" in page.locator("#flow-details h3").inner_text()
    page.keyboard.press("Escape")
    assert "zoomed" not in page.locator("#flow-toolbar").get_attribute("class")


def test_dragging_zooms_and_filtering_narrows(opened: Callable[..., Opened]) -> None:
    opened_page = opened(deep())
    page, box = opened_page.page, opened_page.chart()
    page.mouse.move(box["x"] + 300, box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + 340, box["y"] + 150)
    page.mouse.up()
    assert "zoomed" in page.locator("#flow-toolbar").get_attribute("class")
    page.locator("#flow-toolbar input[type=search]").fill("layers.77.")
    assert "layers.77.fc" in opened_page.hover(0.25)
    page.locator("#flow-toolbar input[type=search]").fill("nowhere")
    assert "No operation matches." in page.locator("#flow-chart").inner_text()


def test_tables_sort_and_filter(opened: Callable[..., Opened]) -> None:
    page = opened(SICK).page
    first = page.locator("#operations tbody tr").first
    page.get_by_role("button", name="activation RMS").click()
    assert "aten::log" in first.inner_text()
    page.get_by_role("button", name="activation RMS").click()
    assert "blocks.1.act" in first.inner_text()
    assert "ascending" == page.locator("#operations th[aria-sort]").get_attribute("aria-sort")
    page.get_by_label("Filter by parameter").fill("spare")
    assert ["spare.weight"] == page.locator("#parameters tbody td:first-child").all_inner_texts()
    page.locator("#operations button.operation").first.click()
    assert "blocks.1.act" in page.locator("#flow-details h3").inner_text()


def test_hostile_names_do_nothing(opened: Callable[..., Opened]) -> None:
    page = opened(hostile())
    assert "<script>window.hostile=1</script>" in page.hover(0.5)
    page.page.locator("#operations button.operation").first.click()
    page.page.locator("#operations input").fill("<img")
    assert page.page.evaluate("window.hostile") is None
    assert 0 == page.page.locator("img").count()


def test_a_deep_model_is_quick(opened: Callable[..., Opened]) -> None:
    page = opened(deep())
    assert page.opened_seconds < _MAX_OPEN_SECONDS
    begun = time.monotonic()
    page.hover(0.4)
    assert time.monotonic() - begun < _MAX_HOVER_SECONDS
    assert 200 == page.page.locator("#operations tbody tr").count()
    page.page.locator("#operations .more").click()
    assert 1000 == page.page.locator("#operations tbody tr").count()
