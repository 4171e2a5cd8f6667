"""The report as a page: it says what the JSON says, loads nothing, runs nothing, and names no file."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from anon.video.jobs import SUMMARY, jobs_of, run
from anon.video.page import page, sentence
from anon.video.report import summed
from tests.video.scenes import Fixed, frame_of, masking, write_clip

HOSTILE = '"><script>alert(1)</script>\u202e'


def video(**changes: Any) -> dict[str, Any]:
    judge = {"threshold": 0.5, "metric": "cosine", "faces": 7, "least": 0.612, "median": 0.9}
    steady = {"tracks": 2, "mu": 0.11, "sigma": 0.22, "unchanged_mu": 0.33, "unchanged_sigma": 0.44}
    return {
        "anon": "0",
        "kind": "video",
        "width": 256,
        "height": 144,
        "sound": None,
        "left_out": ["audio"],
        "frames": 5,
        "faces": 9,
        "filled_in": 1,
        "verified": 7,
        "covered": 2,
        "unverified": 0,
        "fallbacks": {"too turned": 2},
        "judges": {HOSTILE: {**judge, "M_tc": steady}},
        "tracks": [{"track": i, "first_frame": 0, "last_frame": 4, "faces": 3, "fallbacks": 1} for i in range(20)],
        "seconds": 2.0,
        "frames_per_second": 2.5,
        "settings": {"method": {"title": HOSTILE}, "strict": False, "weights": {"detector": "f" * 64}},
        **changes,
    }


class Reader(HTMLParser):
    """Elements with their attributes, and the text of rows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements, self.rows = list[tuple[str, dict[str, str | None]]](), list[list[str]]()
        self.within = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.within = True

    def handle_endtag(self, tag: str) -> None:
        self.within = self.within and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.within:
            self.rows[-1][-1] += data.strip()


def test_the_figures_are_those_of_the_report() -> None:
    html = page(video())
    rows = [row for row in Reader(html).rows if row]
    assert ["verified", "7", "77.8 %", "every judge takes it for another person"] in rows
    assert ["too turned", "2", "22.2 %", "the five points are far from a frontal face's (gate.max_turn)"] in rows
    assert any(row[1:] == ["7", "0.500", "0.612", "0.900"] for row in rows)
    assert any(row[1:] == ["2", "0.110originals 0.330", "0.220originals 0.440"] for row in rows)
    assert ["19", "0 to 4", "3", "1"] in rows and "8 more" in html and ["strict", "false"] in rows
    assert ["detector", "f" * 64] in rows and ["left out", "audio"] in rows and ["frames a second", "2.5"] in rows


def test_the_page_loads_and_runs_nothing_and_escapes() -> None:
    html = page(video())
    elements = Reader(html).elements
    assert not {"script", "img", "iframe", "object", "form"} & {tag for tag, _ in elements}
    assert all(attrs.get("href") == "data:," for tag, attrs in elements if tag in ("link", "a"))
    assert not any(name.startswith("on") or name == "src" for _, attrs in elements for name in attrs)
    assert not re.search(r"https?:|@import|url\(", html) and "\u202e" not in html and "&lt;script&gt;" in html
    assert "default-src 'none'" in html and "width=device-width" in html


def test_sentences() -> None:
    told = (
        "In the 5 frames of this video, 9 faces were found and changed: 7 are taken for somebody else by 1 recognizer"
    )
    assert sentence(video()) == f"{told}; 2 are covered by one colour."
    none = dict.fromkeys(("faces", "verified", "covered", "unverified"), 0)
    assert sentence(video(**none)) == "In the 5 frames of this video, no face was found, so none was changed."
    one = {"faces": 1, "verified": 0, "covered": 0, "unverified": 1, "kind": "photograph"}
    wanted = "1 face was found and changed: 1 is changed, and not verified by a recognizer."
    assert sentence(video(**one)) == f"In this photograph, {wanted}"


def test_several_files_are_one_account() -> None:
    judges = {"a": {"threshold": 0.5, "metric": "cosine", "faces": 2, "least": 0.7, "median": 0.8}}
    none = {"a": {"threshold": 0.5, "metric": "cosine", "faces": 0}}
    whole = summed([video(judges=judges), video(judges=none), video(judges=judges, faces=1)], {"a": 1}, 4, 6)
    assert (whole["files"], whole["faces"], whole["verified"], whole["failed"], whole["not_read"]) == (3, 19, 21, 4, 6)
    assert whole["judges"] == {"a": {"threshold": 0.5, "metric": "cosine", "faces": 4, "least": 0.7}}
    assert whole["fallbacks"] == {"too turned": 6} and whole["seconds"] == 6.0
    rows = Reader(page(whole)).rows
    assert ["acosine", "4", "0.500", "0.700", "-"] in rows and ["not written", "4"] in rows
    assert sentence(summed([], {}, 0, 0)) == "In 0 files, no face was found, so none was changed."


@pytest.mark.parametrize("name", ["secret.png", "secret.mp4"])
def test_it_lies_beside_the_result_and_names_no_input(tmp_path: Path, name: str) -> None:
    frame = frame_of([(3, 20, 20)])[0]
    Image.fromarray(frame.numpy()).save(tmp_path / "secret.png")
    write_clip(tmp_path / "secret.mp4", [frame] * 2)
    out = tmp_path / f"out{Path(name).suffix}"
    list(run(jobs_of(str(tmp_path / name), str(out)), masking(Fixed())))
    html = out.with_name(f"{out.name}.html").read_text()
    assert "secret" not in html and str(tmp_path) not in html and "covered by one colour" in html


def test_a_folder_has_one_page(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(frame_of([(3, 20, 20)])[0].numpy()).save(tmp_path / "in" / name)
    for _ in range(2):  # a run that finds all done counts all the same
        list(run(jobs_of(str(tmp_path / "in"), str(tmp_path / "out")), masking(Fixed())))
        assert "In 2 files, 2 faces were found and changed" in (tmp_path / "out" / SUMMARY).read_text()
    assert [path.name for path in (tmp_path / "out").glob("*.html")] == [SUMMARY]
