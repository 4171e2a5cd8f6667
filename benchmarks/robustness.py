"""How well does a recognizer verify people whose pictures were changed to flee it? Prints Markdown.

    python benchmarks/robustness.py data=synthetic_large --encoder encoder=synthetic_a \\
        --encoder encoder=synthetic_robust
    python benchmarks/robustness.py data=packed data.root=<packed> data.size=112 --radius 3.5 \\
        --encoder encoder=mobilefacenet encoder.weights=<file> \\
        --encoder encoder=student encoder.weights=<run folder>/checkpoints/last.ckpt

Background people. Each picture is moved away from its own embedding by projected gradient ascent within an L2 ball
(Madry et al., ICLR 2018), against the recognizer that judges it: a white-box attack. EER is over all pairs of different
pictures; attacked, one of the two is the changed one, so each pair counts twice. "own cosine" is the mean cosine of a
changed picture to itself unchanged. What an attack of few steps does not find may still be there: it bounds the true
robustness from above.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from hydra.utils import instantiate
from torch import Tensor

from anon.apps.config import composed
from anon.faces.contract import FaceSet, batch_of
from anon.identity.encoder import Encoder
from anon.identity.verification import distances, equal_error_rate, pair_distances
from anon.progress import track
from anon.training.robustness import WorstPicture


class Figures(NamedTuple):
    """Of one recognizer; rates in [0, 1]."""

    eer: float
    attacked_eer: float
    own_cosine: float


def figures_of(clean: Tensor, attacked: Tensor, labels: Tensor) -> Figures:
    """From embeddings (N, D) of the same pictures, unchanged and changed, and their identities (N,)."""
    same = labels[:, None] == labels[None]
    between = distances(attacked, clean)
    genuine = between[same & ~torch.eye(len(labels), dtype=torch.bool)]
    eer = [equal_error_rate(*each)[0] for each in (pair_distances(clean, labels), (genuine, between[~same]))]
    return Figures(*eer, float((attacked * clean).sum(1).mean()))


def measure(encoder: Encoder, faces: FaceSet, attack: WorstPicture, people: int, seed: int, batch: int = 32) -> Figures:
    """The figures of ``encoder`` on the first ``people`` of ``faces`` who have two pictures or more."""
    labels = torch.as_tensor(faces.labels)
    several = (labels.bincount()[labels] > 1).nonzero().flatten()
    chosen = several[torch.isin(labels[several], labels[several].unique()[:people])]
    clean, attacked, rng = [], [], torch.Generator().manual_seed(seed)
    for rows in track(chosen.split(batch), encoder.name, len(chosen), batch):
        images = batch_of(faces, rows.tolist())["image"]
        with torch.no_grad():
            clean.append(encoder(images).z)

        def away(at: Tensor, own: Tensor = clean[-1]) -> Tensor:
            return 1.0 - (encoder(at).z * own).sum(1)

        changed = attack(away, images, rng)
        with torch.no_grad():
            attacked.append(encoder(changed).z)
    return figures_of(torch.cat(clean), torch.cat(attacked), labels[chosen])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each recognizer, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", nargs="+", help="as train.py has it")
    parser.add_argument("--encoder", nargs="+", action="append", required=True, help="as train.py has it")
    parser.add_argument("--radius", type=float, nargs="+", default=[2.0], help="L2 norm of the change, [-1, 1] range")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--step", type=float, default=0.25, help="share of the radius")
    parser.add_argument("--people", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    print(f"{given.people} people at most, {given.steps} steps of {given.step} of the radius, seed {given.seed}\n")
    print("| recognizer | EER | radius | EER, attacked | own cosine | minutes |\n|---|---|---|---|---|---|")
    for words in given.encoder:
        config = composed("train", ["experiment=fiva", *given.data, *words])
        encoder, faces = instantiate(config.encoder), instantiate(config.data).faces("background")
        for radius in given.radius:
            begun = time.perf_counter()
            attack = WorstPicture(radius, given.steps, given.step)
            found = measure(encoder, faces, attack, given.people, given.seed)
            minutes = (time.perf_counter() - begun) / 60
            cells = (f"{found.eer:.4f}", f"{radius:g}", f"{found.attacked_eer:.4f}", f"{found.own_cosine:.3f}")
            print(f"| {encoder.name} | {' | '.join(cells)} | {minutes:.1f} |", flush=True)


if __name__ == "__main__":
    main()
