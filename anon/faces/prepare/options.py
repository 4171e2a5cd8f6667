"""What decides the bytes of a packed data set, apart from its inputs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import anon
from anon import plain
from anon.errors import UserError
from anon.faces.detection.contract import Detector

VERSION = 2  # raise it with every change that alters a byte of a shard
#: Codec to its Pillow format and options. Measured on 150 LFW faces at 256 px, docs/data.md.
CODECS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    "png": ("PNG", {"compress_level": 1}),
    "webp": ("WEBP", {"lossless": True, "quality": 0, "method": 0}),
}
FACES = ("largest", "central", "all")


@dataclass(frozen=True)
class Options:
    """Every field changes the shards; what does not (workers, timeouts) is no field.

    Attributes:
        size: side of the faces in pixels.
        codec: one of :data:`CODECS`.
        faces: which faces of a photograph (:mod:`anon.faces.prepare.extract`); of a video the largest (or central) one
            of its first frame with a face is followed, whatever is asked for.
        every: every how many frames of a video.
        max_frames: of a video that are read at most.
        min_size: least shorter side of a face's box, in pixels of the picture.
        score: least score of the detector; None: its own threshold.
        margin: how much more is kept than the template shows; 0.5: half as much again in each direction. It is there
            for loading at a size whose template shows more.
        detector: its configuration, for hydra; None: points are given.
        weights: SHA-256 of the detector's files.
        unit: how many photographs make a shard; a video counts as :data:`VIDEO_WEIGHT`.
    """

    size: int = 256
    codec: str = "jpg"
    faces: str = "largest"
    every: int = 1
    max_frames: int = 20_000
    min_size: float = 32.0
    score: float | None = None
    margin: float = 0.0
    detector: Mapping[str, Any] | None = field(default=None)
    weights: str = ""
    unit: int = 1024

    def __post_init__(self) -> None:
        for name, least, most in (
            *(("size", 32, 2048), ("every", 1, 10**6), ("max_frames", 1, 10**7), ("min_size", 0, 10**5)),
            *(("margin", 0, 4), ("unit", 1, 10**6)),
        ):
            if not least <= getattr(self, name) <= most:
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)} must be {least} to {most}.")
        if self.score is not None and not 0 <= self.score <= 1:
            raise UserError(f"--score {self.score} must be 0 to 1.")
        for name, known in (("codec", tuple(CODECS)), ("faces", FACES)):
            if getattr(self, name) not in known:
                raise UserError(f"--{name} {getattr(self, name)} must be one of {', '.join(known)}.")

    def plain(self) -> dict[str, Any]:
        """As JSON, without the places of files: a copy of the weights elsewhere is the same detector."""
        values = dataclasses.asdict(self) | {"version": VERSION}
        if self.detector is not None:
            values["detector"] = {k: None if _is_file(v) else v for k, v in self.detector.items()}
        loaded: dict[str, Any] = json.loads(json.dumps(values))
        return loaded


def conf_file(group: str, name: str) -> dict[str, Any]:
    """The content of ``conf/<group>/<name>.yaml``.

    Raises:
        UserError: there is none; says which there are.
    """
    package = Path(anon.__file__).resolve().parent
    folder = (package / "conf" if (package / "conf").is_dir() else package.parent / "conf") / group
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise UserError(f"There is no {group} named '{name}'; conf/{group} has: {', '.join(known) or 'nothing'}.")
    try:
        content = OmegaConf.to_container(OmegaConf.load(folder / f"{name}.yaml"), resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"conf/{group}/{name}.yaml cannot be read: {str(error).splitlines()[0]}.") from error
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}


def build(content: Mapping[str, Any], **given: Any) -> Any:
    """Instantiate a configuration; a user's mistake in it arrives as the ``UserError`` that it is."""
    try:
        return hydra.utils.instantiate({**content, **given})
    except hydra.errors.InstantiationException as error:
        link: BaseException | None = error
        while link is not None:
            if isinstance(link, UserError):
                raise link from error
            link = link.__cause__
        raise


def detector_conf(name: str, weights: str | None, score: float | None) -> dict[str, Any]:
    """``conf/detector/<name>.yaml`` with the weights and, where a lower score is wanted, its threshold."""
    content = conf_file("detector", name)
    if weights is not None:
        content["weights"] = str(Path(weights).expanduser().resolve())
    threshold = content.get("threshold")
    if score is not None and isinstance(threshold, float) and score < threshold:
        content["threshold"] = score
    return content


def build_detector(content: Mapping[str, Any]) -> Detector:
    """Raises UserError: also for a detector that gives no points, without which no face can be aligned."""
    detector: Detector = build(content)
    if not detector.has_points:
        raise UserError(f"The detector {detector.name} gives boxes only; alignment needs one with five points.")
    return detector


def fingerprint(content: Mapping[str, Any]) -> str:
    """SHA-256 over the files that a detector's configuration names."""
    digest = hashlib.sha256()
    for key in sorted(content):
        if _is_file(content[key]):
            place = Path(content[key])
            for file in sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]:
                digest.update(f"{key}/{file.relative_to(place) if place.is_dir() else ''}".encode())
                with plain.opened(file) as stream:
                    while block := stream.read(1 << 20):
                        digest.update(block)
    return digest.hexdigest()


def _is_file(value: Any) -> bool:
    return isinstance(value, str) and "/" in value and Path(value).exists()
