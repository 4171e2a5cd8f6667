"""Recognizers of OpenVINO's representation, against the ONNX files that they were converted from, and hostile ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from anon.errors import UserError
from anon.evaluation.judges.judging import are_one, share_of_weights
from anon.identity.contract import JudgeLike
from anon.identity.onnx import OnnxJudge
from anon.identity.openvino_judge import OpenVinoJudge
from tests.identity.onnx_graphs import channel_means

openvino = pytest.importorskip("openvino", reason="needs the extra gaze")

#: What the graph of :func:`channel_means` without its own normalization is given: insightface's rule.
SIGNED = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "bgr": False}


def converted(file: Path) -> Path:
    """``<name>.xml`` and ``<name>.bin`` beside an ONNX file."""
    openvino.save_model(openvino.convert_model(str(file)), str(file.with_suffix(".xml")), compress_to_fp16=False)
    return file.with_suffix(".xml")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return channel_means(tmp_path / "w.onnx", normalizes=False)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_a_converted_file_gives_what_the_onnx_file_gives(file: Path, images: Tensor) -> None:
    """Of a graph fixed to one image, which takes any batch here; blue first turns the channels."""
    known, judge = OnnxJudge(file), OpenVinoJudge(converted(file), **SIGNED)
    assert isinstance(judge, JudgeLike) and (judge.dim, judge.size, judge.name) == (known.dim, 112, "w")
    torch.testing.assert_close(judge.embed(images), known.embed(images), atol=1e-5, rtol=0)
    turned = OpenVinoJudge(file.with_suffix(".xml"), **(SIGNED | {"bgr": True}))
    torch.testing.assert_close(turned.embed(images), known.embed(images.flip(1)), atol=1e-5, rtol=0)
    assert judge.fingerprint == turned.fingerprint != known.fingerprint


@pytest.mark.parametrize("reshape", [(1, 3), (1, -1), (-1, 3)])
def test_sizes_of_one_image_inside_take_one_at_a_time(tmp_path: Path, images: Tensor, reshape: tuple[int, int]) -> None:
    """As published exports have them: two images would come back as one vector of twice the length."""
    file = channel_means(tmp_path / "w.onnx", reshape=reshape, normalizes=False)
    judge = OpenVinoJudge(converted(file), **SIGNED)
    torch.testing.assert_close(judge.embed(images), OnnxJudge(file).embed(images), atol=1e-5, rtol=0)


def test_raw_bytes_are_what_it_wants_by_default(tmp_path: Path, images: Tensor) -> None:
    """A graph with its own (x - 127.5) / 128, whose ONNX file tells so."""
    file = channel_means(tmp_path / "raw.onnx")
    judge = OpenVinoJudge(converted(file), bgr=False)
    torch.testing.assert_close(judge.embed(images), OnnxJudge(file).embed(images), atol=1e-5, rtol=0)


def test_one_network_in_two_formats_is_one_judge(file: Path) -> None:
    """Whatever settings hide it: its weights are looked at."""
    known, judge = OnnxJudge(file), OpenVinoJudge(converted(file))
    assert sum(value.numel() for value in judge.constants()) >= 64 * 3
    assert are_one(known, OpenVinoJudge(converted(file), **SIGNED))
    assert share_of_weights(judge, OpenVinoJudge(converted(file), **SIGNED)) == share_of_weights(known, known)


def test_what_is_no_recognizer_is_one_sentence(tmp_path: Path, file: Path) -> None:
    with pytest.raises(UserError, match="needs a file"):
        OpenVinoJudge(None)
    with pytest.raises(UserError, match="No OpenVINO model at"):
        OpenVinoJudge(file)
    xml = converted(file)
    for content in (b"", b"<xml", xml.read_bytes()[:400]):
        (tmp_path / "bad.xml").write_bytes(content)
        (tmp_path / "bad.bin").write_bytes(xml.with_suffix(".bin").read_bytes())
        with pytest.raises(UserError, match="damaged"):
            OpenVinoJudge(tmp_path / "bad.xml")
    (tmp_path / "bad.xml").write_bytes(xml.read_bytes())
    (tmp_path / "bad.bin").write_bytes(b"short")
    with pytest.raises(UserError, match="damaged"):
        OpenVinoJudge(tmp_path / "bad.xml")
    (tmp_path / "bad.bin").unlink()
    with pytest.raises(UserError, match=r"No OpenVINO model at '.*bad\.bin'"):
        OpenVinoJudge(tmp_path / "bad.xml")
