"""``anon zoo``: cards as data, the page of them, and what verify sees of files and figures that are not as stated."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from anon import weights
from anon.apps import reruns, zoo
from anon.errors import UserError
from anon.faces.synthetic.dataset import SyntheticFaces
from anon.weights.cards import Figure, card, cards
from tests.conftest import ROOT, script

TEXT = """# mine

- what: swapper, Mine
- parameters: 1,234
- input: 64 x 64
- command: `python train.py experiment=mine 'data.images={train:12}'`
- data: synthetic, split attacker: 7 people, 3 pictures each, seed 5
- seed: 5
- made with: torch 2.0, commit abc+

## Measured

| figure | value |
|---|---|
| swap_ID | 0.25 |
| swap_ID, low | 0.125 |
| swap_ID, high | 0.5 |
| R2, mean | -0.5 |
| pairs (the worst of a and b) | 1.69e+04 |

Figures: somebody's. Licence: CC0, as nothing. More.
"""


def test_a_card_is_read(tmp_path: Path) -> None:
    weights.ship({"w": torch.zeros(3)}, "mine", TEXT, tmp_path, people="rendered from 9")
    (mine,) = cards(tmp_path)
    assert mine[:8] == (
        "mine",
        "swapper, Mine",
        "1,234",
        "python train.py experiment=mine 'data.images={train:12}'",
        "synthetic, split attacker: 7 people, 3 pictures each, seed 5",
        "attacker",
        "torch 2.0, commit abc+",
        "CC0, as nothing",
    )
    assert mine.figures == {
        "swap_ID": Figure(0.25, 0.125, 0.5),
        "R2, mean": Figure(-0.5),
        "pairs (the worst of a and b)": Figure(16900.0),
    }
    assert mine.headline == {"swap_ID": Figure(0.25, 0.125, 0.5)} and mine.people == "rendered from 9"
    assert "figures    swap_ID .25 [.125, .5]; 2 more on its card" in zoo.listing(mine)


@pytest.mark.parametrize("lost", ["- what: ", "- command: ", "split attacker: ", "Licence: "])
def test_a_card_that_does_not_tell_is_refused(lost: str, tmp_path: Path) -> None:
    weights.ship({"w": torch.zeros(3)}, "mine", TEXT.replace(lost, "lost "), tmp_path)
    with pytest.raises(UserError, match="does not say how the weights were made"):
        card("mine", tmp_path)


def test_every_card_that_ships_is_measured_again() -> None:
    shipped = cards()
    assert len(shipped) >= 11 and {each.licence for each in shipped} == {"MIT, as the code"}
    for each in shipped:
        assert each.headline and any(each.what.startswith(kind) for kind in reruns._KINDS), each.name
    assert {each.name for each in shipped if each.people} == {"synthetic_c", "synthetic_d"}
    assert card("reconstruction").split == "attacker" and card("synthetic_a").split == "train"


def test_the_page_is_up_to_date() -> None:
    """``python docs/zoo.py`` makes it."""
    module = script("docs/zoo.py")
    assert (ROOT / "docs" / "zoo.md").read_text(encoding="utf-8") == module.page(cards())


@pytest.mark.parametrize(
    ("again", "code", "told"),
    [
        ({"top1": Figure(0.99, 0.98, 0.999)}, 0, "top1 is .99 [.98, .999], the card states .9954: as stated"),
        ({"top1": Figure(0.9, 0.88, 0.92)}, 2, "not as stated: synthetic_a: top1 is .9 [.88, .92]"),
        ({"other": Figure(0.9, 0.88, 0.92)}, 2, "the card states none"),
        ({}, 0, "not measured again: eer, eer_threshold, tar"),
    ],
)
def test_verify_compares(
    again: dict[str, Figure],
    code: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(reruns, "measured_again", lambda card: again)
    assert zoo.command(["verify", "synthetic_a"]) == code
    printed = capsys.readouterr()
    assert told in printed.out + printed.err and "has the stated hash, 956b321f48d30c1a" in printed.out


def test_verify_refuses_other_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bit of the last weight."""
    for suffix in ("md", "safetensors"):
        shutil.copyfile(weights.FOLDER / f"synthetic_b.{suffix}", tmp_path / f"synthetic_b.{suffix}")
    shutil.copyfile(weights.FOLDER / "index.json", tmp_path / "index.json")
    file = tmp_path / "synthetic_b.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1]))
    for function in (weights.index, weights.path, card):
        monkeypatch.setattr(function, "__defaults__", (tmp_path,))
    assert zoo.command(["verify", "synthetic_b"]) == 2
    assert "damaged (SHA-256 differs)" in capsys.readouterr().err


def test_over_people_has_people_as_the_trials() -> None:
    """Ten people found always: Clopper and Pearson's lower end is .025^(1/10), however many pictures they have."""
    labels = torch.arange(10).repeat_interleave(6)
    found = reruns.over_people(torch.ones(60), labels)
    assert found.value == 1.0 and found.high == 1.0 and found.low == pytest.approx(0.025**0.1, abs=1e-3)
    two = reruns.over_people(torch.tensor([3.0, 5.0, 7.0, 9.0]), torch.tensor([0, 0, 1, 1]))  # means 4 and 8
    half = 1.96 * 8**0.5 / 2**0.5
    assert two.value == 6.0 and (two.low, two.high) == pytest.approx((6 - half, 6 + half))


@pytest.mark.parametrize("name", ["synthetic_a", "look", "attributes", "expression"])
def test_a_figure_is_measured_again(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 24 of the 256 people, whose interval is wide; a network that learned nothing is outside of it."""
    few = SyntheticFaces("evaluation", identities=24, images=4, cache=tmp_path)
    monkeypatch.setattr(reruns, "_people", lambda card: few)
    ((figure, again),) = reruns.measured_again(card(name)).items()
    stated = card(name).figures[figure]
    assert (
        again.value > stated.value if name == "look" else zoo.within(stated, again)
    )  # few people are told apart easily
    monkeypatch.setattr("anon.attributes.regressor.load_into", lambda module, path: None)
    monkeypatch.setattr("anon.attributes.expression.load_into", lambda module, path: None)
    monkeypatch.setattr("anon.attributes.look.load_into", lambda module, path: None)
    monkeypatch.setattr("anon.identity.encoder.load_into", lambda module, path: None)
    torch.manual_seed(0)
    assert not zoo.within(stated, reruns.measured_again(card(name))[figure])


def test_a_kind_of_ones_own_is_not_measured_again() -> None:
    assert reruns.measured_again(card("fiva")._replace(what="a poem")) == {}
