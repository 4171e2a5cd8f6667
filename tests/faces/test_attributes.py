"""Binary attributes: of rendered faces by hand, of CelebA's columns, and whose row a batch's face is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anon.errors import UserError
from anon.faces.attributes import Rows, binary, check_groups, known_attributes
from anon.faces.contract import Label
from anon.faces.synthetic.attributes import celeba_labels
from anon.faces.synthetic.dataset import SyntheticFaces
from anon.faces.synthetic.parameters import people


class Given:
    """A set with labels alone."""

    def __init__(self, **labels: Label) -> None:
        self.given = labels

    def annotations(self) -> dict[str, Label]:
        return self.given


def test_what_a_rendered_face_shows_by_hand() -> None:
    """A person set by hand: dark, bearded, bald; the same with hair, light and fair-haired; and a shaven one."""
    person = {name: values[:3].clone() for name, values in people([1, 2, 3]).items()}
    person["melanin"] = torch.tensor([0.9, 0.1, 0.1])
    person["bald"] = torch.tensor([0.0, 1.0, 1.0])
    person["fringe"] = torch.tensor([0.9, 0.9, 0.1])
    person["masculine"] = torch.tensor([1.0, 0.2, 0.8])
    person["beard"] = torch.tensor([0.5, 0.9, 0.4])  # times masculine: .5, .18, .32
    person["hair_light"] = torch.tensor([0.5, 1.0, 0.0])
    person["hair_hue"] = torch.tensor([0.5, 0.5, 0.5])
    owners, worn = torch.tensor([0, 1, 2, 1]), torch.tensor([0, 1, 2, 3])
    shown = torch.zeros(4, 4)
    shown[3, 0] = 0.6
    found = {name: label.values.tolist() for name, label in celeba_labels(person, owners, worn, shown).items()}
    assert found["Bald"] == [1, 0, 0, 0] and found["Bangs"] == [0, 1, 0, 1]  # no fringe on a bald head
    assert found["Male"] == [1, 0, 1, 0] and found["Pale_Skin"] == [0, 1, 1, 1]
    assert found["Mustache"] == [1, 0, 0, 0] and found["No_Beard"] == [0, 1, 1, 1]
    assert found["Eyeglasses"] == [0, 1, 1, 0]  # sunglasses are, a mask is not
    assert found["Mouth_Slightly_Open"] == [0, 0, 0, 1]
    colours = [found[name] for name in ("Black_Hair", "Brown_Hair", "Blond_Hair")]
    assert colours == [[0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 1]]  # none of a bald head


def test_rendered_faces_and_labels_of_a_table(tmp_path: Path) -> None:
    faces = SyntheticFaces("train", 16, identities=4, images=2, cache=tmp_path)
    found = known_attributes(faces)
    assert {"Bald", "Eyeglasses", "beard", "glasses"} <= found.keys() and "skin" not in found  # a number
    both = binary(faces, ["Eyeglasses", "glasses"])
    assert both.shape == (8, 2) and torch.equal(both[:, 0], both[:, 1])
    batch = faces.__getitems__([5, 0, 7])
    assert Rows(faces).of(batch).tolist() == [5, 0, 7]


def test_of_celebas_columns_unknown_stays_unknown() -> None:
    faces = Given(Bald=Label(torch.tensor([1, -1, 0]), ("-1", "1")), Age=Label(torch.tensor([3.0, 4.0, 5.0])))
    found = binary(faces, ["Bald"])  # type: ignore[arg-type]
    assert found[[0, 2], 0].tolist() == [1.0, 0.0] and bool(found[1, 0].isnan())


def test_what_is_none_is_refused() -> None:
    faces = Given(Bald=Label(torch.tensor([1, 0]), ("-1", "1")))
    with pytest.raises(UserError, match="no attribute 'Young' of two classes; it has Bald"):
        binary(faces, ["Bald", "Young"])  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"data\.labels="):
        binary(Given(), ["Young"])  # type: ignore[arg-type]
    for names in ([], "Bald", ["Bald", "Bald"]):
        with pytest.raises(UserError, match="each once"):
            binary(faces, names)  # type: ignore[arg-type]
    names = ("Black", "Brown", "Bald")
    assert check_groups([["Black", "Bald"]], names) == ((0, 2),)
    for groups in ([["Black"]], [["Black", "Red"]], [["Black", "Brown"], ["Brown", "Bald"]]):
        with pytest.raises(UserError, match="exclude each other"):
            check_groups(groups, names)


def test_two_pictures_of_one_place_are_refused(tmp_path: Path) -> None:
    faces = SyntheticFaces("train", 16, identities=2, images=2, cache=tmp_path)
    faces.frames = torch.zeros_like(faces.frames)
    with pytest.raises(UserError, match="cannot tell them apart"):
        Rows(faces)
