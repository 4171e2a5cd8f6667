"""The door of judges: what they must declare."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from anon.errors import UserError
from anon.faces.alignment import template
from anon.identity.contract import JudgeLike, check_judge
from anon.identity.dlib_judge import DlibJudge, framed
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge


class _Backbone(nn.Module):
    dim = 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


def _judge(**changes: object) -> SimpleNamespace:
    parts = {"name": "j", "metric": "cosine", "threshold": 0.4, "fingerprint": "f", "embed": lambda images: images}
    return SimpleNamespace(**{key: value for key, value in (parts | changes).items() if value != "gone"})


def test_a_whole_judge_passes():
    for judge in (_judge(), _judge(metric="euclidean", threshold=None), Judge(Encoder(_Backbone(), 4), threshold=0.3)):
        check_judge(judge)
        assert isinstance(judge, JudgeLike)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metric": "gone"}, "'j' is none: it has no metric"),
        ({"embed": "gone", "threshold": "gone"}, "has no threshold, embed"),
        ({"embed": None}, r"has no embed\(\) to call"),
        ({"metric": "angle"}, "metric 'angle'; known are cosine and euclidean"),
        ({"threshold": 0.0}, "threshold 0.0"),
        ({"threshold": float("nan")}, "threshold nan"),
        ({"threshold": float("inf")}, "threshold inf"),
    ],
)
def test_others_are_turned_away(changes, reason):
    with pytest.raises(UserError, match=reason):
        check_judge(_judge(**changes))


def test_the_threshold_is_checked_where_it_is_given():
    with pytest.raises(UserError, match=r"threshold -0.5"):
        Judge(Encoder(_Backbone(), 4, name="means"), threshold=-0.5)


def test_dlib_names_its_extra_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(UserError, match=r"pip install 'anon-faces\[dlib\]'"):
        DlibJudge("dlib_face_recognition_resnet_model_v1.dat")


class _FakeModel:
    """dlib's interface: the mean colour of each chip, its last number the byte at the top left."""

    def __init__(self, path: str) -> None:
        if Path(path).read_bytes() != b"dat":
            raise RuntimeError("Unexpected version found")

    def compute_face_descriptor(self, chips):
        assert all(chip.shape == (150, 150, 3) and chip.dtype.name == "uint8" for chip in chips)
        return [[*chip.mean((0, 1)), *[0.0] * 124, chip[0, 0, 0]] for chip in chips]


def test_dlib_gets_chips_and_gives_raw_vectors(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "dlib", SimpleNamespace(face_recognition_model_v1=_FakeModel))
    file = tmp_path / "model.dat"
    file.write_bytes(b"dat")
    with pytest.raises(UserError, match=r"not the published dlib model \(SHA-256 differs\)"):
        DlibJudge(file)
    judge = DlibJudge(file, sha256=None)
    assert isinstance(judge, JudgeLike)
    assert (judge.metric, judge.threshold, judge.dim, judge.name) == ("euclidean", 0.6, 128, "dlib")
    images = torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(2, 3, 64, 64).clone()
    z = judge.embed(images)
    assert z.shape == (2, 128) and z[0, :3].tolist() == [0.0, 128.0, 255.0]  # 127.5 rounds to even
    assert judge.embed(images[:0]).shape == (0, 128)
    images[:, 0, :, :32] = 1.0  # left half red: mirrored, the top left is black
    assert judge.embed(images)[0, -1] == 255 and DlibJudge(file, flip=True, sha256=None).embed(images)[0, -1] == 127.5
    file.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"not dlib's face recognition model, or is truncated; take dlib_face"):
        DlibJudge(file, sha256=None)
    with pytest.raises(UserError, match="No dlib model at"):
        DlibJudge(tmp_path / "none.dat")
    with pytest.raises(UserError, match=r"judge.path=<file>"):
        DlibJudge(None)


@pytest.mark.parametrize("size", [64, 112, 128, 256, 448])
def test_dlib_frames_a_crop_so_that_the_eyes_lie_where_its_chips_have_them(size):
    """At (0.3182, 0.3142) and (0.6686, 0.3142) of the chip, whatever the crop's size and width of view."""
    grid = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="xy"), -1).float()
    for eye, expected in zip(template(size)[:2], ((0.3182, 0.3142), (0.6686, 0.3142)), strict=True):
        dot = torch.exp(-(grid - eye).square().sum(-1) / (2 * (size / 40) ** 2))
        chip = framed(dot.expand(1, 3, size, size))[0, 0]
        assert chip.shape == (150, 150)
        place = torch.stack((chip.sum(0) @ torch.arange(150.0), chip.sum(1) @ torch.arange(150.0))) / chip.sum()
        assert (place + 0.5).tolist() == pytest.approx([150 * share for share in expected], abs=1.5)
