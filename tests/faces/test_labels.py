"""Labels of pictures: a CSV by file and by person, classes and numbers, rendered faces, packed columns."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from anon.errors import UserError
from anon.faces.contract import Label, annotations_of
from anon.faces.datamodule import folder_data
from anon.faces.labels import annotated, groups, label_of, label_of_numbers, labels_for, read_labels
from anon.faces.synthetic import parameters
from anon.faces.synthetic.dataset import SyntheticFaces
from anon.faces.synthetic.parameters import known_labels
from tests.faces.test_folder import people, save


def table(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_by_file_and_by_person(tmp_path):
    path = table(tmp_path, "file,gender,age\nann/1.png,f,31\nann/1.png,m,9\nbob/1.png,m,\nelse/9.png,x,40\n")
    files = ["ann/1.png", "ann/2.png", "bob/1.png"]
    found = labels_for(read_labels(path), ["ann", "bob"], torch.tensor([0, 0, 1]), lambda: files, path)
    assert found["gender"].classes == ("f", "m") and found["gender"].values.tolist() == [0, -1, 1]
    assert found["age"].classes == ("31",) and found["age"].values.tolist() == [0, -1, -1]
    path = table(tmp_path, "identity,tone\nANN,3\nbob,10\n")
    found = labels_for(read_labels(path), ["ann", "bob"], torch.tensor([1, 0, 1]), None, path)
    assert found["tone"].classes == ("3", "10") and found["tone"].values.tolist() == [1, 0, 1]


def test_wrong_tables(tmp_path):
    for text in ("name,age\nann,3\n", "file\nann/1.png\n", "file,age,age\na,1,2\n", ""):
        with pytest.raises(UserError, match=r"data\.labels='.*' needs a column 'file'"):
            read_labels(table(tmp_path, text))
    with pytest.raises(UserError, match=r"data\.labels='.*' cannot be read"):
        read_labels(tmp_path / "none.csv")
    path = table(tmp_path, "file,age\nann/1.png,3\n")
    with pytest.raises(UserError, match="None of the 1 rows"):
        labels_for(read_labels(path), ["bob"], torch.tensor([0]), lambda: ["bob/1.png"], path)
    with pytest.raises(UserError, match="names files, and this data has none"):
        labels_for(read_labels(path), ["bob"], torch.tensor([0]), None, path)


def test_a_table_says_what_it_has_of_those_who_are_not_evaluated(tmp_path):
    """Anchors that share a label are training people; a table that is of the evaluated ones alone is fine, too."""

    def sets(split):
        name = {"evaluation": "ann", "train": "bob", "attacker": "eve"}[split]
        return SimpleNamespace(
            names=[name], labels=torch.tensor([0, 0]), files=lambda: [f"{name}/1.png", f"{name}/2.png"]
        )

    for text in ("file,tone\nann/1.png,light\nbob/2.png,dark\n", "identity,tone\nann,light\nbob,dark\n"):
        path = table(tmp_path, text)
        assert annotated(sets, path, "evaluation").given["tone"].classes == ("light",)
        assert annotated(sets, path, "train").given["tone"].classes == ("dark",)
        assert not hasattr(annotated(sets, path, "attacker"), "given")
    with pytest.raises(UserError, match="None of the 1 rows"):
        annotated(sets, table(tmp_path, "identity,tone\nbob,dark\n"), "evaluation")


def test_classes_and_numbers():
    many = [f"person {number}" for number in range(25)]
    assert label_of(many) is None  # a name is no group
    numbers = label_of([str(number / 2) for number in range(11)])
    assert numbers is not None and numbers.classes == () and numbers.values[3] == 1.5
    missing = label_of(["1", "", *map(str, range(2, 12))])
    assert missing is not None and bool(missing.values[1].isnan())
    assert label_of_numbers(torch.zeros(3, 2)) is None
    word = label_of(["NA", "none", "unknown", "dark"])
    assert word is not None and word.classes == ("dark", "none") and word.values.tolist() == [-1, 1, -1, 0]
    packed = label_of_numbers(torch.tensor([0.5, float("nan"), 0.25]))
    assert packed is not None and packed.classes == ("0.25", "0.5") and packed.values.tolist() == [1, -1, 0]
    assert label_of_numbers(torch.arange(20)).values.dtype == torch.float32


def test_cuts_are_stated():
    numbers = Label(torch.tensor([float("nan"), 1.0, 2.0, 3.0, 4.0, 5.0]))
    found = groups(numbers, [0.5, 0.25])
    # of 1 to 5 a quarter lies at 2 and a half at 3; what lies on a cut is in the upper group
    assert {name: chosen.tolist() for name, chosen in found.items()} == {
        "below 2": [False, True, False, False, False, False],
        "2 to 3": [False, False, True, False, False, False],
        "3 or more": [False, False, False, True, True, True],
    }
    equal = groups(Label(torch.tensor([1.0, 1.0, 1.0])), [0.5])
    assert list(equal) == ["1 or more"]
    assert groups(Label(torch.full((3,), torch.nan)), [0.5]) == {}


def test_a_folder_has_the_labels_of_its_table(tmp_path):
    for shade, name in enumerate(("ann/1.png", "ann/2.png", "bob/1.png")):
        save(tmp_path / "faces" / name, (50 * shade, 90, 120))
    (tmp_path / "faces" / "ann" / "0.png").write_bytes(b"no picture")  # the rows after it are one earlier
    path = table(tmp_path, "file,glasses\nann/2.png,yes\nann/1.png,no\nbob/1.png,no\n")
    data = folder_data(
        str(tmp_path / "faces"), 16, 2, everyone=True, cache=str(tmp_path / "cache"), labels=str(path), max_damaged=1
    )
    faces = data.faces("evaluation")
    assert faces.files() == ["ann/1.png", "ann/2.png", "bob/1.png"]
    label = annotations_of(faces)["glasses"]
    assert [label.classes[value] for value in label.values.tolist()] == ["no", "yes", "no"]


def test_what_the_renderer_knows():
    """Two people by hand: the first grows a beard (.9 x .9), the second does not (.9 x .3); glasses are worn in one."""
    person = {"melanin": torch.tensor([0.2, 0.7]), "masculine": torch.tensor([0.9, 0.9])}
    person["beard"] = torch.tensor([0.9, 0.3])
    worn = torch.tensor([parameters.OCCLUDERS.index(name) for name in ("none", "glasses", "hand", "sunglasses")])
    found = known_labels(person, torch.tensor([0, 0, 1, 1]), worn)
    assert found["skin"].values.tolist() == pytest.approx([0.2, 0.2, 0.7, 0.7])
    assert found["beard"].values.tolist() == [1, 1, 0, 0]
    assert found["glasses"].values.tolist() == [0, 1, 0, 1]


def test_rendered_faces_have_them(tmp_path):
    faces = SyntheticFaces("evaluation", size=16, identities=2, images=2, cache=tmp_path)
    found = annotations_of(faces)
    assert set(found) == {"skin", "shape", "beard", "glasses"}
    assert all(len(label.values) == len(faces) == 4 for label in found.values())
    own = parameters.people(faces._numbers, 0)["melanin"]
    assert found["skin"].values.tolist() == own[[0, 0, 1, 1]].tolist()
    assert annotations_of(object()) == {}  # type: ignore[arg-type]


def test_only_who_is_evaluated_needs_a_row(tmp_path):
    """Training and background people are told by no group, so a table without them is whole."""
    (evaluated,), (trained,) = people("evaluation", 1), people("train", 1)
    for name in (evaluated, trained):
        save(tmp_path / "faces" / name / "1.png", (10, 90, 120))
    path = table(tmp_path, f"identity,tone\n{evaluated},dark\n")
    data = folder_data(str(tmp_path / "faces"), 16, 1, cache=str(tmp_path / "cache"), labels=str(path))
    assert annotations_of(data.faces("train")) == {}
    assert annotations_of(data.faces("evaluation"))["tone"].classes == ("dark",)


def test_a_published_set_and_its_ages(real, tmp_path):
    """34 people, 17 women and 17 men in two photographs each; two of them did not tell their age ("NA")."""
    rows = json.loads((real / "faces/_meta/london_index.json").read_text())
    lines = [f"{row['identity']},{row['gender']},{row['age']}" for row in rows]
    path = table(tmp_path, "\n".join(["identity,gender,age", *lines]))
    root, cache = str(real / "faces/london"), str(tmp_path / "cache")
    data = folder_data(root, 32, 2, everyone=True, cache=cache, labels=str(path))
    found = annotations_of(data.faces("evaluation"))
    assert found["gender"].classes == ("female", "male")
    assert found["gender"].values.bincount().tolist() == [34, 34]
    assert found["age"].classes == () and int(found["age"].values.isnan().sum()) == 4
