"""The IFSR tool: which maps it takes, what it measures on a small network, and the files it writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anon.apps.ifsr import blocks, main, measure, measure_rendered, plot, report
from anon.errors import UserError
from anon.faces.synthetic.dataset import people_of
from anon.identity.encoder import Encoder
from anon.identity.networks.iresnet import iresnet_small
from anon.metrics.layers import Layer
from tests.training import small


def test_blocks_are_the_numbered_parts_in_the_order_they_run() -> None:
    assert blocks(small.encoder(), torch.zeros(1, 3, 16, 16)) == ["layer1.0", "layer2.0"]


def test_an_untouched_face_is_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a generator that changes nothing c2t is 0 and c2s the negatives' distance, in every map."""
    module = small.module()
    monkeypatch.setattr(type(module), "forward", lambda self, target, z: _Same(target))
    found = measure(module, small.Pictures(), pairs=20, batch_size=8)
    assert list(found) == ["layer1.0", "layer2.0"]
    for layer in found.values():
        assert layer.c2t == pytest.approx(0.0, abs=1e-6) and layer.c2s == pytest.approx(layer.negative)
        assert layer.negative > 1e-3 and layer.eer_c2t == 0.0


def test_rendered_swaps_keep_what_is_not_identity() -> None:
    """The shipped encoder's first block sees the target in a perfect swap, its last the source."""
    shipped = Encoder(iresnet_small(), 64, name="synthetic_a", weights="shipped:synthetic_a")
    found = list(measure_rendered(shipped, people_of("background", 24), 64, seed=0, pairs=48).values())
    assert found[0].c2t < found[0].c2s < found[0].negative
    assert found[-1].c2s < found[-1].c2t < found[-1].negative
    with pytest.raises(UserError, match="two people"):
        measure_rendered(shipped, people_of("background", 1), 64, seed=0)


class _Same:
    def __init__(self, target: torch.Tensor) -> None:
        self.target = target

    def blend(self, target: torch.Tensor) -> torch.Tensor:
        return self.target


def test_one_person_cannot_be_swapped() -> None:
    with pytest.raises(UserError, match="two people"):
        measure(small.module(), small.Pictures(count=2))


def test_report_names_the_overrides() -> None:
    figures = {"layer1.0": Layer(0.1, 0.5, 0.6, 0.0, 0.4, 0.1), "layer2.0": Layer(0.25, 0.5, 0.6, 0.0, 0.4, 0.1)}
    text = report(figures, "small")
    assert "encoder.layers=[layer1.0,layer2.0]" in text and "margins=[0.100000,0.250000]" in text
    assert plot(figures).startswith(b"\x89PNG")


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint"):
        main(tmp_path, "background", 8, None, None)
    assert not list(tmp_path.iterdir())
