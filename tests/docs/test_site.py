"""The site of the documentation: built strictly, and opened in a real browser that has no network but the site."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.browser import browser, heard
from tests.conftest import ROOT

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.slow

#: A page -> the least of figures and tables that are seen on it.
PAGES = {
    "index.html": (3, 2),
    "tutorial.html": (0, 1),
    "howto/own-method.html": (0, 0),
    "systems/fiva.html": (1, 3),
    "systems/k-same.html": (0, 1),
    "threat-model.html": (0, 1),
    "results.html": (0, 30),
    "results/2026-11-22.html": (3, 20),
    "api/functions.html": (0, 6),
    "api/contracts.html": (0, 6),
    "keys.html": (1, 4),
    "project/CONTRIBUTING.html": (0, 0),
    "project/anon/weights/fiva.html": (0, 1),
}
SEEN = """kind => [...document.querySelectorAll(`article ${kind}`)].filter(one => {
    const box = one.getBoundingClientRect();
    return box.width >= 40 && box.height >= 20 && (kind !== 'img' || one.naturalWidth > 0);
}).length"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``make docs``: a warning, such as of a broken link or a page that is in no menu, ends it."""
    place = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(place)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return place


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """Scripts, styles, fonts and pictures are the site's own; a link that somebody clicks may lead away."""
    loads = re.compile(r"""(?:<(?:script|img|iframe|source)[^>]*?\ssrc=|<link[^>]*?\shref=|url\()["']?(https?:)?//""")
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(pages) > 70
    assert [page.relative_to(site).as_posix() for page in pages if loads.search(page.read_text("utf-8"))] == []


def test_docstrings_are_in_the_api(site: Path) -> None:
    text = (site / "api" / "functions.html").read_text("utf-8")
    for name in ("anonymize", "anonymize_video", "attack", "embed", "evaluate", "load"):
        assert f'id="anon.{name}"' in text
    assert ":func:" not in text and ":class:" not in (site / "api" / "contracts.html").read_text("utf-8")
    assert 'id="anon.attacks.contract.AttackLike"' in (site / "api" / "contracts.html").read_text("utf-8")


@pytest.mark.parametrize("width", [390, 1280])
def test_pages_are_whole(browser: Any, address: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844})
    for name, (figures, tables) in PAGES.items():
        page = context.new_page()
        told = heard(page)
        page.goto(address + name)
        page.wait_for_load_state("networkidle")
        assert told.complaints == [], name
        assert [url for url in told.requests if not url.startswith((address, "data:"))] == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate(SEEN, "img") >= figures and page.evaluate(SEEN, "table") >= tables, name
        assert page.locator("article h1").count() == 1, name
        page.close()
    context.close()


def test_the_search_finds(browser: Any, address: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 844})
    page = context.new_page()
    page.goto(address)
    page.locator(".md-search__input").fill("counterfactual")
    page.locator(".md-search-result__item a", has_text="FIVA").first.wait_for(timeout=20_000)
    context.close()
