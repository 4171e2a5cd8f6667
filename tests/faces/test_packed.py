"""Reading a packed data set: hostile folders, other sizes, shares of ranks, processes that fork and spawn."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from torch.utils.data import DataLoader

from anon.errors import UserError
from anon.faces.alignment import align
from anon.faces.contract import FaceSet, check_images, to_float
from anon.faces.datamodule import StepSampler, collate, packed_data
from anon.faces.images import read_image
from anon.faces.packed import Pack, PackedFaces
from anon.faces.points import read_points
from anon.faces.prepare.options import Options
from anon.faces.prepare.run import prepare
from anon.faces.prepare.sources import of_folder
from anon.faces.splits import SPLITS, EmptySplit, split_of
from tests.faces.prepare.material import photographs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 photographs of twelve people in ``photos``, packed at 128 px without loss in ``packed``."""
    place = tmp_path_factory.mktemp("place")
    table = photographs(place / "photos", 12, 2, size=160)
    options = Options(size=128, min_size=8, codec="webp", unit=9)
    prepare(of_folder(place / "photos", read_points(table)), "small", place / "packed", options)
    return place


@pytest.fixture
def copy(place: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(place / "packed", tmp_path / "packed"))


def test_is_a_face_set_of_its_split(place: Path) -> None:
    people = set()
    for split in SPLITS:
        try:
            faces = PackedFaces(place / "packed", split)
        except EmptySplit:
            continue
        assert isinstance(faces, FaceSet) and not faces.synthetic
        assert all(split_of(name) == split for name in faces.names) and faces.names == sorted(faces.names)
        assert len(faces) == 2 * len(faces.names) and faces.frames.tolist() == [0, 1] * len(faces.names)
        assert (faces.videos == -1).all()
        people |= set(faces.names)
        batch = faces.__getitems__([1, 0])
        check_images(batch["image"])
        assert torch.equal(batch["image"][0], faces[1]["image"]) and batch["image"].shape == (2, 3, 128, 128)
        assert torch.equal(
            PackedFaces(place / "packed", split, threads=2).__getitems__([1, 0])["image"], batch["image"]
        )
    assert len(people) == 12


@pytest.mark.parametrize("size", [64, 112])
def test_another_size_shows_what_its_template_shows(place: Path, size: int) -> None:
    """128 px show more than 112 and 64 do: the same as aligning the photograph at that size."""
    table = read_points(place / "photos.csv")
    faces = PackedFaces(place / "packed", "train", size=size)
    for i, name in enumerate(faces.files()[:4]):
        image = to_float(read_image(place / "photos" / name))[None]
        expected = align(image, torch.from_numpy(table[name])[None], size)[0]
        assert (faces[i]["image"] - expected).abs().mean() < 0.03  # resampled twice
        points = faces[i]["landmarks"]
        middle = torch.from_numpy(table[name])
        assert points.shape == (5, 2) and float(points.min()) > 0 and float(points.max()) < size
        assert torch.allclose(
            (points[1] - points[0]).norm() / (points[4] - points[3]).norm(),
            (middle[1] - middle[0]).norm() / (middle[4] - middle[3]).norm(),
            rtol=1e-3,
        )


def test_ranks_share_an_epoch_without_duplicates(place: Path) -> None:
    faces = PackedFaces(place / "packed", "train")
    seen: list[int] = []
    for rank in range(2):
        sampler = StepSampler(len(faces), 2, seed=3, rank=rank, world=2)
        for step in range(len(sampler)):
            batch = faces.__getitems__(sampler.indices(step))
            seen += (2 * batch["identity"] + batch["frame"]).tolist()
    assert len(seen) == len(set(seen)) == len(faces) // 4 * 4  # all but the incomplete last batch


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_loader_processes(place: Path, start: str) -> None:
    faces = PackedFaces(place / "packed", "train", threads=2)
    first = faces.__getitems__([0, 1])["image"]  # opens a shard and starts threads here
    loader: DataLoader = DataLoader(
        faces,  # type: ignore[arg-type]
        batch_size=2,
        num_workers=1,
        collate_fn=collate,
        multiprocessing_context=start,
    )
    batches = list(loader)
    assert torch.equal(batches[0]["image"], first) and sum(len(b["identity"]) for b in batches) == len(faces)


def test_data_module(place: Path) -> None:
    data = packed_data(str(place / "packed"), batch_size=4, size=None)
    assert data.size == 128 and not data.synthetic
    assert next(iter(data.train_dataloader()))["image"].shape == (4, 128, 128, 3)
    with pytest.raises(UserError, match=r"needs data\.root"):
        packed_data(None, batch_size=4)


def test_min_images(place: Path) -> None:
    with pytest.raises(EmptySplit, match="3 images or more"):
        PackedFaces(place / "packed", "train", min_images=3)


def _info(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        info = json.loads((root / "index.json").read_text())
        change(info)
        (root / "index.json").write_text(json.dumps(info))

    return apply


def _column(key: str, value: int, row: int = 3) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        columns = {name: column.copy() for name, column in load_file(root / "index.safetensors").items()}
        columns[key][row] = value
        save_file(columns, root / "index.safetensors")

    return apply


def _drop_a_face(root: Path) -> None:
    columns = {name: column[1:].copy() for name, column in load_file(root / "index.safetensors").items()}
    save_file(columns, root / "index.safetensors")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda root: (root / "index.json").write_text("{"), "index.json is damaged"),
        (lambda root: (root / "index.json").unlink(), "is not finished"),
        (
            lambda root: (root / "index.safetensors").write_bytes(b"\xff" * 99),
            "index.safetensors is missing",
        ),
        (_drop_a_face, "does not fit index.json"),
        (lambda root: (root / "shard-000001.tar").unlink(), "'shard-000001.tar' is missing"),
        (
            lambda root: (root / "shard-000000.tar").write_bytes(b"short"),
            "'shard-000000.tar' is missing, a link, or",
        ),
        (_column("offset", 1 << 40), "beyond the end of 'shard-000000.tar'"),
        (_column("offset", -1), "beyond the end of 'shard-000000.tar'"),
        (_column("length", (1 << 62)), "beyond the end of 'shard-000000.tar'"),
        (_column("shard", 99), "has a shard that"),
        (_column("label", -5), "has a label that"),
        (_info(lambda info: info.update(codec="pickle")), "a codec that cannot be"),
        (_info(lambda info: info["shards"][0].update(name="../shard-000000.tar")), "no file shard-<number>"),
        (_info(lambda info: info.update(faces=10**12)), "does not fit index.json"),
    ],
)
def test_damage_is_refused_at_the_door(copy: Path, damage: Callable[[Path], None], told: str) -> None:
    damage(copy)
    with pytest.raises(UserError, match=told) as caught:
        PackedFaces(copy, "train")
    assert "run prepare again" in str(caught.value) or "anon prepare" in str(caught.value)


@pytest.mark.parametrize("damage", [_column("offset", 0, row=0), _info(lambda info: info.update(size=127))])
def test_damage_inside_a_shard_names_it(copy: Path, damage: Callable[[Path], None]) -> None:
    damage(copy)
    faces = PackedFaces(copy, "train")
    with pytest.raises(UserError, match=r"'shard-00000\d.tar' holds a .*run prepare again"):
        for row in range(faces.pack.count):
            faces.pack.frame(row)


@pytest.fixture(scope="module", params=["jpg", "png", "webp"])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six faces at 64 px in each codec."""
    place = tmp_path_factory.mktemp(request.param)
    table = photographs(place / "photos", 3, 2, size=96)
    options = Options(size=64, min_size=8, codec=request.param)
    prepare(of_folder(place / "photos", read_points(table)), "small", place / "packed", options)
    return place / "packed"


def stored(pack: Pack, row: int) -> tuple[Path, int, int]:
    shard, offset, length = (int(pack.columns[key][row]) for key in ("shard", "offset", "length"))
    return pack.root / pack.info["shards"][shard]["name"], offset, length


def test_a_frame_is_what_pillow_reads_and_lies_where_asked(small: Path) -> None:
    pack = Pack(small)
    for row in range(pack.count):
        path, offset, length = stored(pack, row)
        with Image.open(io.BytesIO(path.read_bytes()[offset : offset + length])) as image:
            wanted = np.asarray(image)
        out = np.zeros((2, 64, 64, 3), np.uint8)
        pack.frame(row, out=out[1])
        assert np.abs(out[1].astype(int) - wanted).max() <= 1 and not out[0].any()  # two builds of one JPEG library
        assert np.array_equal(pack.frame(row), out[1])


@pytest.mark.parametrize("kind", ["grey", "larger", "smaller", "colours", "cut", "noise", "nothing", "another codec"])
def test_a_hostile_face_inside_a_shard(small: Path, tmp_path: Path, kind: str) -> None:
    copy = Path(shutil.copytree(small, tmp_path / "packed"))
    pack = Pack(copy)
    path, offset, length = stored(pack, 0)
    content = bytearray(path.read_bytes())
    names = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
    codec = names.pop(pack.info["codec"])
    if (codec, kind) == ("WEBP", "cut"):
        pytest.skip("zeros are pixels to lossless WebP")
    new = {
        "grey": lambda: encoded(Image.new("LA" if codec == "WEBP" else "L", (64, 64)), codec),
        "larger": lambda: encoded(Image.new("RGB", (128, 64)), codec),
        "smaller": lambda: encoded(Image.new("RGB", (32, 32)), codec),
        "colours": lambda: encoded(Image.new("CMYK" if codec == "JPEG" else "RGBA", (64, 64)), codec),
        "cut": lambda: bytes(content[offset : offset + length // 2]),
        "noise": lambda: np.random.default_rng(0).bytes(length),
        "nothing": lambda: b"",
        "another codec": lambda: encoded(Image.new("RGB", (64, 64)), next(iter(names.values()))),
    }[kind]()
    assert len(new) <= length
    content[offset : offset + length] = new.ljust(length, b"\0")
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"'shard-00000\d.tar' holds a .*run prepare again"):
        Pack(copy).frame(0, out=np.zeros((64, 64, 3), np.uint8))


def encoded(image: Image.Image, codec: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, codec)
    return stream.getvalue()


def test_images_are_writable_copies(place: Path) -> None:
    image = PackedFaces(place / "packed", "train")[0]["image"]
    assert image.dtype == torch.float32 and image.is_contiguous()
    assert np.isfinite(image.numpy()).all()
