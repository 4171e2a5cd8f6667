"""A TorchScript archive of somebody else's as a method, against what its program says by hand; hostile ones."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.anonymizers.plugged import as_anonymizer
from anon.anonymizers.torchscript import TorchScriptAnonymizer
from anon.errors import UserError

IMAGES = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


class Negative(nn.Module):
    """-x of pictures, behind a branch that a traced network would not have."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 3:
            return -x
        return x


class Writing(nn.Module):
    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = str(file)

    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, self.file)
        return x


class Reading(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.from_file("/etc/hostname", False, 0).sum()


class Endless(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        while bool(x.sum() < 1e9):
            x = x * 1.0
        return x


class Counting(nn.Module):
    """A loop that ends when the picture says so."""

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(int(x.abs().sum()) * 1000000000):
            x = x * 1.0
        return x


class Growing(nn.Module):
    """A list that begins as a tensor's dimensions, and does not stay that."""

    def forward(self, x: Tensor) -> Tensor:
        sides = x.shape
        for _ in range(x.dim()):
            sides += sides
        for _ in range(len(sides)):
            x = x * 1.0
        return x


class Nested(nn.Module):
    """Each loop is short, and together they are not."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.view([1] * 60 + list(x.shape))
        for _ in range(y.dim()):
            for _ in range(y.dim()):
                y = y * 1.0
        return y.view(x.shape)


class Remembering(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        self.last = x
        return x


class Waking(nn.Module):
    """Runs when it is read."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> bool:
        return self.training

    @torch.jit.export
    def __setstate__(self, state: bool) -> None:
        self.training = state


class Huge(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.ones(274877906944).sum()


class Twice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.anon_test.twice(x)


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def saved(folder: Path, network: nn.Module, **extra: Any) -> Path:
    torch.jit.script(network).save(str(folder / "mine.pt"), **extra)
    return folder / "mine.pt"


def test_a_scripted_one_and_its_range(tmp_path: Path) -> None:
    """-x of [-1, 1] is the negative; of [0, 255] it is -(x + 1) / 2 * 255, which is -x - 2 on the way back."""
    file = saved(tmp_path, Negative())
    mine = TorchScriptAnonymizer(file)
    torch.testing.assert_close(as_anonymizer(mine, "mine")(IMAGES, rng=torch.Generator()), -IMAGES)
    assert mine.name == "mine" and len(mine.sha256) == 64
    torch.testing.assert_close(TorchScriptAnonymizer(file, low=0, high=255)(IMAGES), -IMAGES - 2)


def test_a_traced_one_of_its_own_side_with_blue_first(tmp_path: Path) -> None:
    """A convolution that keeps the first channel keeps blue; one colour stays that at six pixels and back."""
    network = nn.Conv2d(3, 3, 1, bias=False)
    with torch.no_grad():
        network.weight.zero_()[0, 0] = 1.0
    torch.jit.trace(network, torch.zeros(1, 3, 6, 6)).save(str(tmp_path / "mine.pt"))
    flat = torch.tensor([0.25, -0.5, 0.75]).view(1, 3, 1, 1).expand(2, 3, 10, 10)
    kept = torch.tensor([0.0, 0.0, 0.75]).view(1, 3, 1, 1).expand(2, 3, 10, 10)
    torch.testing.assert_close(TorchScriptAnonymizer(tmp_path / "mine.pt", bgr=True, size=6)(flat), kept)


class Usual(nn.Module):
    """What generators are made of; antialiasing is of a newer form of the archive."""

    def __init__(self, resize: bool) -> None:
        super().__init__()
        self.resize = resize
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.PReLU(8), nn.ReflectionPad2d(1), nn.Conv2d(8, 8, 3)),
            *(nn.InstanceNorm2d(8, affine=True), nn.GroupNorm(2, 8), nn.GELU(), nn.Dropout(), nn.Conv2d(8, 12, 1)),
            nn.PixelShuffle(2),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        if self.resize:
            y = y + F.interpolate(y[:, :, ::2], [x.shape[2], x.shape[3]], mode="bilinear", antialias=True)
        tokens = F.normalize(y.flatten(2), dim=-1)
        return ((tokens @ tokens.transpose(1, 2)).softmax(-1) @ y.flatten(2)).reshape(x.shape).tanh()


@pytest.mark.parametrize("resize", [False, True])
def test_the_usual_layers(tmp_path: Path, resize: bool) -> None:
    """Scripted, with loops over dimensions, and traced: the numbers of the network itself."""
    torch.manual_seed(0)
    network = Usual(resize).eval()
    made = torch.jit.trace(network, IMAGES, check_trace=False) if resize else torch.jit.script(network)
    made.save(str(tmp_path / "mine.pt"))
    with torch.no_grad():
        torch.testing.assert_close(TorchScriptAnonymizer(tmp_path / "mine.pt", size=8)(IMAGES), network(IMAGES))


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (Reading(), r"does what no network of pictures needs \(aten::from_file\), so it is not run"),
        (Endless(), r"needs \(prim::Loop\)"),
        (Counting(), r"needs \(prim::Loop\)"),
        (Growing(), r"needs \(prim::Loop\)"),
        (Nested(), r"needs \(prim::Loop\)"),
        (Remembering(), r"needs \(prim::SetAttr\)"),
        (Waking(), r"runs code while it is read \(__setstate__, torch.classes\), which is refused"),
        (Huge(), r"does not open and run within 12 s and bounded memory"),
    ],
)
def test_a_program_that_does_more(tmp_path: Path, network: nn.Module, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        TorchScriptAnonymizer(saved(tmp_path, network))


def test_one_that_writes_is_never_run(tmp_path: Path) -> None:
    file = saved(tmp_path, Writing(tmp_path / "written"))
    with pytest.raises(UserError, match=r"needs \(aten::save\)"):
        TorchScriptAnonymizer(file)
    assert not (tmp_path / "written").exists()


def test_what_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"of pictures it makes \(5, 3\), not \(B, 3, S, S\)"):
        TorchScriptAnonymizer(saved(tmp_path, Mean()))(IMAGES)
    with pytest.raises(UserError, match="low=1 must be below high=1"):
        TorchScriptAnonymizer(tmp_path / "mine.pt", low=1, high=1)


def test_a_bomb(tmp_path: Path) -> None:
    """A hundredth of its bytes: refused before anything is unpacked."""
    file = saved(tmp_path, Negative())
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mine/data/0", bytes(2**25))
    assert file.stat().st_size < 2**20
    with pytest.raises(UserError, match="unpacks to more than its"):
        TorchScriptAnonymizer(file)


def test_a_member_that_unpacks_to_more_than_it_says(tmp_path: Path) -> None:
    file = saved(tmp_path, Negative())
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mine/data/0", bytes(2**25))
        archive.getinfo("mine/data/0").file_size = 2**10
    with pytest.raises(UserError, match="is not a TorchScript archive, or is damaged"):
        TorchScriptAnonymizer(file)


def test_files_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No TorchScript file at .*method\.anonymizer\.file"):
        TorchScriptAnonymizer(tmp_path / "none.pt")
    with pytest.raises(UserError, match="method=torchscript needs a TorchScript file: name the file with"):
        TorchScriptAnonymizer(None)
    torch.save(nn.Conv2d(3, 3, 1).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(UserError, match="holds no TorchScript program, only weights"):
        TorchScriptAnonymizer(tmp_path / "weights.pt")
    file = saved(tmp_path, Negative())
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="is not a TorchScript archive, or is damaged"):
        TorchScriptAnonymizer(file)


def test_a_program_whose_tensors_are_damaged(tmp_path: Path) -> None:
    """A sound zip with a pickle that is none."""
    file = saved(tmp_path, Negative())
    with zipfile.ZipFile(file) as given, zipfile.ZipFile(tmp_path / "other.pt", "w") as made:
        for member in given.infolist():
            made.writestr(member, b"\x80\x02nonsense" if member.filename.endswith("data.pkl") else given.read(member))
    with pytest.raises(UserError, match=r"is no program that torch .* can open by itself"):
        TorchScriptAnonymizer(tmp_path / "other.pt")


def test_operators_of_another_library(tmp_path: Path) -> None:
    """torchvision's, for one: they are known only where that library was imported."""
    torch.library.define("anon_test::twice", "(Tensor x) -> Tensor")
    with pytest.raises(UserError, match=r"is no program that torch .* can open by itself"):
        TorchScriptAnonymizer(saved(tmp_path, Twice()))


def test_an_exported_program_becomes_one(tmp_path: Path) -> None:
    """The sentence for torch.export's files says how, and that works."""
    torch.export.save(torch.export.export(nn.Conv2d(3, 3, 1), (torch.zeros(1, 3, 8, 8),)), tmp_path / "mine.pt2")
    with pytest.raises(UserError, match=r"a program of torch\.export, not TorchScript.*torch\.jit\.trace"):
        TorchScriptAnonymizer(tmp_path / "mine.pt2")
    program = torch.export.load(tmp_path / "mine.pt2").module()
    torch.jit.trace(program, torch.zeros(1, 3, 8, 8)).save(str(tmp_path / "mine.pt"))
    with torch.no_grad():
        expected = program(IMAGES[:1])
    torch.testing.assert_close(TorchScriptAnonymizer(tmp_path / "mine.pt", size=8)(IMAGES[:1]), expected)
