"""Papers are cited by their own section numbers and names, wherever they are cited.

The kind: a fact of a paper copied wrongly once and then everywhere. FIVA's losses are section 3.4, its defenses 3.5,
its detector 3.6 (they were cited as 3.3, 3.6 and 3.5); IFSR is *interpreted* feature similarity regularization.
"""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

#: What speaks of a part of FIVA -> its section.
PARTS = {
    "anon/losses/ifsr.py": "3.4",
    "conf/objective/fiva.yaml": "3.4",
    "anon/defenses/noise.py": "3.5",
    "anon/defenses/parameters.py": "3.5",
    "anon/defenses/gradient.py": "3.5",
    "anon/evaluation/published/fiva.yaml": "3.5",
    "anon/metrics/detection.py": "3.6",
    "anon/evaluation/measures/change_detection.py": "3.6",
    "conf/measure/change_detection.yaml": "3.6",
}
CITED = re.compile(r"(?:FIVA\S*|figure 3|table 1|^figure 3 of FIVA)[^\n]{0,90}?\bsection (\d\.\d)", re.IGNORECASE)


def texts() -> dict[str, str]:
    places = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    places += [path for top in ("anon", "conf") for kind in ("py", "yaml") for path in (ROOT / top).rglob(f"*.{kind}")]
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in places}


@pytest.mark.parametrize(("place", "section"), PARTS.items())
def test_a_part_of_fiva_is_cited_by_its_section(place: str, section: str) -> None:
    found = set(CITED.findall(texts()[place]))
    assert found == {section}, place


def test_nobody_else_cites_a_later_section_of_fiva() -> None:
    """A new citation of sections 3.3 and on gets its line above."""
    cited = {
        place
        for place, text in texts().items()
        for number in CITED.findall(text)
        if number in ("3.3", "3.4", "3.5", "3.6") and "FIVA" in text
    }
    assert cited - {"docs/papers.md", "docs/metrics.md", "docs/configuration.md"} == set(PARTS)


def test_ifsr_is_interpreted() -> None:
    wrong = re.compile(r"(?<!interpreted )feature similarity regulari[sz]ation", re.IGNORECASE)
    assert not [place for place, text in texts().items() if wrong.search(text)]
    assert "Interpreted feature similarity" in texts()["anon/losses/ifsr.py"]
