"""Which face of a photograph: whole ones before those that the border cuts; and when that is open.

The kind: a rule that is right on the pictures it was tried on. ``--faces largest`` took bystanders that the border cuts
(equal error rate on LFW .83 %, central faces .50 %). Found beside it: videos, whose first frame chose in the same way;
boxes that end where the picture ends; a whole face far in the background, which must not win over a cut one.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from anon.faces.alignment import align, template
from anon.faces.contract import to_float
from anon.faces.detection.contract import Detections
from anon.faces.images import read_image
from anon.faces.prepare.extract import Account, alike, chosen, extract
from anon.faces.prepare.options import Options
from anon.faces.prepare.sources import of_folder

FRAME = torch.zeros(100, 200, 3, dtype=torch.uint8)  # outer edges -0.5 to 199.5 and 99.5


def faces(*crops: tuple[float, float, float]) -> Detections:
    """Faces whose aligned crops have these outer edges: left, top, side. Boxes end at the border, as detectors' do."""
    edges = torch.tensor(crops)
    points = (template(112) + 0.5) * edges[:, None, 2:] / 112 + edges[:, None, :2]
    low, high = edges[:, :2] + 0.15 * edges[:, 2:], edges[:, :2] + 0.85 * edges[:, 2:]
    return Detections(torch.cat((low.clamp_min(0), high), 1), points, torch.ones(len(crops)))


@pytest.mark.parametrize(
    ("crops", "largest", "central", "count"),
    [
        ([(10, 10, 50), (120, 20, 36)], 0, 1, 2),  # areas 1225 and 635: alike from 612.5
        ([(10, 10, 50), (120, 20, 35)], 0, 1, 0),  # 600
        ([(-4, 10, 60), (120, 20, 50)], 1, 1, 2),  # 1764 is cut, though its box is not; 1225 is more than half of it
        ([(-4, 10, 60), (120, 20, 40)], 0, 1, 0),  # 784 is not: somebody far behind
        ([(-0.5, -0.5, 40), (149.5, 49.5, 50)], 1, 1, 2),  # up to the edge is inside
        ([(-5, 10, 50), (170, 20, 40)], 0, 0, 0),  # nobody is whole: the largest, and the other is no rival
        ([(60, 20, 40)], 0, 0, 0),
    ],
)
def test_by_hand(crops: list[tuple[float, float, float]], largest: int, central: int, count: int) -> None:
    found, usable = faces(*crops), list(range(len(crops)))
    assert chosen(found, usable, "largest", FRAME) == largest
    assert chosen(found, usable, "central", FRAME) == central
    assert alike(found, usable, largest, FRAME) == count
    assert chosen(found, usable[::-1], "largest", FRAME) == largest


class Two:
    """A large face that the left border cuts, and a whole one."""

    name, has_points = "two", True

    def detect(self, frame: Tensor) -> Detections:
        return faces((-20, 5, 90), (100, 10, 80))._replace(scores=torch.tensor([0.9, 0.8]))

    def detect_batch(self, frames: list[Tensor]) -> list[Detections]:
        return [self.detect(frame) for frame in frames]


@pytest.mark.parametrize("name", ["0.png", "0.gif"])
def test_a_photograph_and_a_video_show_the_whole_face(tmp_path: Path, name: str) -> None:
    (tmp_path / "root" / "a").mkdir(parents=True)
    more = {"save_all": True, "append_images": [Image.new("RGB", (200, 100), "red")]} if name == "0.gif" else {}
    Image.new("RGB", (200, 100)).save(tmp_path / "root" / "a" / name, **more)
    (source,) = of_folder(tmp_path / "root", None)
    account = Account()
    found = list(extract(source, Options(size=64), Two(), account, lambda: None))
    frames = 2 if name == "0.gif" else 1
    assert [face.score for face in found] == [pytest.approx(0.8)] * frames and account.found == 2 * frames
    assert account.alike == (2 if name == "0.png" else 0)


@pytest.mark.slow
def test_equal_error_rate_on_lfw(real: Path, record_property) -> None:
    """2,400 pairs: the largest whole face is as good as the central one, the largest is not. Judge: EdgeFace."""
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
        choice["whole"][name] = chosen(found, usable, "largest", frame)
        choice["central"][name] = chosen(found, usable, "central", frame)
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
