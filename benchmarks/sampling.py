"""Which cosine Sampling wants, and which it gets, on photographs: ``ANON_REAL=<folder> python benchmarks/sampling.py``.

MobileFaceNet's embeddings of LFW (aligned to 112 x 112 by given points): anchors of the training people, faces of the
evaluation people. ``1,024 of two``: the anchors as they once were, mixes of each person with the next in a shuffled
list; ``two``: all mixes of two; ``up to 8``: more people join where no mix of two has the wanted cosine.
"""

from __future__ import annotations

import os

import torch
from hydra.utils import instantiate
from torch import Tensor
from torch.nn import functional as F

from anon.apps.config import composed
from anon.evaluation import protocol as rules
from anon.evaluation.embeddings import batches
from anon.identity.policies import MISSED, AnchorSampling, average

M, BATCH = -0.5, 64


@torch.no_grad()
def embeddings(real: str) -> dict[str, tuple[Tensor, Tensor]]:
    """(N, D) by MobileFaceNet and labels (N,), by split."""
    words = ["experiment=fiva", "data=folder", f"data.root={real}/faces/lfw", "data.size=112", "encoder=mobilefacenet"]
    words += [f"data.points={real}/faces/_meta/lfw_index.csv"]
    words += [f"encoder.weights={real}/models/mobilefacenet_foamliu/mobilefacenet.pt"]
    config = composed("evaluate", words)
    data, encoder = instantiate(config.data), instantiate(config.encoder)
    found = {}
    for split in ("train", "evaluation"):
        faces = data.faces(split)
        rows = rules.some_of_each(faces, 10)
        z = torch.cat([encoder(batch["image"]).z for batch in batches(faces, rows, BATCH, split)])
        found[split] = z, faces.labels[rows]
    return found


def report(name: str, cosine: Tensor, extreme: Tensor) -> None:
    """A line: mean, deviation and range of the achieved cosine, and who got the most extreme anchor."""
    low, high = float(cosine.min()), float(cosine.max())
    share = float(extreme.double().mean())
    print(f"{name:>26}  {float(cosine.mean()):.3f} ± {float(cosine.std()):.3f}  [{low:.3f}, {high:.3f}]  {share:.3f}")


def main() -> None:
    """Both sides: mirrored anchors for a generator that flees (FIVA), plain ones for swappers."""
    found = embeddings(os.environ["ANON_REAL"])
    people, (z, _) = average(*found["train"])[0], found["evaluation"]
    order = people[torch.randperm(len(people), generator=torch.Generator().manual_seed(0))]
    old = F.normalize(order + order.roll(-1, 0))[:1024]
    print(f"{len(people):,} training people, {len(z):,} faces, wanted {M}")
    print(f"{'anchors':>26}  achieved  [range]  share of the faces with the most extreme anchor")
    for side, sign in (("mirrored", -1.0), ("plain", 1.0)):
        cosine = sign * z @ old.T  # (N, 1024)
        chosen = cosine.gather(1, (cosine - M).abs().argmin(1, keepdim=True))[:, 0]
        report(f"{side}, 1,024 of two", chosen, chosen <= cosine.min(1).values + 1e-6)
        for most, name in ((2, "two"), (8, "up to 8")):
            policy = AnchorSampling(people, M, mirrored=sign < 0, most=most)
            chosen = torch.cat([(policy(part) * part).sum(1) for part in z.split(BATCH)])
            report(f"{side}, {name}", chosen, (chosen - M).abs() > MISSED)


if __name__ == "__main__":
    main()
