"""The video benchmark: known faces in a real clip, replaced in place, the same in batches and one at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from anon.faces.detection.contract import Detections
from anon.faces.detection.yunet import YuNet
from benchmarks import video

WIDTH, HEIGHT, FRAMES = 320, 180, 6


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tensor]:
    """Two faces a frame."""
    path = tmp_path_factory.mktemp("clip") / "made.mp4"
    return path, video.make(path, 2, FRAMES, WIDTH, HEIGHT)


def painted(images: Tensor) -> Tensor:
    """Green faces."""
    return torch.tensor([-1.0, 1.0, -1.0]).view(1, 3, 1, 1).expand_as(images)


@pytest.mark.parametrize("together", [4, 1])
def test_faces_are_replaced_in_place(made: tuple[Path, Tensor], tmp_path: Path, together: int) -> None:
    """All five points of each face turn green, a corner of the frame stays, whatever is done together."""
    clip, truth = made
    out = tmp_path / "out.mp4"
    spent = video.anonymize_clip(clip, out, video.known(truth), painted, FRAMES, together)
    assert list(spent) == list(video.STAGES) and all(seconds > 0 for seconds in spent.values())
    before, after = video.read(clip, FRAMES), video.read(out, FRAMES)
    assert len(after) == FRAMES and after[0].shape == (HEIGHT, WIDTH, 3)
    green = torch.tensor([0.0, 255.0, 0.0])
    for old, new, faces in zip(before, after, truth, strict=True):
        x, y = faces.reshape(-1, 2).round().long().unbind(-1)
        assert float((new[y, x].float() - green).abs().max()) < 40
        assert float((old[y, x].float() - green).norm(dim=-1).min()) > 100
        assert float((new[:8, :8].float() - old[:8, :8].float()).abs().mean()) < 6


def test_batches_are_their_faces_one_by_one(made: tuple[Path, Tensor]) -> None:
    """Faces of several frames and sizes, one of them cut by the border."""
    frames = video.read(made[0], 3)
    faces = video.known(made[1])(frames, 0)
    first = faces[0][1]
    faces += [(1, first * 0.6 + 20), (2, first - first.mean(0) + torch.tensor([3.0, 90.0]))]
    together = video.aligned(frames, faces)
    alone = [video.aligned(frames, [face]) for face in faces]
    torch.testing.assert_close(together.images, torch.cat([crops.images for crops in alone]), rtol=0, atol=2e-3)
    canvas, other = ([frame.clone() for frame in frames] for _ in range(2))
    video.put_back(canvas, together, -together.images)
    for crops in alone:
        video.put_back(other, crops, -crops.images)
    for one, two, untouched in zip(canvas, other, frames, strict=True):
        assert int((one.int() - two.int()).abs().max()) <= 1
        assert int((one.int() - untouched.int()).abs().max()) > 50


def test_what_was_missed_is_counted() -> None:
    """Of two faces in two frames one is found, and a box of nothing."""
    face = torch.tensor([[10.0, 10], [20, 10], [15, 15], [11, 20], [19, 20]])
    truth = torch.stack([face, face + 50]).expand(2, 2, 5, 2)
    boxes = torch.tensor([[5.0, 5, 25, 25], [100, 100, 120, 120]])
    found = Detections(boxes, torch.zeros(2, 5, 2), torch.ones(2))
    right = torch.tensor([[5.0, 5, 25, 25], [55, 55, 75, 75]])
    frame = torch.zeros(200, 200, 3, dtype=torch.uint8)
    both = found._replace(boxes=right)
    assert video.missed([found, both], [frame, frame], truth) == (1, 1, 1)
    assert video.missed([both, both], [frame, frame], truth) == (0, 0, 0)


def test_a_ratio_is_that_of_the_windows() -> None:
    """8 things in 2 s and 1 s against 4 s and 4 s: 4 and 8 a second against 2; ratios 2 and 4."""
    assert video.cells(8, [2.0, 1.0], [4.0, 4.0]) == ["6.0 (4.0 to 8.0)", "2.0 (2.0 to 2.0)", "3.00"]


def test_a_detector_finds_the_made_faces(tmp_path: Path, real: Path) -> None:
    """Within 0.3 of the distance of the eyes, as far as a drawn face goes; left for right would be one of them."""
    clip = tmp_path / "made.mp4"
    truth = video.make(clip, 1, 2, 640, 360)
    frames = video.read(clip, 2)
    faces = video.finder(YuNet(real / "models" / video.DETECTORS["YuNet"][1]))(frames, 0)
    assert [i for i, _ in faces] == [0, 1]
    for (_, points), wanted in zip(faces, truth[:, 0], strict=True):
        eyes = float((wanted[0] - wanted[1]).norm())
        assert float((points - wanted).norm(dim=-1).mean()) < 0.3 * eyes


def table(text: str, title: str) -> dict[str, list[str]]:
    """Cells of the rows of the table whose first column has that title."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {title} "))
    end = next(n for n in range(start, len(lines) + 1) if n == len(lines) or not lines[n].startswith("|"))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start + 2 : end]]
    return {row[0]: row[1:] for row in rows}


def test_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a detector's file its row says so, and the rest is measured."""
    monkeypatch.setenv("ANON_REAL", str(tmp_path))
    size = ["--size", str(WIDTH), str(HEIGHT), "--seconds", str(FRAMES / video.RATE)]
    out = tmp_path / "video.md"
    monkeypatch.setattr("sys.argv", ["video.py", "--quick", "--faces", "2", *size, "--out", str(out)])
    video.main()
    text = out.read_text()
    assert str(tmp_path) not in text and f"{FRAMES} frames of {WIDTH} x {HEIGHT}" in text
    needs = table(text, "detector")
    assert {name: row[0] for name, row in needs.items()} == {n: f"needs {f}" for n, (_, f) in video.DETECTORS.items()}
    assert "at the known points" in text
    stages = table(text, "stage")
    assert list(stages) == [
        "decode", "align", "anonymize (FIVA)", "anonymize (blur)", "anonymize (pixelate)", "put back", "encode",
    ]  # fmt: skip
    for name, row in stages.items():
        assert float(row[1].split()[0]) > 0
        if name not in ("decode", "encode"):
            fast, slow = ([float(part.strip("()")) for part in cell.split() if part != "to"] for cell in row[1:3])
            assert fast[1] / slow[2] * 0.97 <= float(row[3]) <= fast[2] / slow[1] * 1.03  # median, least, most
    loop = table(text, "faces by")
    assert len(loop) == 2 and "FIVA" in loop and all(float(row[0].split()[0]) > 0 for row in loop.values())
    shares = [[float(cell) for cell in row] for row in table(text, "% of the time").values()]
    assert len(shares) == 4 and all(abs(sum(row) - 100) <= 3 for row in shares)


@pytest.mark.parametrize("content, reason", [(b"no video", "not a video"), (b"", "empty")])
def test_a_clip_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: bytes, reason: str
) -> None:
    (tmp_path / "clip.mp4").write_bytes(content)
    monkeypatch.setattr("sys.argv", ["video.py", str(tmp_path / "clip.mp4"), "--out", str(tmp_path / "x.md")])
    with pytest.raises(SystemExit):
        video.main()
    assert f"cannot be used as a video: {reason}." in capsys.readouterr().err


def test_a_clip_without_a_detector(
    made: tuple[Path, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ANON_REAL")
    monkeypatch.setattr("sys.argv", ["video.py", str(made[0]), "--out", str(tmp_path / "x.md")])
    with pytest.raises(SystemExit):
        video.main()
    assert "No face is found" in capsys.readouterr().err and not (tmp_path / "x.md").exists()
