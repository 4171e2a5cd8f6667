"""Which face of a photograph: whole ones before those that the border cuts; and when that is open.

The kind: a rule that is right on the pictures it was tried on. ``--faces largest`` took bystanders that the border cuts
(equal error rate on LFW .83 %, central faces .50 %). Found beside it: videos, whose first frame chose in the same way;
boxes that reach over the border by a hair; a whole face far in the background, which must not win over a cut one.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor

from anon.faces.detection.contract import Detections
from anon.faces.images import read_image
from anon.faces.prepare.choosing import alike, chosen
from anon.faces.prepare.extract import Account, extract
from anon.faces.prepare.options import Options
from anon.faces.prepare.sources import of_folder

FRAME = torch.zeros(100, 200, 3, dtype=torch.uint8)  # outer edges -0.5 to 199.5 and 99.5


@pytest.mark.parametrize(
    ("boxes", "largest", "central", "count"),
    [
        ([[10, 10, 50, 50], [120, 20, 150, 50]], 0, 1, 2),  # 1600 and 900: alike from 800
        ([[10, 10, 50, 50], [120, 20, 147, 49]], 0, 1, 0),  # 783
        ([[-1, 10, 49, 60], [120, 20, 160, 60]], 1, 1, 2),  # 2500 is cut, 1600 is more than half of it
        ([[-1, 10, 49, 60], [120, 20, 150, 50]], 0, 1, 0),  # 900 is not: somebody far behind
        ([[-0.5, -0.5, 40, 40], [150, 50, 199.5, 99.5]], 1, 1, 2),  # up to the edge is inside
        ([[-5, 10, 45, 60], [170, 20, 210, 60]], 0, 0, 0),  # nobody is whole: the largest, nothing else is a rival
        ([[60, 20, 100, 60]], 0, 0, 0),
    ],
)
def test_by_hand(boxes: list[list[float]], largest: int, central: int, count: int) -> None:
    table, usable = torch.tensor(boxes, dtype=torch.float32), list(range(len(boxes)))
    assert chosen(table, usable, "largest", FRAME) == largest
    assert chosen(table, usable, "central", FRAME) == central
    assert alike(table, usable, largest, FRAME) == count
    assert chosen(table, usable[::-1], "largest", FRAME) == largest


class Two:
    """A large face that the left border cuts, and a whole one."""

    name, has_points = "two", True
    boxes = torch.tensor([[-10.0, 8.0, 54.0, 90.0], [100.0, 20.0, 152.0, 90.0]])
    points = torch.tensor([[30.0, 40.0], [62.0, 40.0], [46.0, 56.0], [34.0, 74.0], [58.0, 74.0]])

    def detect(self, frame: Tensor) -> Detections:
        points = torch.stack([self.points - torch.tensor([20.0, 0.0]), self.points + torch.tensor([80.0, 0.0])])
        return Detections(self.boxes, points, torch.tensor([0.9, 0.8]))

    def detect_batch(self, frames: list[Tensor]) -> list[Detections]:
        return [self.detect(frame) for frame in frames]


@pytest.mark.parametrize("name", ["0.png", "0.gif"])
def test_a_photograph_and_a_video_show_the_whole_face(tmp_path: Path, name: str) -> None:
    from PIL import Image

    (tmp_path / "root" / "a").mkdir(parents=True)
    Image.new("RGB", (200, 100)).save(tmp_path / "root" / "a" / name)
    (source,) = of_folder(tmp_path / "root", None)
    account = Account()
    (face,) = extract(source, Options(size=64), Two(), account, lambda: None)
    assert face.score == pytest.approx(0.8) and account.found == 2
    assert account.alike == (2 if name == "0.png" else 0)


@pytest.mark.slow
def test_equal_error_rate_on_lfw(real: Path, record_property) -> None:
    """2,400 pairs: the largest whole face is as good as the central one, the largest is not. Judge: EdgeFace."""
    from anon.faces.alignment import align
    from anon.faces.contract import to_float
    from anon.faces.detection.yunet import YuNet
    from anon.identity.encoder import Encoder
    from anon.identity.judge import Judge
    from anon.identity.networks.edgeface import EdgeFace
    from anon.identity.verification import equal_error_rate

    detector = YuNet(str(real / "models/yunet/yunet_n_dynamic.onnx"))
    weights = str(real / "models/edgeface_xs/derived_edgeface_xs_float32_state_dict.pt")
    judge = Judge(Encoder(EdgeFace(), 112, name="edgeface", weights=weights))
    pairs = []
    with open(real / "faces/_meta/lfw_pairs.txt", newline="") as file:
        for row in csv.reader(file, delimiter="\t"):
            people = (row[0], row[0] if len(row) == 3 else row[2])
            numbers = (int(row[1]), int(row[-1]))
            names = [f"{who}/{who}_{number:04d}.jpg" for who, number in zip(people, numbers, strict=True)]
            pairs.append((*names, len(row) == 3))
    crops: dict[tuple[str, int], Tensor] = {}
    choice: dict[str, dict[str, int]] = {"largest": {}, "whole": {}, "central": {}}
    for name in sorted({name for pair in pairs for name in pair[:2]}):
        frame = read_image(real / "faces/lfw" / name)
        found = detector.detect(frame)
        usable = [i for i, box in enumerate(found.boxes) if float((box[2:] - box[:2]).min()) >= 32]
        areas = (found.boxes[usable, 2:] - found.boxes[usable, :2]).prod(1)
        choice["largest"][name] = usable[int(areas.argmax())]
        choice["whole"][name] = chosen(found.boxes, usable, "largest", frame)
        choice["central"][name] = chosen(found.boxes, usable, "central", frame)
        for index in {each[name] for each in choice.values()}:
            crops[name, index] = align(to_float(frame)[None], found.points[index][None], 112)[0]
    z = dict(
        zip(crops, torch.cat([judge.embed(part) for part in torch.stack(list(crops.values())).split(64)]), strict=True)
    )
    same = torch.tensor([pair[2] for pair in pairs])
    rates = {}
    for rule, faces in choice.items():
        distance = torch.tensor([1 - float(z[a, faces[a]] @ z[b, faces[b]]) for a, b, _ in pairs])
        rates[rule] = 100 * float(equal_error_rate(distance[same], distance[~same])[0])
    record_property("lfw", str(rates))
    assert rates["whole"] <= rates["central"] + 0.1 < rates["largest"]
