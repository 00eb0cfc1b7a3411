"""The page of scripts.inspect in a headless Chromium: it opens without errors and requests, and all of it works.

Needs Playwright for Python (the extra `browser`) and Debian's chromium; without them these tests are skipped.
"""

import re
import shutil

import numpy as np
import pytest

import vision
from scripts.gradcheck import tiny_data
from scripts.inspection.build import report
from scripts.inspection.page import page as page_of

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is missing: pip install '.[browser]'")
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("there is no chromium: apt-get install chromium", allow_module_level=True)

QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        opened.close()


def tiny_report(name, title):
    entry = vision.MODELS[name]
    data = tiny_data(name, entry.tiny)
    model = vision.build(name, data.classes, np.random.default_rng(3), **entry.tiny.options)
    return report(model, [data[0]], "the truth", {"name": title, "command": "a command"})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """{name: path} of pages."""
    folder, made = tmp_path_factory.mktemp("pages"), {}
    detector = tiny_report("faster_rcnn_small", "A")
    pages = {
        "detector": [detector],
        "two": [detector, tiny_report("faster_rcnn_small", "B")],
        "captions": [tiny_report("show_attend_tell_soft", "captions")],
        "text": [tiny_report("char_lstm", "text")],
    }
    for name, reports in pages.items():
        made[name] = folder / f"{name}.html"
        made[name].write_text(page_of(name, {"reports": reports}), encoding="utf-8")
    return made


@pytest.fixture
def opened(browser, files):
    """open(name, width, scheme) -> page; at the end there must have been no message, error or request."""
    pages, wrong = [], []

    def open_page(name, width=1400, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
        page.goto(files[name].as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert wrong == []


@pytest.mark.parametrize("name", ["detector", "two", "captions", "text"])
@pytest.mark.parametrize("width, scheme", [(1400, "dark"), (390, "light")])
def test_every_page_fits_its_width_and_has_its_parts(opened, name, width, scheme):
    page = opened(name, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.dataset.theme ?? 'light'") == scheme
    assert page.locator(".film").count() == (2 if name == "two" else 1)
    assert page.locator("#layer .card").count() == (2 if name == "two" else 1)
    assert page.locator("#tree li").count() > 3
    unnamed = (
        "[...document.querySelectorAll('button, input')].filter(e => !(e.textContent || e.ariaLabel || e.labels?.length"
    )
    assert page.evaluate(f"{unnamed} || e.getAttribute('aria-labelledby'))).length") == 0
    assert page.evaluate("[...document.querySelectorAll('img')].every(e => e.hasAttribute('alt'))")


def test_the_slider_walks_forward_then_backward(opened):
    page = opened("detector")
    slider, where = page.locator("#slider"), page.locator("#where")
    assert where.inner_text().startswith("forward → 1 of")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert "forward → 2 of" in where.inner_text()
    page.keyboard.press("End")
    assert where.inner_text().startswith("← backward") and "features.0" in where.inner_text()
    assert "backward" in page.evaluate("document.body.className")
    page.locator("#play").click()
    playwright.expect(where).to_contain_text(re.compile(r"forward → ([2-9]|\d\d) of"))
    page.locator("#play").click()
    assert page.locator("#play").get_attribute("aria-pressed") == "false"


def test_a_cell_shows_what_it_sees(opened):
    page = opened("detector")
    page.locator("#tree button", has_text="features.3").first.click()
    maps, said, field = page.locator("#layer .map").first, page.locator(".said"), page.locator("#inputs rect.field")
    maps.click(position={"x": 30, "y": 20})
    assert re.match(r"channel \d+, cell \d+, \d+: sees [\d.]+ x [\d.]+ pixels", said.inner_text())
    before = float(field.get_attribute("x"))
    page.keyboard.press("ArrowRight")
    assert field.get_attribute("visibility") == "visible" and float(field.get_attribute("x")) > before


def test_an_output_is_followed_down_to_the_pixels(opened):
    page = opened("detector")
    heat = page.locator("#inputs .heat")
    assert heat.is_hidden()
    chips = page.locator("#inputs .chips button")
    chips.nth(2).click()
    assert heat.is_visible() and chips.nth(2).get_attribute("aria-pressed") == "true"
    assert "gradient of" in page.locator("#layer").inner_text()
    chips.first.click()
    assert heat.is_hidden()


def test_search_source_and_theme(opened):
    page = opened("detector")
    page.locator("#search").fill("conv 3")
    shown = page.locator("#tree li:visible")
    assert 0 < shown.count() < page.locator("#tree li").count()
    assert page.locator("#found").inner_text() == f"{shown.count()} of {page.locator('#tree li').count()}"
    page.locator("#search").press("Enter")
    assert "Conv2d" in page.locator("#layer .signature").inner_text()
    page.locator("#layer summary").click()
    assert "def backward" in page.locator("#layer pre.code").nth(1).inner_text()
    page.locator("#theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_boxes_are_shown_and_hidden(opened):
    page = opened("detector")
    names = page.locator(".boxes label").all_inner_texts()
    k = next(i for i, name in enumerate(names) if name.startswith("proposals after suppression"))
    group = page.locator(".boxes svg g").nth(k)
    assert group.get_attribute("visibility") == "hidden"
    page.locator(".boxes label").nth(k).click()
    assert group.get_attribute("visibility") == "visible"


def test_two_reports_move_together(opened):
    page = opened("two")
    page.locator("#tree button", has_text="features.3").first.click()
    assert page.locator("#layer .path").first.inner_text().endswith("(A)")
    names = [text.split(" ")[0] for text in page.locator("#layer .card > .path").all_inner_texts()]
    assert names[0] == names[1]
    assert page.locator("#inputs .input").count() == 2
