"""Every choice of the group ``collection`` builds, and says that it needs its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from anon.errors import UserError

GROUP = Path(__file__).resolve().parents[3] / "conf" / "collection"


@pytest.mark.parametrize("path", sorted(GROUP.glob("*.yaml")), ids=lambda path: path.stem)
def test_without_a_root_each_says_where_the_data_set_comes_from(path: Path) -> None:
    with pytest.raises((UserError, InstantiationException)) as caught:
        instantiate(OmegaConf.load(path))
    assert "needs its folder (root=<folder>); " in str(caught.value)


def test_all_ten_are_there() -> None:
    found = {path.stem for path in GROUP.glob("*.yaml")}
    assert found == {
        *("vggface2", "celeba", "celeba_hq", "ffhq", "lfw", "aflw2000", "affectnet"),
        *("faceforensics", "ravdess", "voxceleb"),
    }
