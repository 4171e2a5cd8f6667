"""One photograph or video to its aligned faces, and an account of what was left out and why.

Which face of a photograph is the one that it is of: the border cuts bystanders more often than the person. Of 3,074
photographs of LFW the largest face is another than the central one in 8, the largest whole face in 1; equal error rates
of EdgeFace on 2,400 pairs .83 %, .50 %, central .50 %. A face is whole whose aligned crop lies inside the picture, all
of it: 97 % and more gives .58 %, 90 % .67 %. Boxes do not tell, for detectors end the box of a cut face where the
picture ends.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from anon.faces.alignment import Framing, crop_box, share_inside, similarity, template, transform, warp
from anon.faces.contract import to_float, to_uint8
from anon.faces.detection.contract import Detections, Detector
from anon.faces.detection.frames import areas, overlaps
from anon.faces.images import ImageError, read_image
from anon.faces.packed import view
from anon.faces.points import fault_in
from anon.faces.prepare.options import Options
from anon.faces.prepare.sources import Source
from anon.faces.video import VideoError, read_video

_TOGETHER = 4  # frames of a video that are detected at once: bounds the memory
_FOLLOW = 0.2  # least overlap (intersection over union) with the box of the frame before
_ANNOTATED = 0.3  # least overlap with the box that an annotation gives
#: Least share of a face's area for another to be of similar size: a smaller one in the background is no rival.
SIMILAR = 0.5
_BOX = 0.7  # a face's box, as a share of the side of its 112 crop (LFW: 87 of 127 px)


class Face(NamedTuple):
    """A face as it is packed."""

    image: Tensor  # (S, S, 3) uint8
    landmarks: Tensor  # (5, 2) pixels of the crop
    score: float | None  # None: the points were given
    frame: int  # in the video; 0 for a photograph
    labels: dict[str, Any]


@dataclass
class Account:
    """What became of an input. ``reason`` tells why it gave no face at all; ``remark`` what ended it early."""

    frames: int = 0
    reason: str | None = None
    remark: str | None = None
    rejected: Counter[str] = field(default_factory=Counter)  # frames without a usable face, by why
    found: int = 0  # faces that the detector saw
    others: int = 0  # faces beside the chosen one
    alike: int = 0  # faces of a photograph that could be the one as well, the chosen one included; 0: no other


def extract(
    source: Source, options: Options, detector: Detector | None, account: Account, alive: Callable[[], None]
) -> Iterator[Face]:
    """The faces of ``source``; fills ``account`` as it goes and calls ``alive`` after every step of a long video."""
    faces = _video if source.video else _photograph
    found = 0
    for face in faces(source, options, detector, account, alive):
        found += 1
        yield face
    if not found and account.reason is None:
        account.reason = account.rejected.most_common(1)[0][0] if account.rejected else "no face"


def _photograph(
    source: Source, options: Options, detector: Detector | None, account: Account, alive: Callable[[], None]
) -> Iterator[Face]:
    if source.points is None and detector is None:
        account.reason = source.lacking
        return
    try:
        frame = read_image(source.path)
    except ImageError as error:
        account.reason = str(error)
        return
    account.frames = 1
    if source.points is not None:
        account.found = 1
        yield from _aligned(frame, torch.tensor(source.points), None, 0, source.labels, options, account)
        return
    assert detector is not None
    alive()
    found = detector.detect(frame)
    account.found = len(found.scores)
    usable = _usable(found, options, account, frame)
    if source.box is not None and usable:
        shares = overlaps(found.boxes[usable], torch.tensor([source.box]))[:, 0]
        usable = [usable[i] for i in shares.argsort(descending=True, stable=True).tolist() if shares[i] > _ANNOTATED]
        if not usable:
            account.rejected["no face where the annotation has one"] += 1
    elif usable and options.faces != "all":
        best = chosen(found, usable, options.faces, frame)
        account.alike = alike(found, usable, best, frame)
        usable = [best]
    if source.box is not None:
        usable = usable[:1]
    account.others += max(len(found.scores) - len(usable), 0)
    for index in usable:
        yield from _aligned(frame, found.points[index], float(found.scores[index]), 0, source.labels, options, account)


def _video(
    source: Source, options: Options, detector: Detector | None, account: Account, alive: Callable[[], None]
) -> Iterator[Face]:
    if detector is None:
        account.reason = "without points"
        return
    box: Tensor | None = None if source.box is None else torch.tensor(source.box)
    frames = _noting(read_video(source.path, options.every, options.max_frames), account)
    while group := list(itertools.islice(frames, _TOGETHER)):
        for frame, found in zip(group, detector.detect_batch(group), strict=True):
            number = account.frames * options.every
            account.frames += 1
            account.found += len(found.scores)
            usable = _usable(found, options, account, frame)
            if not usable:
                continue
            if box is None:
                index = chosen(found, usable, options.faces, frame)
            else:
                shares = overlaps(found.boxes[usable], box[None])[:, 0]
                if float(shares.max()) < _FOLLOW:
                    account.rejected["another face than the one followed"] += 1
                    continue
                index = usable[int(shares.argmax())]
            box = found.boxes[index]
            account.others += len(found.scores) - 1
            score = float(found.scores[index])
            yield from _aligned(frame, found.points[index], score, number, source.labels, options, account)
        alive()


def _noting(frames: Iterator[Tensor], account: Account) -> Iterator[Tensor]:
    """``frames`` to where the video ends or breaks off."""
    first = True
    try:
        for frame in frames:
            first = False
            yield frame
    except VideoError as error:
        if first:
            account.reason = str(error)
        else:
            account.remark = str(error)


def _usable(found: Detections, options: Options, account: Account, frame: Tensor) -> list[int]:
    """Indices of the faces that are good, large enough and faces by their points; notes why there are none."""
    if not len(found.scores):
        account.rejected["no face"] += 1
        return []
    good = (found.scores >= (options.score or 0.0)) & found.points.isfinite().all(-1).all(-1)
    large = (found.boxes[:, 2:] - found.boxes[:, :2]).amin(1) >= options.min_size
    if not bool((good & large).any()):
        account.rejected["too small" if bool(good.any()) else "low score"] += 1
        return []
    canvas = (frame.shape[0], frame.shape[1])
    faults = {i: fault_in(found.points[i], canvas) for i in (good & large).nonzero().flatten().tolist()}
    if all(faults.values()):
        account.rejected[next(filter(None, faults.values()))] += 1
    return [i for i, fault in faults.items() if fault is None]


def _aligned(
    frame: Tensor,
    points: Tensor,
    score: float | None,
    number: int,
    labels: Mapping[str, Any],
    options: Options,
    account: Account,
) -> Iterator[Face]:
    """The face, or a note of why not."""
    height, width, _ = frame.shape
    target = view(Framing.of(options.size), options.margin)
    if score is None and (fault := fault_in(points, (height, width))):  # a detector's were looked at before
        account.rejected[fault] += 1
        return
    matrix = similarity(points[None], target)[0]
    if score is None and _BOX * _side(points) < options.min_size:
        account.rejected["too small"] += 1
        return
    left, top, right, bottom = crop_box(matrix, options.size, (height, width))
    part = to_float(frame[top:bottom, left:right])[None].contiguous()  # most of a large picture stays uint8
    local = similarity((points - torch.tensor([left, top]))[None], target)
    image = to_uint8(warp(part + 1.0, local, (options.size, options.size))[0] - 1.0)
    yield Face(image.contiguous(), transform(matrix[None], points[None])[0], score, number, _moved(labels, matrix))


def _side(points: Tensor) -> float:
    """Side in pixels of the picture of the 112 crop around the points."""
    linear = similarity(points[None], template(112))[0, :, :2]
    return 112 / math.sqrt(float(linear.double().det()))


def _moved(labels: Mapping[str, Any], matrix: Tensor) -> dict[str, Any]:
    """The labels, with 68 landmarks where the crop has them."""
    moved = dict(labels)
    if "landmarks68" in moved:
        points = torch.tensor(moved["landmarks68"], dtype=torch.float32)
        moved["landmarks68"] = rounded(transform(matrix[None], points[None])[0])
    return moved


def rounded(points: Tensor) -> list[list[float]]:
    """``(N, 2)`` pixels to a thousandth, for JSON."""
    return [[round(float(x), 3), round(float(y), 3)] for x, y in points]


def chosen(found: Detections, usable: list[int], which: str, frame: Tensor) -> int:
    """The face nearest to the middle of the frame; or the largest whole one, if it is similar in size to the largest,
    else the largest.
    """
    if len(usable) == 1:
        return usable[0]
    boxes = found.boxes[usable]
    if which == "central":
        middle = torch.tensor([frame.shape[1] - 1, frame.shape[0] - 1]) / 2
        return usable[int(((boxes[:, :2] + boxes[:, 2:]) / 2 - middle).square().sum(1).argmin())]
    sizes = areas(boxes)
    whole = _whole(found, usable, frame) & (sizes >= SIMILAR * sizes.max())
    return usable[int(sizes.where(whole | ~whole.any(), sizes.new_tensor(-1.0)).argmax())]


def alike(found: Detections, usable: list[int], best: int, frame: Tensor) -> int:
    """How many faces could be the one as well, the chosen one included: whole ones of similar size, and larger ones
    that the border cuts. 0 where there is no other.
    """
    others = [index for index in usable if index != best]
    if not others:
        return 0
    sizes, own = areas(found.boxes[others]), float(areas(found.boxes[[best]]))
    count = int(((_whole(found, others, frame) & (sizes >= SIMILAR * own)) | (sizes > own)).sum())
    return count + 1 if count else 0


def _whole(found: Detections, indices: list[int], frame: Tensor) -> Tensor:
    canvas = (frame.shape[0], frame.shape[1])
    return torch.tensor([share_inside(found.points[index], canvas) == 1.0 for index in indices])
