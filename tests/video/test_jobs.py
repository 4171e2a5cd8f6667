"""Folders, patterns and places: what becomes what, nothing over an input, and where a stopped run goes on."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from anon.errors import UserError
from anon.video import report
from anon.video.jobs import BEGUN, SUMMARY, check_folder, jobs_of, run
from tests.video.scenes import Fixed, frame_of, masking, write_clip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photographs, one below another folder, a clip, and what is neither."""
    frame = frame_of([(3, 20, 20)])[0]
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.jpg", "c.ppm"):
        Image.fromarray(frame.numpy()).save(tmp_path / "in" / name)
    write_clip(tmp_path / "in" / "sub" / "d.avi", [frame] * 2, codec="mpeg4")
    (tmp_path / "in" / "notes.txt").write_text("words")
    return tmp_path / "in"


class Counts(Fixed):
    calls = 0

    def detect(self, frame):
        self.calls += 1
        return super().detect(frame)


RESULTS = ["a.png", "c.ppm.png", "sub/b.jpg", "sub/d.avi.mp4"]


def results(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))


def test_a_folder_keeps_its_order_and_continues(folder: Path, tmp_path: Path) -> None:
    out, by = tmp_path / "out", masking(detector := Counts())
    jobs = jobs_of(str(folder), str(out))
    assert jobs.aside == {"notes.txt": "no photograph or video by its name"}
    done = [job.target.name for job, _ in run(jobs, by)]
    assert sorted(done) == ["a.png", "b.jpg", "c.ppm.png", "d.avi.mp4"] and detector.calls == 3
    assert results(out) == sorted([*RESULTS, *(f"{name}.json" for name in RESULTS), BEGUN, SUMMARY])
    (out / "a.png.json").unlink()  # as if it had been killed between both
    (out / "sub" / ".b.jpg.4194999.part").write_bytes(b"half")
    (out / "sub" / "b.jpg").write_bytes(b"half")
    list(run(jobs, by))
    assert detector.calls == 5 and not (out / "sub" / ".b.jpg.4194999.part").exists()
    os.utime(folder / "c.ppm", (1, 1))  # a new photograph of the old name
    list(run(jobs, by))
    assert detector.calls == 6
    with pytest.raises(UserError, match=r"begun with other settings \(method\)"):
        list(run(jobs, by._replace(settings={"method": "another"})))


def test_one_that_cannot_be_read_does_not_stop_the_others(folder: Path, tmp_path: Path) -> None:
    (folder / "b.png").write_bytes(b"\x89PNG and nothing")
    with pytest.raises(UserError, match=r"1 of 5 files were not written, the first because .*b\.png.* is not an image"):
        list(run(jobs_of(str(folder), str(tmp_path / "out")), masking(Fixed())))
    begun = json.loads((tmp_path / "out" / BEGUN).read_text())
    assert list(begun["failed"]) == ["b.png"] and begun["files"] == 5
    assert (tmp_path / "out" / "sub" / "d.avi.mp4").exists() and not (tmp_path / "out" / "b.png").exists()


def test_patterns(folder: Path, tmp_path: Path) -> None:
    found = jobs_of(f"{folder}/**/*.[pj]*g", str(tmp_path / "out"))
    assert sorted(str(job.target.relative_to(tmp_path)) for job in found.jobs) == ["out/a.png", "out/sub/b.jpg"]
    with pytest.raises(UserError, match="matches no photograph or video"):
        jobs_of(f"{folder}/*.gif", str(tmp_path / "out"))


def test_results_never_lie_over_inputs(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(folder / "a.png")
    os.link(folder / "a.png", tmp_path / "hard.png")
    for given, output in (
        (folder / "a.png", folder / "a.png"),
        (folder / "a.png", tmp_path / "link.png"),
        (tmp_path / "link.png", folder / "a.png"),
        (folder / "a.png", tmp_path / "hard.png"),
        (folder / "a.png", folder / "sub" / ".." / "a.png"),
        (folder, folder),
    ):
        before = (folder / "a.png").read_bytes()
        with pytest.raises(UserError, match=r"is an input|what this program did not write"):
            list(run(jobs_of(str(given), str(output)), masking(Fixed())))
        assert (folder / "a.png").read_bytes() == before


def test_a_folder_of_results_inside_the_folder_is_no_input(folder: Path) -> None:
    by = masking(Fixed())
    for _ in range(2):
        assert len(list(run(jobs_of(str(folder), str(folder / "out")), by))) == 4


def test_what_is_there_already_stays(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(b"mine")
    with pytest.raises(UserError, match="is there already"):
        jobs_of(str(folder / "a.png"), str(tmp_path / "mine.png"))
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="did not write"):
        list(run(jobs_of(str(folder), str(tmp_path / "others")), masking(Fixed())))
    for _ in range(2):  # its own result may be made again
        list(run(jobs_of(str(folder / "a.png"), str(tmp_path / "again.png")), masking(Fixed())))


@pytest.mark.parametrize(
    ("given", "output", "told"),
    [
        ("in/nowhere.png", "b.png", "there is no such file"),
        ("in/a.png", "b.txt", r"a photograph is written as \.jpg"),
        ("in/a.png", "b.mp4", "a photograph is written as"),
        ("in/sub/d.avi", "b.png", r"a video is written as \.mp4"),
        ("in", "in/a.png", "is a file"),
        ("in/a\0.png", "b.png", "there is no such file"),
        ("", "b.png", "must not be empty"),
    ],
)
def test_places_that_cannot_be(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, output: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=told):
        list(run(jobs_of(given, output), masking(Fixed())))


@pytest.mark.parametrize("name", ["a.png", "sub/d.avi"])
def test_a_full_disk_is_one_sentence(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("anon.video.photographs.write", full)
    monkeypatch.setattr("anon.video.clips.Writer.add", full)
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / f"b{'.mp4' if 'd.avi' in name else '.png'}"
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        list(run(jobs_of(str(folder / name), str(out)), masking(Fixed())))
    assert not os.listdir(tmp_path / "out")


def test_a_foreign_json_opens_no_door(folder: Path, tmp_path: Path) -> None:
    """Takeout lays ``IMG_1.jpg.json`` beside ``IMG_1.jpg``: photograph and sidecar were replaced."""
    for name, sidecar in (("IMG_1.jpg", b'{"title": "IMG_1.jpg"}'), ("IMG_2.jpg", b"[]"), ("IMG_3.jpg", b"no JSON")):
        (tmp_path / name).write_bytes(b"mine")
        (tmp_path / f"{name}.json").write_bytes(sidecar)
        for _ in range(2):
            with pytest.raises(UserError, match="is there already and not of this program"):
                jobs_of(str(folder / "a.png"), str(tmp_path / name))
            (tmp_path / name).unlink(missing_ok=True)  # the second time only the sidecar is there
        assert (tmp_path / f"{name}.json").read_bytes() == sidecar
    (tmp_path / "pic.png.json").write_bytes((folder / "a.png").read_bytes())
    with pytest.raises(UserError, match=r"is an input|not of this program"):
        jobs_of(str(tmp_path / "pic.png.json"), str(tmp_path / "pic.png"))


def test_killed_between_result_and_report(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, by, write = tmp_path / "out.png", masking(Fixed()), report.write

    def dies(path: Path, content: dict) -> None:
        if "bytes" in content:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(report, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        list(run(jobs_of(str(folder / "a.png"), str(out)), by))
    monkeypatch.undo()
    (tmp_path / ".out.png.4194999.part").write_bytes(b"half")
    ((_, done),) = run(jobs_of(str(folder / "a.png"), str(out)), by)
    assert done["faces"] == 1 and sorted(os.listdir(tmp_path)) == ["in", "out.png", "out.png.html", "out.png.json"]
    assert set(done["input"]) == {"salt", "sha256"}  # neither size nor time of the photograph


def test_no_report_tells_of_a_result_that_is_gone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blurred anew and stopped before the report, the page still said that a mask covers the face."""
    out, job = tmp_path / "out.png", jobs_of(str(folder / "a.png"), str(tmp_path / "out.png"))
    list(run(job, masking(Fixed())))
    first, page, said = out.read_bytes(), (tmp_path / "out.png.html").read_bytes(), report.report_of(out).read_text()
    broken = masking(Fixed())
    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(type(broken), "photograph", stopped)
        list(run(job, broken))
    assert out.read_bytes() == first  # nothing was made: all of it is as it was
    assert (tmp_path / "out.png.html").read_bytes() == page and report.report_of(out).read_text() == said
    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(
            type(broken), "photograph", lambda self, source, target: stopped(self, source, replaced(target))
        )
        list(run(job, broken))
    assert not (tmp_path / "out.png.html").exists() and "covered" not in report.report_of(out).read_text()


def stopped(by: object, source: Path, target: Path) -> dict:
    raise KeyboardInterrupt


def replaced(target: Path) -> Path:
    beside = target.with_name("new.part")
    beside.write_bytes(b"another result")
    return beside.replace(target)


def test_a_file_of_ones_own_in_the_place_of_a_result(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    list(run(jobs_of(str(folder / "a.png"), str(out)), masking(Fixed())))
    out.write_bytes(b"my own file")
    with pytest.raises(UserError, match="is there already and not of this program"):
        jobs_of(str(folder / "a.png"), str(out))


def test_a_stopped_folder_tells_no_counts_of_before(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, by = tmp_path / "out", masking(Fixed())
    list(run(jobs_of(str(folder), str(out)), by))
    assert (out / SUMMARY).is_file() and "files" in report_in(out)
    (folder / "new.png").write_bytes((folder / "a.png").read_bytes())
    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(type(by), "photograph", stopped)
        list(run(jobs_of(str(folder), str(out)), by))
    assert not (out / SUMMARY).exists() and report_in(out).keys() == {"settings"}


def report_in(folder: Path) -> dict:
    return json.loads((folder / BEGUN).read_text())


def test_a_pattern_continues_in_the_folder_that_it_matches(folder: Path) -> None:
    by = masking(Fixed())
    for _ in range(2):
        assert len(list(run(jobs_of(f"{folder}/**/*.[pj]*g", str(folder / "out")), by))) == 2


def test_places_that_the_system_refuses(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be written \((Not a directory|File exists)"):
        list(run(jobs_of(str(folder / "a.png"), str(folder / "sub" / "b.jpg" / "x.png")), masking(Fixed())))
    long = folder / f"{'n' * 248}.png"  # its report's name is longer than any file system allows
    long.write_bytes((folder / "a.png").read_bytes())
    with pytest.raises(UserError, match="1 of 5 files were not written"):
        list(run(jobs_of(str(folder), str(tmp_path / "out")), masking(Fixed())))
    begun = json.loads((tmp_path / "out" / BEGUN).read_text())
    assert len(begun["failed"]) == 1 and str(folder) not in json.dumps(begun)
    assert (tmp_path / "out" / "sub" / "d.avi.mp4").exists()


def test_whose_a_folder_is_can_be_asked_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    out, by = tmp_path / "out", masking(Fixed())
    assert not check_folder(out, by) and not out.exists()
    list(run(jobs_of(f"{folder}/a.png", str(out) + "/"), by))  # a file in a folder begins none
    with pytest.raises(UserError, match=r"did not write \('a.png'\)"):
        check_folder(out, by)
    list(run(jobs_of(f"{folder}/*.png", str(tmp_path / "own")), by))
    assert check_folder(tmp_path / "own", by)
    with pytest.raises(UserError, match=r"begun with other settings \(method\)"):
        check_folder(tmp_path / "own", by._replace(settings={"method": "another"}))


def test_two_runs_at_once_are_told(folder: Path, tmp_path: Path) -> None:
    jobs, by = jobs_of(str(folder), str(tmp_path / "out")), masking(Fixed())
    first = run(jobs, by)
    next(first)
    with pytest.raises(UserError, match="being filled by another run"):
        list(run(jobs, by))
    first.close()
    assert len(list(run(jobs, by))) == 4
