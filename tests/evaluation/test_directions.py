"""Which way a metric of a training is better."""

from __future__ import annotations

from anon.evaluation.compare.metrics import Better


def test_directions_of_trainings() -> None:
    """Whole names of what this package logs, and the losses of a run's own configuration; nothing by how it begins."""
    losses = ["pixel", "ifsr"]
    ways = {
        "train/pixel": False,
        "train/ifsr": False,
        "val/pixel": None,
        "train/swap_blended": True,
        "val/cos_swap": True,
        "val/eer": False,
        "val/accuracy": True,
        "val/pose": False,
        "val/cos_own": None,  # FIVA flees, swappers do not
        **dict.fromkeys(("val/losses_of_hair", "val/tarnish", "val/poses", "train/swap_back", "mine/loss"), None),
    }
    assert {name: Better().higher_is_better(name, losses) for name in ways} == ways
    said = Better(frozenset({"val/cos_own"}), frozenset({"val/eer"}))
    assert [said.higher_is_better(name) for name in ("val/cos_own", "val/eer", "val/tar")] == [False, True, True]
