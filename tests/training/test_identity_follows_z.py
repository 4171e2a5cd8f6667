"""FaceShifter's network, trained for a minute on a few people: swapping z between two faces swaps who they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch.nn import functional as F

from anon.faces.synthetic.dataset import SyntheticFaces
from anon.training.target_oriented import TargetOriented
from tests.training import small

CONF = Path(__file__).parents[2] / "conf"
PEOPLE, PICTURES, STEPS = 8, 6, 200


def trained(folder: Path, faces: SyntheticFaces) -> TargetOriented:
    overrides = ["experiment=faceshifter", "data.size=32", "generator.width=0.06", "discriminator.base=8"]
    overrides += ["model.lr=2e-3", "model.warmup=0", "model.cooldown=50", f"model.steps={STEPS}", "model.ema=0.9"]
    with initialize_config_dir(config_dir=str(CONF), version_base=None):
        torch.manual_seed(0)
        module = instantiate(compose("train", overrides).model)
    learned = [
        {"image": faces[index]["image"]} for index in range(len(faces)) if index % PICTURES
    ]  # not each first one
    loader = torch.utils.data.DataLoader(learned, batch_size=8, shuffle=True, drop_last=True)  # type: ignore[arg-type]
    small.trainer(folder, STEPS, max_epochs=-1).fit(module, loader)
    return module.eval()


@pytest.mark.slow
@torch.no_grad()
def test_identity_follows_z(tmp_path: Path) -> None:
    """On pictures it has not seen: the swap is nearer to whom z is of than to whose picture was redrawn."""
    faces = SyntheticFaces("train", size=32, identities=PEOPLE, images=PICTURES, clips=0, cache=tmp_path)
    module = trained(tmp_path, faces)
    unseen = torch.stack([faces[index]["image"] for index in range(0, len(faces), PICTURES)])
    z = module.encoder(unseen).z
    follows = []
    for shift in range(1, PEOPLE):  # every face with every other's z
        source = z.roll(shift, 0)
        changed = module.encoder(module.averaged(unseen, source).image).z
        follows.append(F.cosine_similarity(changed, source) > F.cosine_similarity(changed, z))
    assert torch.stack(follows).float().mean() > 0.9
