"""dlib's judge against dlib itself, an independent forward pass in torch and numbers worked out by hand.

With the package dlib: ``pip install 'anon-faces[dlib]'``. Without it, the format of the file and the refusals.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from anon.errors import UserError
from anon.identity.dlib_judge import DlibJudge
from tests.identity import dlib_file


@pytest.fixture(scope="module")
def dlib() -> ModuleType:
    return pytest.importorskip("dlib", reason="the extra 'dlib' compiles for minutes and is not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dlib") / "model.dat"
    dlib_file.write_face_recognition_model(path, np.random.default_rng(7))
    return path


@pytest.fixture(scope="module")
def chips() -> np.ndarray:
    return np.random.default_rng(8).integers(0, 256, (2, 150, 150, 3), np.uint8)


def as_images(chips: np.ndarray) -> Tensor:
    return torch.from_numpy(chips).permute(0, 3, 1, 2).float() / 127.5 - 1


def grown(x: Tensor, sizes: list[int]) -> Tensor:
    """Zeros behind the last channel, row and column, as dlib adds tensors of unlike sizes."""
    return F.pad(x, [n for have, want in zip(x.shape[:0:-1], sizes[::-1], strict=True) for n in (0, want - have)])


def forward(chips: np.ndarray, drawn: list[np.ndarray]) -> Tensor:
    """The published network over weights in the order of the file, uint8 (B, 150, 150, 3) -> (B, 128)."""
    source = (torch.from_numpy(array) for array in drawn)

    def con_affine(x: Tensor, stride: int, padding: int) -> Tensor:
        x = F.conv2d(x, next(source), next(source), stride, padding)
        return x * next(source)[None, :, None, None] + next(source)[None, :, None, None]

    x = torch.from_numpy(chips).permute(0, 3, 1, 2).float() - torch.tensor([122.782, 117.001, 104.298])[:, None, None]
    x = F.max_pool2d(con_affine(x / 256, 2, 0).relu(), 3, 2)  # (B, 32, 35, 35)
    for down in [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 1]:
        y = con_affine(con_affine(x, 1 + down, 1 - down).relu(), 1, 1)
        if down:
            x = F.avg_pool2d(x, 2)
        sizes = [max(a, b) for a, b in zip(x.shape[1:], y.shape[1:], strict=True)]
        x = (grown(x, sizes) + grown(y, sizes)).relu()
    return x.mean((2, 3)) @ next(source)


def test_a_file_starts_with_the_loss_and_the_versions_of_the_layers() -> None:
    data = dlib_file.face_recognition_model(dlib_file.random_weights(np.random.default_rng(0)))
    loss = b"\x01\x01" + b"\x01\x0dloss_metric_2"  # version 1; a string of 13
    margin = b"\x03\x0a\xd7\xa3\x81\x1c"  # 10737418 * 2^-28 = 0.04
    distance = b"\x03\x9a\x99\x99\x81\x18"  # 10066330 * 2^-24 = 0.6
    top = b"\x01\x02" * 5 + b"\x01\x01" * 2  # fc, avg_pool_everything, relu, add_prev2, avg_pool; skip1, tag2
    assert data.startswith(loss + margin + distance + top)


def test_a_file_has_the_frame_of_the_published_one() -> None:
    """22,466,066 bytes; with its 5,614,592 weights zeroed, the published file (55533b28...) has this SHA-256."""
    data = dlib_file.face_recognition_model(lambda kind, shape: np.zeros(shape, np.float32))
    assert len(data) == 22_466_066
    assert hashlib.sha256(data).hexdigest() == "a0a739ffa66b7e692aa0a0fb67f1c3fb6d1a65f18f7812f72aee72dd3bd18afc"


def test_scalars_by_hand() -> None:
    assert dlib_file.integer(0) == b"\x01\x00"
    assert dlib_file.integer(-3) == b"\x81\x03"
    assert dlib_file.integer(4736) == b"\x02\x80\x12"
    assert dlib_file.real(1.0) == b"\x01\x10" + b"\x81\x04"  # 16 * 2^-4
    assert dlib_file.real(0.0) == b"\x01\x00" + b"\x01\x0b"


def test_without_dlib_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(UserError, match=r"pip install 'anon-faces\[dlib\]'"):
        DlibJudge(model, sha256=None, chips=True)


def test_descriptors_are_dlibs(dlib: ModuleType, model: Path, chips: np.ndarray) -> None:
    judge = DlibJudge(model, sha256=None, chips=True)
    z = judge.embed(as_images(chips))
    assert z.shape == (2, 128) and z.dtype == torch.float32 and torch.isfinite(z).all()
    own = dlib.face_recognition_model_v1(str(model))
    expected = [np.asarray(own.compute_face_descriptor(np.ascontiguousarray(chip))) for chip in chips]
    np.testing.assert_allclose(z.numpy(), expected, rtol=1e-5, atol=1e-5)
    assert judge.metric == "euclidean" and judge.threshold == 0.6 and judge.dim == 128
    assert judge.fingerprint == hashlib.sha256(model.read_bytes()).hexdigest()


def test_flip_is_the_mean_with_the_mirror_image(dlib: ModuleType, model: Path, chips: np.ndarray) -> None:
    images, plain = as_images(chips[:1]), DlibJudge(model, sha256=None, chips=True)
    expected = (plain.embed(images) + plain.embed(images.flip(-1))) / 2
    torch.testing.assert_close(DlibJudge(model, flip=True, sha256=None, chips=True).embed(images), expected)
    assert plain.embed(images[:0]).shape == (0, 128)


def test_descriptors_equal_an_independent_forward_pass(dlib: ModuleType, tmp_path: Path, chips: np.ndarray) -> None:
    data, drawn = recorded(dlib_file.random_weights(np.random.default_rng(3)))
    path = tmp_path / "model.dat"
    path.write_bytes(data)
    torch.testing.assert_close(
        DlibJudge(path, sha256=None, chips=True).embed(as_images(chips)), forward(chips, drawn), rtol=1e-4, atol=1e-4
    )


def recorded(weights: dlib_file.Weights) -> tuple[bytes, list[np.ndarray]]:
    """The file, and its weights in their order."""
    drawn: list[np.ndarray] = []

    def record(kind: str, shape: tuple[int, ...]) -> np.ndarray:
        drawn.append(weights(kind, shape))
        return drawn[-1]

    return dlib_file.face_recognition_model(record), drawn


def by_hand() -> tuple[bytes, list[np.ndarray], Tensor]:
    """A file, its weights, and the descriptor of every image: filters and scales 0, shifts 1.

    Each layer adds 1 to the channels and the places it reaches. The stem gives 1 and three blocks 4. The step to 64
    channels adds 1 to all 64, of which 32 are new, and so on; the one from 8 x 8 to 4 x 4 reaches only 3 x 3, the
    last, from 4 x 4 to 2 x 2, only one corner. Before the last step a channel born with the stem holds 14 where
    reached and 13 elsewhere, those born later 10, 6, 3 and one less; pooled to 2 x 2 they lose 0, 1/2, 1/2, 3/4 and
    gain 1 in the corner: 3/16 less on average.
    """
    picks = {0: slice(None), 1: slice(0, 1), 2: slice(32, 33), 3: slice(64, 65), 4: slice(128, 129)}

    def weights(kind: str, shape: tuple[int, ...]) -> np.ndarray:
        array = np.full(shape, kind == "beta", np.float32)
        for column, channels in picks.items() if kind == "fc" else ():
            array[channels, column] = 1
        return array

    born = [13.8125, 9.8125, 5.8125, 2.8125]  # of 32, 32, 64 and 128 channels: 442 + 314 + 372 + 360
    return *recorded(weights), torch.tensor([1488.0, *born] + [0.0] * 123)


def test_the_forward_pass_here_gives_the_descriptor_by_hand(chips: np.ndarray) -> None:
    _, drawn, expected = by_hand()
    torch.testing.assert_close(forward(chips, drawn), expected.expand(2, 128))


def test_dlib_gives_the_descriptor_by_hand(dlib: ModuleType, tmp_path: Path, chips: np.ndarray) -> None:
    data, _, expected = by_hand()
    path = tmp_path / "model.dat"
    path.write_bytes(data)
    torch.testing.assert_close(
        DlibJudge(path, sha256=None, chips=True).embed(as_images(chips)), expected.expand(2, 128)
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: b"no model at all",
        lambda data: data[:100],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data.replace(b"con_4", b"con_9", 1),
        lambda data: data.replace(b"loss_metric_2", b"loss_metric_7", 1),
    ],
    ids=["empty", "text", "header", "half", "last byte", "unknown layer", "unknown loss"],
)
def test_a_spoilt_file_is_refused_with_one_sentence(
    dlib: ModuleType, model: Path, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "spoilt.dat"
    path.write_bytes(spoil(model.read_bytes()))
    with pytest.raises(UserError) as error:
        DlibJudge(path, sha256=None, chips=True)
    assert "\n" not in str(error.value) and str(error.value).endswith((".", ")"))


@pytest.mark.parametrize("path", [None, "/nowhere/model.dat"])
def test_a_missing_file_is_refused_with_its_origin(dlib: ModuleType, path: str | None) -> None:
    with pytest.raises(UserError, match=r"dlib_face_recognition_resnet_model_v1\.dat"):
        DlibJudge(path, sha256=None, chips=True)
