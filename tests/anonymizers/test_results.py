"""A folder of results as an anonymizer: it knows the originals by their bytes, and says what it lacks."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from anon.anonymizers.results import ResultsFolder, swaps_of
from anon.errors import Failed, UserError
from anon.faces.contract import to_float
from anon.faces.datamodule import FaceData, folder_data, synthetic_data
from anon.faces.splits import split_of
from tests.faces.test_counterparts import picture

NAMES = [f"person {number}" for number in range(20)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """20 people with two pictures each, some of every split; the results are their negatives."""
    for i, name in enumerate(NAMES):
        for folder in ("originals", "results"):
            (tmp_path / folder / name).mkdir(parents=True)
        for number in range(2):
            own = picture(2 * i + number)
            own.save(tmp_path / "originals" / name / f"{number}.png")
            Image.eval(own, lambda value: 255 - value).save(tmp_path / "results" / name / f"{number}.png")
    assert {split_of(name) for name in NAMES} == {"train", "background", "attacker", "evaluation"}
    return tmp_path


def data_of(place: Path, **options: bool) -> FaceData:
    return folder_data(str(place / "originals"), 64, 2, cache=str(place / "cache"), **options)


def evaluated() -> list[str]:
    return sorted(name for name in NAMES if split_of(name) == "evaluation")


def test_every_split_has_its_results(place: Path) -> None:
    data = data_of(place)
    tool = ResultsFolder(str(place / "results"), data)
    for split in ("evaluation", "attacker", "background", "train"):
        faces = data.faces(split)
        images = to_float(faces.raw_batch(list(range(len(faces))))["image"])  # type: ignore[attr-defined]
        assert float((tool(images) + images).abs().max()) < 0.01, split
    assert tool.name == "results" and tool.incomplete is None and not list(tool.notes())


def test_it_is_asked_in_any_order_and_has_no_memory(place: Path) -> None:
    data = data_of(place)
    tool = ResultsFolder(str(place / "results"), data)
    images = torch.stack([data.faces(split)[0]["image"] for split in ("train", "evaluation", "train")])
    assert float((copy.deepcopy(tool)(images) + images).abs().max()) < 0.01


def test_other_pictures_are_none_of_its(place: Path) -> None:
    data = data_of(place)
    tool = ResultsFolder(str(place / "results"), data)
    with pytest.raises(Failed, match="results has results for the originals alone"):
        tool(data.faces("evaluation")[0]["image"][None].flip(-1))


def test_few_missing_are_told_many_are_refused(place: Path) -> None:
    name, count = evaluated()[0], 2 * len(evaluated())
    (place / "results" / name / "0.png").unlink()
    data = data_of(place)
    with pytest.raises(UserError, match=rf"^1 of {count} pictures .* \(1 missing; listed in .*method.max_missing=0.01"):
        ResultsFolder(str(place / "results"), data, max_missing=0.01)
    tool = ResultsFolder(str(place / "results"), data, max_missing=0.5)
    assert tool.incomplete == f"1 of {count} missing"
    (note,) = tool.notes()
    assert (
        f"1 of {count} pictures" in note
        and str(place) not in note
        and "the original stands in" in note
        and name not in note
    )
    first = data.faces("evaluation")[0]["image"][None]
    assert torch.equal(tool(first), first)


def test_of_nothing_that_fits(place: Path) -> None:
    (place / "results").rename(place / "elsewhere")
    (place / "results").mkdir()
    (place / "elsewhere").rename(place / "results" / "deeper")
    with pytest.raises(UserError, match=r"^None of the \d+ pictures .* <identity>/<picture>"):
        ResultsFolder(str(place / "results"), data_of(place))
    with pytest.raises(UserError, match=r"needs method\.root"):
        ResultsFolder(None, data_of(place))
    with pytest.raises(UserError, match="needs originals that are files"):
        ResultsFolder(str(place / "results"), synthetic_data(32, 4, 2, 0, 2, 2, cache=str(place / "cache")))


def test_a_folder_may_name_its_method(place: Path) -> None:
    (place / "results" / "meta.json").write_text('{"method": "Deep\\nPrivacy"}')
    assert ResultsFolder(str(place / "results"), data_of(place)).name == "Deep Privacy"
    (place / "results" / "meta.json").write_text('{"method": 3}')
    with pytest.raises(UserError, match="names no method"):
        ResultsFolder(str(place / "results"), data_of(place))


def test_everyone(place: Path) -> None:
    data = data_of(place, everyone=True)
    tool = ResultsFolder(str(place / "results"), data)
    images = torch.stack([data.faces("evaluation")[i]["image"] for i in range(40)])
    assert float((tool(images) + images).abs().max()) < 0.01


def test_swaps_by_published_names_need_no_table(tmp_path: Path) -> None:
    """FaceForensics++'s ``000_003`` says it; whether there are swaps was asked before anybody had looked."""
    for number, folder in enumerate(("originals/000", "originals/003", "results/000_003", "results/003_000")):
        (tmp_path / folder).mkdir(parents=True)
        picture(number).save(tmp_path / folder / "0.png")
    data = data_of(tmp_path, everyone=True)
    tool = ResultsFolder(str(tmp_path / "results"), data)
    assert tool.swaps and tool.sources(torch.tensor([0, 1])).tolist() == [1, 0]


def test_results_of_the_evaluated_people_alone(place: Path) -> None:
    """Another picture is none of its: a split that lacks results ends no evaluation."""
    for name in NAMES:
        if split_of(name) != "evaluation":
            shutil.rmtree(place / "results" / name)
    data = data_of(place)
    tool = ResultsFolder(str(place / "results"), data)
    first = data.faces("evaluation")[0]["image"][None]
    assert float((tool(first) + first).abs().max()) < 0.01
    with pytest.raises(Failed, match="knows no such picture"):
        tool(first.flip(-1))


def test_who_was_swapped_in(place: Path) -> None:
    data = data_of(place, everyone=True)
    assert not ResultsFolder(str(place / "results"), data).swaps
    (place / "pairs.csv").write_text(
        "sheet,target,source\nx,person 1/0.png,person 2/1.png\nx,person 1/1.png,nobody/0.png\n"
    )
    tool = ResultsFolder(str(place / "results"), data, pairs=str(place / "pairs.csv"))
    files = data.faces("evaluation").files()  # type: ignore[attr-defined]
    assert tool.swaps and files[:2] == ["person 0/0.png", "person 0/1.png"]
    asked = torch.tensor([files.index(name) for name in ("person 1/0.png", "person 1/1.png", "person 0/0.png")])
    assert tool.sources(asked).tolist() == [files.index("person 2/1.png"), -1, -1]
    (place / "pairs.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="must have the columns target and source"):
        ResultsFolder(str(place / "results"), data, pairs=str(place / "pairs.csv"))


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("target,source,outputs\na.png,b.png,c.png\n", "a column outputs, which is nearly output"),
        ("target,target,source\na.png,b.png,c.png\n", "the column target twice"),
        ("target,source,output\na.png,,c.png\n", "an output without a target or a source"),
        ("target,source,output\na.png,b.png,c.png\nd.png,b.png,c.png\n", "one output for several targets"),
    ],
)
def test_pairs_that_would_be_read_in_part(tmp_path: Path, rows: str, told: str) -> None:
    (tmp_path / "pairs.csv").write_text(rows)
    with pytest.raises(UserError, match=told):
        swaps_of(tmp_path / "pairs.csv")


def test_columns_for_others_may_stand_beside(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("target,source,target_id,sheet\na.png,b.png,7,x\n")
    assert [swap.output for swap in swaps_of(tmp_path / "pairs.csv")] == [""]
