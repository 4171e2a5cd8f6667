from __future__ import annotations

from pathlib import Path

from anon.evaluation.trained import newest


def run(folder: Path, name: str, date: str, checkpoint: bool = True) -> Path:
    path = folder / name / "train" / "reconstruction" / date / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    if checkpoint:
        path.touch()
    return path


def test_the_newest_run_with_a_checkpoint(tmp_path):
    wanted = run(tmp_path, "jpeg", "2026-11-21_20-00-00_aaaaaa")
    run(tmp_path, "jpeg", "2026-11-20_23-59-59_ffffff")
    run(tmp_path, "jpeg", "2026-11-22_00-00-00_bbbbbb", checkpoint=False)  # broken off
    run(tmp_path, "jpeg50", "2026-11-23_00-00-00_cccccc")  # another name
    assert newest(tmp_path, "jpeg") == newest(str(tmp_path), "jpeg") == wanted


def test_nothing_trained(tmp_path):
    run(tmp_path, "jpeg", "2026-11-22_00-00-00_bbbbbb", checkpoint=False)
    assert newest(tmp_path, "jpeg") is None
    assert newest(tmp_path, "pgd") is None
    assert newest(tmp_path / "absent", "jpeg") is None
    assert newest(None, "jpeg") is None
