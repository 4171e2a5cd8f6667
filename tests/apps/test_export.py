"""``anon export``: the file gives what the method gives, or is not written; what no file can hold is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from anon.anonymizers.composed import Anonymizer
from anon.apps import export as app
from anon.errors import UserError
from anon.generators.contract import Redrawn
from anon.generators.facedancer import FaceDancer
from anon.generators.fiva import FIVA
from anon.identity.policies import AnchorSampling, Negation
from anon.identity.tracking import IdentityTracker
from tests.training import small

SIDE = small.SIZE


def made(generator: torch.nn.Module) -> Anonymizer:
    """Of a small encoder."""
    return Anonymizer(small.encoder(), Negation(), generator).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
@pytest.mark.parametrize("swapper", [False, True])
def test_the_file_gives_what_the_method_gives(kind: str, swapper: bool, tmp_path: Path) -> None:
    """Of another number of pictures than it was traced with, by the anonymizer's own way through its parts."""
    torch.manual_seed(0)
    dim = small.encoder().dim
    parts = FaceDancer(SIDE, base=4, z_dim=dim, mapping=8, depth=1) if swapper else FIVA((4, 8), z_dim=dim)
    anonymizer = made(parts)
    images = torch.rand(3, 3, SIDE, SIDE) * 2 - 1
    module = app.InOneFile(anonymizer, None).eval().requires_grad_(False)
    with torch.no_grad():
        content, far = app._checked(kind, module, images, tmp_path / "mine.file")
        (tmp_path / "mine.file").write_bytes(content)
        drawn = app._WRITERS[kind][1](tmp_path / "mine.file")(images)
        wanted = anonymizer(images)
    assert far < 1e-4 and (drawn - wanted).abs().max() < 1e-4 and (wanted - images).abs().max() > 0.05


def test_what_onnx_lacks_is_one_sentence(tmp_path: Path) -> None:
    """Antialiased resizing: the faces have another side than the encoder."""
    module = app.InOneFile(made(FIVA((4, 8), z_dim=small.encoder().dim)), None).eval()
    with pytest.raises(UserError, match=r"^ONNX has not what this method computes .*format=torchscript may\.$"):
        app._checked("onnx", module, torch.rand(2, 3, 24, 24), tmp_path / "mine.onnx")


class Drawing(torch.nn.Module):
    """A generator that a trace gets wrong: how often it was called is in its picture."""

    steers, calls = 1, 0

    def forward(self, target: Tensor, z: Tensor) -> Redrawn:
        self.calls += 1
        return Redrawn((target + z.sum() * 0).clamp(-0.5, 0.5) * 0.5**self.calls, None)


def test_a_file_that_differs_is_not_written(tmp_path: Path) -> None:
    module = app.InOneFile(made(Drawing()), None).eval()
    with pytest.raises(UserError, match=r"differs from the method by .* so it is not written"), torch.no_grad():
        app._checked("torchscript", module, torch.rand(2, 3, SIDE, SIDE), tmp_path / "mine.pt")
    assert not list(tmp_path.iterdir())


def test_everybody_gets_the_wanted_identity() -> None:
    """The mix of two of the people; the mirrored one where the generator flees it."""
    people = F.normalize(torch.eye(4), dim=1)
    for mirrored in (False, True):
        tracker = IdentityTracker(AnchorSampling(people, mirrored=mirrored), 0.3)
        wanted = app._wanted(SimpleNamespace(policy=tracker), "5")
        assert wanted is not None
        assert sorted((wanted * (-1) ** mirrored).tolist()) == pytest.approx([0, 0, 0.5**0.5, 0.5**0.5])
        module = app.InOneFile(made(FIVA((4, 8), z_dim=4)), wanted)
        assert module.encoder is None and module(torch.zeros(2, 3, 32, 32)).shape == (2, 3, 32, 32)
    with pytest.raises(UserError, match=r"IdentityTracker.* remembers people.* policy=itm wanted=<number>"):
        app._wanted(SimpleNamespace(policy=tracker), None)
    with pytest.raises(UserError, match="wanted=one must be a whole number"):
        app._wanted(SimpleNamespace(policy=tracker), "one")
    with pytest.raises(UserError, match="of 18 digits at most"):
        app._wanted(SimpleNamespace(policy=tracker), "9" * 30)
    with pytest.raises(UserError, match="wanted=3 would do nothing here"):
        app._wanted(SimpleNamespace(policy=Negation()), "3")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("method=fiva policy=own", "give output=<file>"),
        ("method=fiva output=a.onnx format=tflite", "format=tflite is none; it is one of onnx, torchscript"),
        ("method=fiva output=nowhere/a.onnx", "there is no folder 'nowhere'"),
        ("method=fiva output=a.onnx judge=synthetic_b", "judge=synthetic_b would do nothing here"),
        ("method=fiva output=a.onnx polciy=own", "polciy=own would do nothing here"),
        ("method=nope output=a.onnx", "no method named 'nope'"),
        ("method=blur output=a.onnx", "a filter has nothing to export"),
        ("method=fiva output=~nosuch/a.onnx", "there is no folder '~nosuch'"),
    ],
)
def test_mistakes_are_one_sentence(
    words: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert app.command(words.split()) == 2
    err = capsys.readouterr().err
    assert told in err and len(err.splitlines()) == 1 and not list(tmp_path.iterdir())


def test_the_command_writes_a_method_with_its_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "fiva.onnx"
    assert app.command(["method=fiva", "policy=negation", f"output={file}"]) == 0
    text = (tmp_path / "fiva.onnx.md").read_text()
    assert "`anon export method=fiva policy=negation output=fiva.onnx`" in text and "whoever negates" in text
    assert f"- file: {file.stat().st_size:,} bytes" in text and "(B, 3, 64, 64)" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fiva.onnx", "fiva.onnx.md"]
    assert "of [-1, 1] from the method" in capsys.readouterr().out
    assert "method=onnx" in text
    app.check_free(file)  # its own may be written again
    file.write_bytes(b"a photograph")
    with pytest.raises(UserError, match="is there already and not of anon export"):
        app.check_free(file)
    with pytest.raises(UserError, match="is there already"):
        app.check_free(tmp_path)
