"""Do recognizers see one face at every size? ``ANON_REAL=<folder> python benchmarks/framing.py [--doors]``.

Prints Markdown. Four photographs each of LFW's people who have so many are aligned by given points at every size, kept
in eight bits and shown to EdgeFace and MobileFaceNet, flip-sum: EER and TAR at FAR .001 over all pairs, Real ID (two
pictures of a person enrolled and averaged, the other two found below the distance of FAR .001 among the enrolled), and
the cosine to the same photograph at 112 px. Beside it, what resizing alone would give at 256, which shows another view,
and what resolution alone costs: the 112 crop shrunk and enlarged. ``--doors``: folders, packed sets and clips at every
size, and the inverse warp.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from anon.faces.alignment import align, restore, similarity, template
from anon.faces.contract import FaceSet, to_float, to_uint8
from anon.faces.folder import EmptySplit, FolderFaces
from anon.faces.images import read_image
from anon.faces.packed import PackedFaces
from anon.faces.points import read_points
from anon.faces.prepare.options import Options, detector_conf
from anon.faces.prepare.run import prepare
from anon.faces.prepare.sources import of_folder
from anon.faces.splits import SPLITS
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.identity.networks.edgeface import EdgeFace
from anon.identity.networks.mobilefacenet import MobileFaceNet
from anon.identity.policies import average
from anon.identity.verification import equal_error_rate, pair_distances, tar_at_far, threshold_at_far
from anon.metrics.retrieval import retrieval_hits
from anon.progress import track

SIZES = (64, 96, 112, 128, 160, 224, 256)
PART = 64  # photographs at a time
EACH = 4  # photographs of a person
Embed = Callable[[Tensor], Tensor]


def judges(real: Path) -> dict[str, Judge]:
    """The two recognizers at hand."""
    edge = str(real / "models/edgeface_xs/derived_edgeface_xs_float32_state_dict.pt")
    mobile = str(real / "models/mobilefacenet_foamliu/mobilefacenet.pt")
    imagenet = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    return {
        "EdgeFace": Judge(Encoder(EdgeFace(), 112, name="edgeface", weights=edge)),
        "MobileFaceNet": Judge(Encoder(MobileFaceNet(), 112, name="mobilefacenet", weights=mobile, **imagenet)),
    }


def photographs(real: Path, people: int) -> list[str]:
    """Four of each of ``people`` people, as files, person by person."""
    folders = sorted(folder for folder in (real / "faces/lfw").iterdir() if folder.is_dir())
    files = [sorted(f"{folder.name}/{file.name}" for file in folder.glob("*.jpg"))[:EACH] for folder in folders]
    return [file for several in [row for row in files if len(row) == EACH][:people] for file in several]


def points_of(real: Path, files: list[str]) -> Tensor:
    """(N, 5, 2)."""
    with (real / "faces/_meta/lfw_index.csv").open(newline="") as stream:
        index = {row["file"]: row for row in csv.DictReader(stream)}
    names = ("re", "le", "n", "rm", "lm")
    return torch.tensor([[[float(index[file][f"{p}_{axis}"]) for axis in "xy"] for p in names] for file in files])


def kept(images: Tensor) -> Tensor:
    """As a data set keeps them: eight bits."""
    return torch.stack([to_float(to_uint8(image)) for image in images])


def resized(images: Tensor, size: int) -> Tensor:
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)


def crops(frames: Tensor, points: Tensor, sizes: tuple[int, ...]) -> dict[str, Tensor]:
    """The pictures of every row of the table."""
    found = {f"{size}": kept(align(frames, points, size)) for size in sizes}
    for size in sizes:
        if size == 256:
            found[f"{size}, only resized"] = resized(found[f"{size}"], 112)
        elif size < 112:
            found[f"112 through {size}"] = resized(kept(resized(found["112"], size)), 112)
    return found


@torch.no_grad()
def embedded(real: Path, files: list[str], seen: dict[str, Judge]) -> dict[tuple[str, str], Tensor]:
    """(recognizer, row) -> (N, D)."""
    points = points_of(real, files)
    found: dict[tuple[str, str], list[Tensor]] = {}
    parts = torch.arange(len(files)).split(PART)
    for part in track(parts, "recognizing", len(files), PART):
        frames = torch.stack([to_float(read_image(real / "faces/lfw" / files[i])) for i in part.tolist()])
        for row, images in crops(frames, points[part], SIZES).items():
            for name, judge in seen.items():
                found.setdefault((name, row), []).append(judge.embed(images))
    return {key: torch.cat(values) for key, values in found.items()}


class Figures(NamedTuple):
    """Of unit embeddings (N, D), :data:`EACH` of every person after each other."""

    eer: float
    tar: float
    real_id: float


def figures(z: Tensor) -> Figures:
    """EER and TAR at FAR .001 over all pairs; share of the second halves found among the averaged first halves."""
    labels = torch.arange(len(z)) // EACH
    enrolled = torch.arange(len(z)) % EACH < EACH // 2
    genuine, impostor = pair_distances(z, labels)
    threshold, _ = threshold_at_far(pair_distances(z[enrolled], labels[enrolled])[1], 1e-3)
    gallery, people = average(z[enrolled], labels[enrolled])
    hits = retrieval_hits(z[~enrolled], labels[~enrolled], gallery, people, threshold)
    eer = equal_error_rate(genuine, impostor)[0]
    return Figures(eer, tar_at_far(genuine, impostor, 1e-3), float(hits.double().mean()))


def table(real: Path, people: int) -> list[str]:
    """What every size costs, a recognizer after the other."""
    files = photographs(real, people)
    found = embedded(real, files, judges(real))
    lines = [
        f"{len(files):,} photographs of {len(files) // EACH:,} people.",
        "",
        "| recognizer | crop | EER | TAR@FAR 1e-3 | Real ID | cosine to 112: mean | least 1 % |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in sorted(found, key=lambda key: key[0]):
        z = found[name, row]
        eer, tar, identified = figures(z)
        cosine = (z * found[name, "112"]).sum(1)
        lines.append(
            f"| {name} | {row} | {eer:.4f} | {tar:.3f} | {identified:.4f} | {float(cosine.mean()):.3f} "
            f"| {float(cosine.quantile(0.01)):.3f} |"
        )
    return lines


def splits(build: Callable[[str], FaceSet], batch: int = PART) -> tuple[list[tuple[str, int, int]], Tensor]:
    """All faces of all splits as (person, video, frame), and their images."""
    keys, images = [], []
    for split in SPLITS:
        try:
            faces = build(split)
        except EmptySplit:
            continue
        for part in torch.arange(len(faces)).split(batch):
            sample = faces.__getitems__(part.tolist())  # type: ignore[attr-defined]
            images.append(sample["image"])
            who = [faces.names[label] for label in sample["identity"].tolist()]
            keys += list(zip(who, sample["video"].tolist(), sample["frame"].tolist(), strict=True))
    return keys, torch.cat(images)


def agreement(one: tuple[list, Tensor], other: tuple[list, Tensor], embed: Embed) -> float:
    """Mean cosine of the faces that both sets have."""
    place = {key: n for n, key in enumerate(other[0])}
    rows = [(n, place[key]) for n, key in enumerate(one[0]) if key in place]
    mine, theirs = (embed(images[[row[side] for row in rows]]) for side, images in enumerate((one[1], other[1])))
    return float((mine * theirs).sum(1).mean())


def doors(real: Path, count: int, work: Path) -> list[str]:
    """Mean cosine (EdgeFace) to the same faces at 112 px, for every way in, and the inverse warp."""
    files = photographs(real, count // EACH)
    for file in files:
        (work / "photos" / file).parent.mkdir(parents=True, exist_ok=True)
        (work / "photos" / file).symlink_to(real / "faces/lfw" / file)
    csv_file = real / "faces/_meta/lfw_index.csv"
    points, every = points_of(real, files), read_points(csv_file)
    frames = torch.stack([to_float(read_image(real / "faces/lfw" / file)) for file in files])
    for side in (112, 256):
        for file, crop in zip(files, align(frames, points, side), strict=True):
            place = (work / f"crops{side}" / file).with_suffix(".png")
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(to_uint8(crop).numpy()).save(place)
        packing = Options(size=side, min_size=8)
        prepare(of_folder(work / "photos", every), "lfw", work / f"packed{side}", packing, workers=1)
    clips = work / "clips"
    for clip in sorted((real / "clips/liveportrait").glob("*.mp4")):
        (clips / clip.stem).mkdir(parents=True)
        (clips / clip.stem / clip.name).symlink_to(clip)
    detector = detector_conf("yunet", str(real / "models/yunet/yunet_n_dynamic.onnx"), None)
    for side in (112, 256):
        options = Options(size=side, every=12, detector=detector)
        prepare(of_folder(clips, None), "clips", work / f"clips{side}", options, workers=1)

    def folder(name: str, points: Path | None = None) -> Callable[[int], tuple[list, Tensor]]:
        return lambda size: splits(lambda split: FolderFaces(work / name, split, size, points, cache=work / "cache"))

    def packed(name: str) -> Callable[[int], tuple[list, Tensor]]:
        return lambda size: splits(lambda split: PackedFaces(work / name, split, size))

    ways = {
        "folder, points": (folder("photos", csv_file), folder("photos", csv_file)),
        "folder of 112 crops": (folder("crops112"), folder("photos", csv_file)),
        "folder of 256 crops": (folder("crops256"), folder("photos", csv_file)),
        "packed at 112": (packed("packed112"), folder("photos", csv_file)),
        "packed at 256": (packed("packed256"), folder("photos", csv_file)),
        "clips packed at 112": (packed("clips112"), packed("clips112")),
        "clips packed at 256": (packed("clips256"), packed("clips112")),
    }
    embed = judges(real)["EdgeFace"].embed
    lines = [f"{len(files)} photographs, {len(ways['clips packed at 112'][0](112)[0])} frames of three clips.", ""]
    lines += [f"| way in | {' | '.join(map(str, SIZES))} |", "|---" * (len(SIZES) + 1) + "|"]
    for name, (way, reference) in ways.items():
        wanted = reference(112)
        lines.append(f"| {name} | {' | '.join(f'{agreement(way(size), wanted, embed):.3f}' for size in SIZES)} |")
    lines.append(f"| restored, PSNR in dB | {' | '.join(f'{undone(frames, points, size):.1f}' for size in SIZES)} |")
    return lines


def undone(frames: Tensor, points: Tensor, size: int) -> float:
    """How well :func:`restore` puts crops back, median PSNR where they cover the photograph."""
    image, coverage = restore(align(frames, points, size), similarity(points, template(size)), frames.shape[-2:])  # type: ignore[arg-type]
    inside = (coverage > 0.999).float()
    error = ((image - frames).square() * inside).sum((1, 2, 3)) / (3 * inside.sum((1, 2, 3)))
    return statistics.median((10 * torch.log10(4 / error)).tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--people", type=int, default=235, help="at most (default: %(default)s)")
    parser.add_argument("--doors", action="store_true", help="the ways in instead of the recognizers")
    parser.add_argument("--photographs", type=int, default=64, help="for --doors (default: %(default)s)")
    given = parser.parse_args()
    real = Path(os.environ.get("ANON_REAL", ""))
    if not (real / "faces/lfw").is_dir():
        raise SystemExit("error: set ANON_REAL to the folder of real photographs and weights.")
    torch.manual_seed(0)
    if not given.doors:
        print("\n".join(table(real, given.people)))
        return
    with tempfile.TemporaryDirectory() as work:
        print("\n".join(doors(real, given.photographs, Path(work))))


if __name__ == "__main__":
    main()
