"""The page in a real browser without a network: a phone, a desk, the dark, and paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anon.evaluation import report
from tests.browser import browser, heard
from tests.evaluation.report.made_up import document, png
from tests.evaluation.report.test_panel import panel

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.slow

EMPTY = """selector => [...document.querySelectorAll(selector)].filter(one => {
    const box = one.getBoundingClientRect();
    return !one.closest('details:not([open])') && (box.width < 40 || box.height < 20);
}).length"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("evaluation")
    (folder / "grid.png").write_bytes(png())
    report.write(document(), folder)
    return (folder / "report.html").as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_whole(browser: Any, address: str, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    context.set_offline(True)
    page = context.new_page()
    told = heard(page)
    page.goto(address)
    assert told.complaints == []
    assert [url for url in told.requests if not url.startswith(("data:", address))] == []

    # main, facts, three tables, the useful range, how it was run; folded: differences, others of two tables
    assert page.locator("table").count() == 7 + 3
    assert page.locator("svg").count() == 19
    assert page.evaluate(EMPTY, "table, svg, img") == 0
    assert page.evaluate("document.images[0].naturalWidth") == 640
    widths = page.evaluate("[...document.querySelectorAll('svg')].map(one => one.getBoundingClientRect().right)")
    assert max(widths) <= width

    for folded in page.locator("summary").all():
        folded.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.locator("table.results").first
    box = wide.locator("xpath=..")  # a table that is too wide scrolls in its own box
    assert box.evaluate("one => one.scrollWidth > one.clientWidth") == (width == 390)

    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    drawn = page.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
    assert drawn == ink != paper
    context.close()


def test_the_message_stands_first(browser: Any, address: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(address)
    bottoms = [page.locator(part).first.bounding_box() for part in (".found", ".main", "#faces", "#tradeoff svg")]
    assert all(box and box["y"] + box["height"] <= 1600 for box in bottoms)
    assert bottoms[1]["y"] + bottoms[1]["height"] <= 800
    assert page.locator("#measured").bounding_box()["y"] > 1600
    context.close()


def test_no_column_of_the_main_table_is_out_of_reach(browser: Any, address: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(address)
    assert page.locator(".main table").bounding_box()["y"] < 844
    hint = "getComputedStyle(document.querySelector('.main .wide'), '::before').content"
    assert "scroll sideways" in page.evaluate(hint)
    box = page.locator(".main .scroll")
    last, first = page.locator(".main thead th").last, page.locator(".main tbody th[scope=row]").first
    assert last.bounding_box()["x"] + last.bounding_box()["width"] > 390
    left = first.bounding_box()["x"]
    box.evaluate("one => { one.scrollLeft = one.scrollWidth; }")
    assert last.bounding_box()["x"] + last.bounding_box()["width"] <= 390
    assert first.bounding_box()["x"] == pytest.approx(left, abs=1)  # the names stay
    context.close()


def test_the_page_prints(browser: Any, address: str, tmp_path: Path) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(address)
    page.pdf(path=str(tmp_path / "report.pdf"), format="A4")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    context.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_a_panel_of_judges_has_its_tables(browser: Any, tmp_path: Path, width: int) -> None:
    report.write(panel(), tmp_path)
    context = browser.new_context(viewport={"width": width, "height": 844})
    page = context.new_page()
    told = heard(page)
    page.goto((tmp_path / "report.html").as_uri())
    for folded in page.locator("summary").all():
        folded.click()
    assert told.complaints == [] and page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#judges tbody tr").count() == 8  # six facts, and the correlation with each
    assert page.locator("#table-1 th", has_text="ID by two").is_visible()
    assert page.locator("nav a[href='#judges']").inner_text() == "The judges"
    context.close()
