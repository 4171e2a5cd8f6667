"""The figures of Made Simple's card, of a network that says nothing yet, by hand."""

from __future__ import annotations

import pytest
import torch

from anon.evaluation.denoised import triple_losses
from anon.generators.diffusion import kept
from anon.generators.made_simple.network import MadeSimple


class Triples:
    """Ten people, whose driving pictures are the truth."""

    labels = torch.arange(10)
    size = 32

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        picture = torch.full((3, 32, 32), index / 10 - 0.5)
        return {"image": picture, "source": -picture, "driving": picture}


def test_losses_of_triples_by_hand() -> None:
    """Where the truth is the driving picture, the beginning is wrong by sqrt(a) s^2 / q n, q = a s^2 + 1 - a."""
    found = triple_losses(MadeSimple((8, 16), spread=0.5), Triples(), count=4, batch_size=3)
    names = [f"loss at t={level}{told}" for level in (0.4, 0.7, 0.95) for told in ("", " without a source")]
    assert list(found) == names and all(each.shape == (4,) for each in found.values())
    for level in (0.4, 0.7, 0.95):
        a = float(kept(torch.tensor(level)))
        wanted = a * 0.5**4 / (a * 0.25 + 1 - a) ** 2  # n has a power of 1
        assert float(found[f"loss at t={level}"].mean()) == pytest.approx(wanted, rel=0.05)
        assert torch.equal(found[f"loss at t={level}"], found[f"loss at t={level} without a source"])
