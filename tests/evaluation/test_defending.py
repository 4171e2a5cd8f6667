"""Table 3's costs and adaptive attackers, figures 3 and 4, on the tiny world: a generator that negates the picture."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import nn

from anon.attacks.reconstruction import Reconstruction
from anon.errors import UserError
from anon.evaluation import noise_share, strip, table1, table3
from anon.evaluation.strip import Line
from anon.faces.contract import to_uint8
from anon.faces.detection.contract import Detections
from anon.identity.encoder import Encoder
from tests.evaluation.test_attacked import Negative, Scale
from tests.evaluation.test_table1 import CONFIG
from tests.evaluation.tiny_world import Data, Projection, judge


class Seeing(nn.Module):
    """A projection whose picture is a feature map."""

    dim = 32

    def __init__(self, seed):
        super().__init__()
        self.seen, self.projection = nn.Identity(), Projection(seed)

    def forward(self, x):
        return self.projection(self.seen(x))


def encoder(seed=0, layers=("seen",)):
    return Encoder(Seeing(seed), size=16, name="seeing", layers=layers)


def attack(checkpoint):
    """What ``attack=reconstruction`` builds: the factor is the checkpoint, or stands in its file."""
    file = Path(checkpoint)
    return Reconstruction(Scale(float(file.read_text() if file.is_file() else checkpoint)), encoder())


class Detector:
    """Finds a face in whatever is not all of one colour."""

    name, has_points = "detector", False

    def detect_batch(self, frames):
        return [self.detect(frame) for frame in frames]

    def detect(self, frame):
        count = int(frame.float().std() > 1)
        return Detections(torch.zeros(count, 4), torch.zeros(count, 5, 2), torch.ones(count))


class Grey(nn.Module):
    """Leaves nothing."""

    def forward(self, changed, *, target=None, rng=None):
        return torch.zeros_like(changed)


class Opposite(nn.Module):
    """Every feature turned around."""

    def forward(self, changed, *, target=None, rng=None):
        return -changed


DEFENSES = {
    "none": {"_target_": "anon.defenses.contract.NoDefense"},
    "grey": {"_target_": "tests.evaluation.test_defending.Grey"},
    "opposite": {"_target_": "tests.evaluation.test_defending.Opposite"},
    "noise": {"_target_": "anon.defenses.noise.UniformNoise", "epsilon": 0.3},
}
TABLE3 = {"_target_": "anon.evaluation.table3.DefenseProtocol", "probes": 2, "defenses": DEFENSES}
SWEEP = {
    "_target_": "anon.evaluation.noise_share.NoiseShareProtocol",
    "probes": 2,
    "epsilon": 2.0,
    "shares": [1, 0, 0.5],
}


def config(protocol, **changes):
    given = {"_target_": "tests.evaluation.test_defending.attack", "checkpoint": "-1"}
    return OmegaConf.merge(OmegaConf.create(CONFIG), {"attack": given, "protocol": protocol}, changes)


def evaluate(table, cfg, output, data=None, seen_by=None):
    path = table.run(Negative(), seen_by or encoder(), judge(0x5EED), data or Data(), cfg, output)
    content = json.loads(path.read_text())
    return {row["defense"]: row["metrics"] for row in content["rows"]}, content


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    """Table 3 with a detector, an adaptive attacker of noise by a folder and one of grey by name."""
    folder = tmp_path_factory.mktemp("ladder")
    for name, date, factor in (
        ("noise", "2026-01-01_a", "0"),
        ("noise", "2026-01-02_b", "-1"),
        ("grey", "2026-01-01_a", "-1"),
    ):
        path = folder / name / "train" / "reconstruction" / date / "checkpoints" / "last.ckpt"
        path.parent.mkdir(parents=True)
        path.write_text(factor)
    detector = {"_target_": "tests.evaluation.test_defending.Detector"}
    protocol = {**TABLE3, "folder": str(folder), "adaptive": {"grey": "1"}, "strip": ["none", "noise"], "grid_faces": 3}
    output = tmp_path_factory.mktemp("table3")
    rows, content = evaluate(table3, config(protocol, metrics={"detector": detector}), output)
    return rows, content, output, folder


def test_adaptive_attackers_are_found_in_the_folder(costs):
    rows, content, _, folder = costs
    assert content["config"]["adaptive"] == {
        "grey": "1",  # named: goes first
        "noise": str(folder / "noise/train/reconstruction/2026-01-02_b/checkpoints/last.ckpt"),
    }
    for name in ("RA_adaptive", "RA_adaptive_rank1"):
        assert rows["none"][name]["reason"] == "not trained"
        assert rows["noise"][name] == rows["noise"][name.replace("_adaptive", "")]  # it undoes as the naive one does
        assert rows["noise"][name]["n"] == rows["noise"]["ID"]["n"] == 14  # two probes of seven people
    assert rows["noise"]["RA_adaptive_rank1"]["value"] >= rows["noise"]["RA_adaptive"]["value"] > 0


def test_costs(costs):
    """Unit features turned around are |-u - u|² = 4 apart at every place; nobody finds a face in grey."""
    rows, content, output, _ = costs
    assert rows["opposite"]["feature_distance"]["value"] == pytest.approx(4.0, abs=0.01)
    assert rows["none"]["feature_distance"]["value"] < 0.01 < rows["noise"]["feature_distance"]["value"] < 2.0
    assert (rows["none"]["detected"]["value"], rows["grey"]["detected"]["value"]) == (1.0, 0.0)
    assert rows["grey"]["detected"]["high"] == pytest.approx(1 - 0.025 ** (1 / 7))  # exact, of seven people
    assert content["counts"]["detected_unchanged"] == 1.0
    table = (output / "table.md").read_text()
    assert "feature_distance" in table and "seeing, the training encoder" in table and "finds 1.000" in table
    with (output / "table.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["defense"] for line in lines if line["metric"] == "ssim"] == list(DEFENSES)


def test_the_strip_shows_the_defenses_that_were_chosen(costs):
    image = Image.open(costs[2] / "strip.png")
    # target, anonymized, 2 of none, 3 of noise; three people; 16 pixels enlarged to 128, 22 of caption, gaps of 6
    assert image.size == (190 + 3 * (128 + 6), 6 + 7 * (128 + 22 + 6) + 22)


def test_what_cannot_be_measured_is_said(tmp_path):
    rows, _ = evaluate(table3, config(TABLE3), tmp_path, seen_by=encoder(layers=()))
    assert rows["none"]["detected"] == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "needs metrics.detector",
        "n": 0,
    }
    assert "feature_distance" not in rows["none"] and "feature_distance" not in (tmp_path / "table.md").read_text()
    assert not (tmp_path / "strip.png").exists()  # no defense was chosen


def test_people_who_exist_are_drawn_only_when_asked_for(tmp_path, capsys):
    data = Data()
    data.sets["evaluation"].synthetic = False
    protocol = {**TABLE3, "strip": ["none"]}
    evaluate(table3, config(protocol), tmp_path / "silent", data)
    assert not list((tmp_path / "silent").glob("*.png")) and "strip not written" in capsys.readouterr().out
    evaluate(table3, config(protocol, logger={"images": True}), tmp_path / "asked", data)
    assert (tmp_path / "asked" / "strip.png").is_file()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strip": ["blur"]}, "protocol.strip names 'blur'"),
        ({"adaptive": {"blur": "1"}}, "protocol.adaptive names 'blur'"),
        ({"folder": "/no/such"}, "holds no trained attack.*attack=ladder"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(tmp_path, changes, said):
    with pytest.raises(UserError, match=said):
        evaluate(table3, config({**TABLE3, **changes}), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_rows_of_the_strip_are_what_was_published(tmp_path):
    """Pixels of a cell: 16 x 16 faces of one colour stay that colour when they are enlarged."""
    images = torch.tensor([-1.0, 0.2]).view(2, 1, 1, 1).expand(2, 3, 16, 16)
    sheet = strip.draw([Line("a", images, [0.2, 0.8], False), Line("b", -images, [0.9, 0.1], True)], 0.5)
    for row, shown in enumerate((images, -images)):
        for column in range(2):
            place = (190 + column * 134 + 64, 6 + row * 156 + 64)
            assert sheet.getpixel(place) == tuple(to_uint8(shown)[column, 8, 8].tolist())
    red = [
        [
            any(
                sheet.getpixel((190 + column * 134 + x, 6 + row * 156 + 130 + y)) == strip.FOUND
                for x in range(128)
                for y in range(20)
            )
            for column in range(2)
        ]
        for row in range(2)
    ]
    assert red == [[True, False], [False, True]]  # distances below .5


def test_noise_share(tmp_path):
    """Without noise the attack undoes everything, noise as large as the range on every pixel leaves it nothing."""
    rows, _ = evaluate(noise_share, config({**SWEEP, "adaptive": "1"}), tmp_path)
    assert [rows[f"uniform_noise {share}"]["share"]["value"] for share in ("0", "0.5", "1")] == [0.0, 0.5, 1.0]
    none, half, full = rows.values()
    assert none["RA"]["value"] == none["RA_rank1"]["value"] == 1.0 and none["RA_adaptive"]["value"] == 0.0
    assert full["RA"]["value"] < half["RA"]["value"] < 1.0
    assert none["ssim"]["value"] > 0.99 > half["ssim"]["value"] > full["ssim"]["value"]
    table = (tmp_path / "table.md").read_text()
    assert [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| **")] == [
        "**0%**",
        "**50%**",
        "**100%**",
    ]
    assert "| .996" in table and "| .004" in table and "10 %" in table
    assert Image.open(tmp_path / "figure.png").size == (1320, 504)


def test_noise_shares_that_cannot_be_swept(tmp_path):
    for shares, said in (([], "one share or more"), ([0.1, 0.1], "each once"), ([1.5], "share of between 0 and 1")):
        with pytest.raises(UserError, match=said):
            evaluate(noise_share, config({**SWEEP, "shares": shares}), tmp_path)
    with pytest.raises(UserError, match="attack=reconstruction"):
        cfg = OmegaConf.merge(OmegaConf.create(CONFIG), {"protocol": SWEEP})
        noise_share.run(Negative(), encoder(), judge(1), Data(), cfg, tmp_path)


def test_table1_has_the_detector_too(tmp_path):
    detector = {"_target_": "tests.evaluation.test_defending.Detector"}
    cfg = OmegaConf.merge(OmegaConf.create(CONFIG), {"metrics": {"detector": detector}})
    path = table1.run(Negative(), encoder(), judge(0x5EED), Data(), cfg, tmp_path)
    rows = json.loads(path.read_text())["rows"]
    assert [row["metrics"]["detected"]["value"] for row in rows] == [1.0] * 4
    assert rows[0]["metrics"]["detected"]["low"] == pytest.approx(0.025 ** (1 / 7))
