"""benchmarks/robustness.py: error rates under attack by hand, and whole on rendered faces."""

from __future__ import annotations

import pytest
import torch

from anon.faces.synthetic.dataset import SyntheticFaces
from anon.identity.encoder import Encoder
from anon.identity.networks.iresnet import iresnet_small
from anon.training.robustness import WorstPicture
from benchmarks.robustness import figures_of, measure


def test_figures_by_hand() -> None:
    clean, labels = torch.eye(3)[[0, 0, 1, 1]], torch.tensor([0, 0, 1, 1])
    assert figures_of(clean, clean, labels) == (0.0, 0.0, 1.0)
    assert figures_of(clean, clean[[2, 3, 0, 1]], labels) == (0.0, 1.0, 0.0)  # each became the other
    half = clean.clone()
    half[0] = torch.tensor([0.0, 0.6, 0.8])  # one of four fled: nearer to the other person than to its own
    # Genuine distances 1, 0, 0, 0; between people .4, .4 and six times 1. Accepted below .4 are three of the four and
    # nobody else, below 1 two strangers of eight as well: a quarter is refused and a quarter accepted.
    assert figures_of(clean, half, labels) == pytest.approx((0.0, 0.25, 0.75))


def test_a_stronger_attack_leaves_less(tmp_path) -> None:
    faces = SyntheticFaces("background", size=64, identities=6, images=2, cache=tmp_path)
    encoder = Encoder(iresnet_small(), 64, name="synthetic_a", weights="shipped:synthetic_a")
    weak, strong = (measure(encoder, faces, WorstPicture(radius, 4, 0.5), 4, 0) for radius in (0.1, 3.0))
    assert weak.eer == strong.eer and weak.own_cosine > 0.8 > 0.3 > strong.own_cosine
    assert strong.attacked_eer > 0.5 > weak.attacked_eer
