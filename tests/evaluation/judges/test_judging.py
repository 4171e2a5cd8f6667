"""The judge is no copy of the encoder, and recognizes.

The kind: two things are told apart by their files, where what they measure is the same. Hashes of weights let an export
to ONNX, a copy in half precision or one with turned embeddings judge what it had trained. Other instances, on the same
door now: the adversary whose recognizer is the judge (``adversary``), the ladder, transfer, lfw and noise_share.
"""

from __future__ import annotations

import copy

import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from anon.errors import UserError
from anon.evaluation.judges.judging import (
    architecture,
    check_recognizes,
    fixed_pictures,
    impostor_correlation,
    is_one,
    judge_notes,
    kinship_notes,
    likeness,
    share_of_weights,
)
from anon.evaluation.protocol import Calibration, Protocol
from anon.evaluation.trained import adversary
from anon.faces.synthetic.dataset import SyntheticFaces
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.identity.onnx import OnnxJudge
from tests.apps.test_configs import composed
from tests.evaluation import tiny_world


class Turned(nn.Module):
    """A network whose embeddings are turned by an orthogonal matrix: other numbers, the same distances."""

    def __init__(self, inner: nn.Module, dim: int) -> None:
        super().__init__()
        self.inner, self.dim = inner, dim
        rng = torch.Generator().manual_seed(0)
        self.register_buffer("turn", torch.linalg.qr(torch.randn(dim, dim, generator=rng))[0])

    def forward(self, x):
        return self.inner(x) @ self.turn


@pytest.fixture(scope="module")
def shipped() -> tuple[Encoder, Judge]:
    """The encoder that trained what ships, and the judge."""
    config = composed("train", "experiment=fiva")
    return instantiate(config.encoder), instantiate(composed("evaluate", "experiment=fiva").judge)


def copies(encoder: Encoder) -> dict[str, Judge]:
    half = copy.deepcopy(encoder.backbone).bfloat16().float()  # what ships is in half precision already
    near = copy.deepcopy(encoder.backbone)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in near.parameters():
            if value.numel() > 1:
                value.add_(torch.randn(value.shape, generator=rng), alpha=0.01 * float(value.std()))
    networks = {"half": half, "turned": Turned(copy.deepcopy(encoder.backbone), encoder.dim), "almost": near}
    return {name: Judge(Encoder(network, encoder.size, name=name)) for name, network in networks.items()}


def test_a_copy_of_the_encoder_is_refused_whatever_its_file(shipped) -> None:
    encoder, judge = shipped
    for name, other in copies(encoder).items():
        assert other.fingerprint != encoder.fingerprint, name
        with pytest.raises(UserError, match="which would flatter every figure"):
            judge_notes(encoder, other, Protocol(), "FIVA")
        (note,) = judge_notes(encoder, other, Protocol(allow_training_encoder=True), "FIVA")
        assert "the figures flatter it" in note
    assert not is_one(judge, encoder) and judge_notes(encoder, judge, Protocol()) == []
    assert 0.5 < likeness(judge, Judge(encoder)) < 0.95  # two networks that learned from the same people


def test_an_export_to_onnx_is_refused(tmp_path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 5, 4), nn.ReLU(), nn.Conv2d(8, 16, 5, 4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(64)
    ).eval()
    network(torch.zeros(1, 3, 112, 112))
    network.dim = 64
    encoder = Encoder(network, 112, name="net")
    file = tmp_path / "net.onnx"
    torch.onnx.export(
        network, (torch.zeros(1, 3, 112, 112),), str(file), dynamo=False,
        input_names=["x"], output_names=["z"], dynamic_axes={"x": {0: "n"}, "z": {0: "n"}},
    )  # fmt: skip
    judge = OnnxJudge(str(file))
    assert judge.fingerprint != encoder.fingerprint and likeness(judge, Judge(encoder)) > 0.999
    with pytest.raises(UserError, match="which would flatter every figure"):
        judge_notes(encoder, judge, Protocol())


class Around(nn.Module):
    """A network with something before and behind it."""

    def __init__(self, inner: nn.Module, before=lambda x: x, behind=lambda z: z) -> None:
        super().__init__()
        self.inner, self.before, self.behind, self.dim = inner, before, behind, 64

    def forward(self, x):
        return self.behind(self.inner(self.before(x)))


def test_the_encoders_weights_are_refused_whatever_stands_around_them(shipped) -> None:
    """The kind: sameness was asked of figures alone, which a wrong mean, blue first, a layer or noise change.

    Found with: other means and deviations, BGR, grey, half of the dimensions, a fixed layer, noise on the weights.
    """
    encoder, judge = shipped
    backbone = encoder.backbone
    rng = torch.Generator().manual_seed(0)
    layer = torch.randn(encoder.dim, 64, generator=rng) * torch.logspace(-2, 2, 64)
    noisy = copy.deepcopy(backbone)
    with torch.no_grad():
        for value in noisy.parameters():
            if value.numel() > 1:
                value.add_(torch.randn(value.shape, generator=rng), alpha=0.05 * float(value.std()))
    networks = {
        "contrast": Around(backbone, lambda x: 0.3 * x + 0.4),
        "bgr": Around(backbone, lambda x: x.flip(1)),
        "grey": Around(backbone, lambda x: x.mean(1, keepdim=True).expand_as(x)),
        "layer": Around(backbone, behind=lambda z: z @ layer),
        "half": Around(backbone, behind=lambda z: z[:, :64]),
        "noise": noisy,
    }
    for name, network in networks.items():
        with pytest.raises(UserError, match="of the weights are the same, whatever mean, std"):
            judge_notes(encoder, Judge(Encoder(network, encoder.size, name=name)), Protocol(), "FIVA")
    assert share_of_weights(judge, encoder) == 0.0


def test_batch_norms_that_were_folded_in_hide_no_weights(tmp_path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 5, 4), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.LazyLinear(64)
    ).eval()
    network(torch.zeros(1, 3, 112, 112))
    nn.init.uniform_(network[1].weight, 0.2, 3.0)
    folded = copy.deepcopy(network)
    folded[0] = nn.utils.fuse_conv_bn_eval(folded[0], folded[1])
    folded[1] = nn.Identity()
    assert share_of_weights(network, folded) == 1.0
    torch.manual_seed(1)
    other = nn.Sequential(nn.Conv2d(3, 16, 5, 4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(64))
    other(torch.zeros(1, 3, 112, 112))
    assert share_of_weights(network, other) == 0.0


def test_published_networks(real) -> None:
    """MobileFaceNet's .pt and .onnx are one; EdgeFace is another."""
    folder = real / "models"
    weights = {
        "mobilefacenet": folder / "mobilefacenet_foamliu" / "mobilefacenet.pt",
        "edgeface": folder / "edgeface_xs" / "derived_edgeface_xs_float32_state_dict.pt",
    }
    found = {
        name: instantiate(
            composed("evaluate", "experiment=fiva", f"judge={name}", f"judge.encoder.weights={file}").judge
        )
        for name, file in weights.items()
    }
    exported = OnnxJudge(
        str(folder / "mobilefacenet_foamliu" / "MobileFaceNet.onnx"),
        mean=[0.485, 0.456, 0.406],
        std=[0.229, 0.224, 0.225],
    )
    assert is_one(exported, found["mobilefacenet"].encoder)
    for settings in ({}, {"bgr": True}, {"mean": [0.0] * 3, "std": [1.0] * 3}):  # the default is the wrong mean
        wrong = OnnxJudge(str(folder / "mobilefacenet_foamliu" / "MobileFaceNet.onnx"), **settings)
        assert is_one(wrong, found["mobilefacenet"].encoder) and not is_one(wrong, found["edgeface"].encoder)
    assert not is_one(found["edgeface"], found["mobilefacenet"].encoder)


def test_an_adversary_that_learned_from_a_copy_of_the_judge_is_refused(monkeypatch) -> None:
    encoder = tiny_world.encoder(0)
    copied = Judge(Encoder(Turned(tiny_world.Projection(0), 32), 16, name="copy"), flip=False)
    given = {"_target_": "tests.evaluation.tiny_world.attack", "checkpoint": "-1"}
    assert copied.fingerprint != encoder.fingerprint
    with pytest.raises(UserError, match="trained with the judge 'copy'"):
        adversary(given, copied, "cpu")
    assert adversary(given, tiny_world.judge(1), "cpu")


def test_what_resembles_the_encoder_is_said(shipped, tmp_path) -> None:
    encoder, judge = shipped
    faces = SyntheticFaces("background", identities=16, images=4, cache=tmp_path)
    images = torch.stack([faces[index]["image"] for index in range(len(faces))])
    with torch.no_grad():
        z_judge, z_encoder = judge.embed(images), encoder(images).z
    found = impostor_correlation(z_judge, z_encoder, faces.labels)
    by_hand = [
        (float(z_judge[i] @ z_judge[j]), float(z_encoder[i] @ z_encoder[j]))
        for i in range(64) for j in range(i) if faces.labels[i] != faces.labels[j]
    ]  # fmt: skip
    assert found > 0.7 and found == pytest.approx(float(torch.corrcoef(torch.tensor(by_hand).T)[0, 1]), abs=1e-4)
    (note,) = kinship_notes(judge, z_judge, z_encoder, faces.labels, "FIVA")
    assert f"correlate {found:.2f}" in note and "FIVA" in note
    strange = torch.randn(z_judge.shape, generator=torch.Generator().manual_seed(0))
    assert kinship_notes(judge, z_judge, nn.functional.normalize(strange), faces.labels) == []


def test_the_training_encoder_judges_only_where_that_is_allowed() -> None:
    same = tiny_world.encoder(0), tiny_world.judge(0)
    with pytest.raises(UserError, match=r"that FIVA was trained with.*allow_training_encoder"):
        judge_notes(*same, Protocol(), "FIVA")
    (note,) = judge_notes(*same, Protocol(allow_training_encoder=True), "FIVA")
    assert "the figures flatter it" in note


def test_scores_of_a_euclidean_judge_are_distances_with_a_minus() -> None:
    """Of three strangers at 0, 3 and 4 on a line, distances 3, 4, 1; cosines of the other are 0, .8, .6."""
    raw = torch.tensor([[0.0], [3.0], [4.0]])
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]])
    found = impostor_correlation(raw, z, torch.arange(3), ("euclidean", "cosine"))
    by_hand = torch.corrcoef(torch.tensor([[-3.0, -4.0, -1.0], [0.0, 0.8, 0.6]]))[0, 1]
    assert found == pytest.approx(float(by_hand), abs=1e-6)


def test_a_shared_architecture_is_said() -> None:
    (note,) = judge_notes(tiny_world.encoder(0), tiny_world.judge(1), Protocol(), "FIVA")
    assert "both a Projection" in note and "FIVA" in note
    assert architecture(object()) is None


def test_the_fixed_pictures_are_many_and_different() -> None:
    images = fixed_pictures()
    assert images.shape == (32, 3, 112, 112) and float(images.std(0).mean()) > 0.1
    assert float(images.abs().max()) <= 1


@pytest.mark.parametrize(("eer", "threshold"), [(0.11, 0.4), (0.01, 0.0), (0.01, -0.1), (float("nan"), 0.4)])
def test_a_judge_that_recognizes_nobody_is_refused(eer: float, threshold: float) -> None:
    judge = tiny_world.judge(0)
    with pytest.raises(UserError, match=r"does not recognize unchanged faces .*suite\.max_eer"):
        check_recognizes(Calibration(threshold, 0.001, eer, 5000), judge, Protocol())
    check_recognizes(Calibration(0.4, 0.001, 0.1, 5000), judge, Protocol())
