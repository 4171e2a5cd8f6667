"""Pages of docs/ as the repository shows them: links lead somewhere, and tables of systems are the results'."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from anon.evaluation.document import read
from tests.conftest import ROOT, script

PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]
PAGES += [ROOT / "notebooks" / "README.md", *sorted((ROOT / "anon" / "weights").glob("*.md"))]


@pytest.fixture(scope="module")
def systems() -> ModuleType:
    return script("docs/systems.py")


def links(page: Path) -> list[str]:
    """Relative links of a page, and its pictures, without what stands in code."""
    text = re.sub(
        r"^(```.*?^```|    .*?$)|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    found = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'<img [^>]*?src="([^"]+)"', text)
    return [link.partition("#")[0] for link in found if not re.match(r"[a-z]+:|#", link)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert [link for link in links(page) if not (page.parent / link).exists()] == []


def test_tables_of_systems_are_those_of_the_results(systems: ModuleType) -> None:
    """``python docs/systems.py`` makes them."""
    pages = systems.pages()
    assert len(pages) > 10
    for page in pages:
        assert systems.filled(page.read_text(encoding="utf-8")) == page.read_text(encoding="utf-8"), page.name


def test_a_table_has_the_figures_and_the_printed_ones(systems: ModuleType) -> None:
    document = read(ROOT / "docs" / "results" / "all.json")
    line = next(line for line in document.lines if line.label == "FIVA + ITM")
    text = systems.measured("all.json", "table1", ["FIVA + ITM"])
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines() if row.startswith("|")]
    head, _, ours, printed = rows
    at = head.index("pose error ° ↓")
    assert ours[0] == "FIVA + ITM" and ours[at].split()[0] == f"{line.metrics['pose_error'].value:.3f}"
    assert printed[0] == "*printed*" and printed[head.index("RA ↓")] == "*.996*"
    assert "Rosberg et al., FIVA" in text and "by synthetic" not in text


def test_a_page_is_filled_between_its_marks(systems: ModuleType) -> None:
    page = "a\n<!-- printed fiva_table4: SimSwap -->\nold\n<!-- to here -->\nb\n"
    made = systems.filled(page)
    assert made.startswith("a\n<!-- printed fiva_table4: SimSwap -->\n\n| ") and made.endswith("<!-- to here -->\nb\n")
    assert "| SimSwap | .928 | 1.530 |" in made and "old" not in made
