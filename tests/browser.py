"""A real browser without a network, for the tests of pages: ``from tests.browser import browser``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")  # a test pattern that beeps


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium as the system has it; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"needs a browser: one of {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=path, args=["--no-sandbox", *CAMERA])
        yield found
        found.close()


class Heard(NamedTuple):
    """What a page complained of, and the addresses that it asked for."""

    complaints: list[str]
    requests: list[str]


def heard(page: Any) -> Heard:
    """Listens to a page from now on: its console, its uncaught errors, its requests."""
    found = Heard([], [])
    page.on("console", lambda message: found.complaints.append(message.text))
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.on("request", lambda request: found.requests.append(request.url))
    return found
