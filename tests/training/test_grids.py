"""The sample grid: which faces, how they are laid out, and whose are logged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning.loggers import WandbLogger

from anon.training.grids import SampleGrids, sheet, spread
from tests.training import small


def test_faces_are_the_first_of_people_spread_over_the_set() -> None:
    faces = small.Pictures()  # 12 people with two pictures each
    chosen = spread(faces, 3)  # people 0, 5, 11
    torch.testing.assert_close(chosen, faces.images[[0, 10, 22]])
    assert len(spread(faces, 99)) == 12


def test_sheet_has_a_row_a_face_and_a_column_a_batch() -> None:
    black, white = torch.full((3, 3, 2, 2), -1.0), torch.ones(3, 3, 2, 2)
    picture = sheet([black, white])
    assert picture.shape == (6, 4, 3)
    assert picture[:, :2].eq(0).all()
    assert picture[:, 2:].eq(255).all()


@pytest.mark.parametrize(("synthetic", "images", "logged"), [(True, False, 1), (False, False, 0), (False, True, 1)])
def test_grid_is_written_and_shown_only_where_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synthetic: bool, images: bool, logged: int
) -> None:
    shown = []
    monkeypatch.setattr(WandbLogger, "log_image", lambda self, *args, **kwargs: shown.append(args))
    monkeypatch.setattr(WandbLogger, "log_metrics", lambda self, *args, **kwargs: None)
    monkeypatch.setattr(WandbLogger, "experiment", None)
    data = small.data()
    data.synthetic = synthetic
    grids = SampleGrids(str(tmp_path / "grids"), every=2, faces=3, images=images)
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    module = small.module()
    small.trainer(tmp_path, 3, callbacks=[grids], logger=logger).fit(module, datamodule=data)
    assert len(shown) == logged
    assert [path.name for path in tmp_path.glob("grids/*")] == ["0000002.png"] * logged
    if not logged:
        return
    mode = (tmp_path / "grids" / "0000002.png").stat().st_mode & 0o077
    assert bool(mode) == synthetic  # faces of people are their owner's only
    picture = np.asarray(Image.open(tmp_path / "grids" / "0000002.png"))
    assert picture.shape == (3 * 32, 7 * 32, 3)
    target = spread(small.Pictures("background"), 3)[0]
    assert np.abs(picture[::2, ::2][:16, :16] / 127.5 - 1 - target.permute(1, 2, 0).numpy()).max() < 0.01
