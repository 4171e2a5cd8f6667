"""The demo in a real browser, with what ships: somebody drawn, anonymized, judged and attacked; a camera; a text."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anon.apps.demo.pictures import demo_of
from anon.apps.demo.serve import Server
from tests.browser import browser, heard

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.slow
READY = """new Promise(done => {
    const video = document.getElementById('video');
    if (video.videoWidth) done(); else video.onloadeddata = () => done();
})"""
PEOPLE = "data.identities={train:24,background:24,attacker:4,evaluation:4}"  # of fake identities and thresholds


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with Server("127.0.0.1", 0, demo_of(["domain=synthetic", PEOPLE])) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.address
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("width", [390, 1280])
def test_from_a_person_to_an_attack(browser: Any, address: str, width: int, tmp_path: Path) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, permissions=["camera"])
    page = context.new_page()
    told = heard(page)
    page.goto(address)
    page.locator("#about", has_text="Judges: synthetic_b, synthetic_c, synthetic_d").wait_for()

    page.click("#sample")
    page.locator("#result").wait_for(timeout=60_000)
    assert page.locator("#faces tbody tr").count() == 1
    assert (
        "verified" in page.locator("#faces tbody").inner_text()
        or "covered" in page.locator("#faces tbody").inner_text()
    )
    assert [page.evaluate(f"document.getElementById('{name}').naturalWidth") for name in ("before", "after")] == [
        240
    ] * 2
    page.locator("#attack:enabled").click()
    page.locator(".crops").wait_for(timeout=60_000)
    assert page.locator(".crops img").count() == 3 and page.locator(".crops figcaption div").count() == 6
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.getElementById('faces').getBoundingClientRect().right") <= width  # nothing is cut
    page.screenshot(path=str(tmp_path / "demo.png"), full_page=True)

    (tmp_path / "letter.png").write_text("no picture")
    page.set_input_files("#file", tmp_path / "letter.png")
    page.locator("#message.error", has_text="This cannot be used as a picture: it is not an image.").wait_for()

    page.click("#camera")
    page.locator("#video").wait_for()
    page.evaluate(READY)
    page.click("#take")
    page.locator("#label", has_text="no face was found").wait_for(timeout=60_000)
    assert page.locator("#attacking").is_hidden() and page.locator("#faces tbody tr").count() == 0

    # The browser itself notes the letter's refusal, a 422.
    assert [each for each in told.complaints if "422" not in each] == []
    assert [each for each in told.requests if not each.startswith((address, "data:", "blob:"))] == []
    context.close()
