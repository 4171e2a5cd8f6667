"""IdentityMask looked at: ``python benchmarks/identity_mask.py <motion> <generator> <picture> [angle [key=value ..]]``.

``<motion>`` and ``<generator>`` are checkpoints or run folders of experiment=identity_mask and experiment=reversible.

Of rendered evaluation people, whom neither training saw, a clip each. Printed, with 95 % intervals over people: by how
many pixels the flow from a clip's first frame to each later one misses five points that the renderer knows, beside no
motion at all, and how near frames come that are moved from the clip's *own* first frame (nobody is anonymized: what the
motion alone costs). Drawn, of three clips beside each other, five frames from left to right, in five rows: original,
anonymized, every frame anonymized by itself, recovered with the right key, recovered with a wrong one.
"""

from __future__ import annotations

import sys
from typing import Any, cast

import torch
from hydra.utils import instantiate
from PIL import Image
from torch import Tensor

from anon.anonymizers.identity_mask import NONE, RELATIVE, IdentityMask
from anon.apps.config import composed
from anon.apps.victims import victim_of
from anon.evaluation.harness.suite import as_plain
from anon.evaluation.intervals.bootstrap import Bootstrap
from anon.evaluation.protocol import clip_frames
from anon.faces.contract import batch_of
from anon.generators.first_order.keypoints import grid_of
from anon.losses.motion import landmark_flow
from anon.metrics.preservation import psnr, ssim
from anon.training.first_order import to_unit
from anon.training.grids import sheet

SHOWN, CLIPS = 5, 3  # frames and clips of the picture


def main() -> None:
    """The figures, then the picture."""
    motion, image, picture = sys.argv[1:4]
    angle = float(sys.argv[4]) if len(sys.argv) > 4 else 60.0
    at = "suite.methods.identity_mask"
    words = [*sys.argv[5:], f"{at}.anonymizer.checkpoint={motion}", f"{at}.methods.image.anonymizer.checkpoint={image}"]
    suite = composed("evaluate", ["suite=identity_mask", *words])
    data = instantiate(suite.data)
    faces = data.faces("evaluation")
    clips = clip_frames(faces, suite.data.clip_frames)
    clips = clips[faces.videos[clips[:, 0]] == 0]  # one of each person
    policy = {**as_plain(suite.suite.policies.rotation_60), "angle": angle}
    method = cast(IdentityMask, victim_of(as_plain(suite.suite.methods.identity_mask), policy, data)).eval()
    measure(method, faces, clips)
    chosen = clips[torch.linspace(0, len(clips) - 1, CLIPS).long()]
    frames = torch.linspace(0, clips.shape[1] - 1, SHOWN).long()
    shown = [states(method, batch_of(faces, clip.tolist())["image"])[:, frames] for clip in chosen]  # (5, n, 3, H, W)
    whole = Image.fromarray(sheet([column for clip in shown for column in clip.unbind(1)]).numpy())
    whole.resize((whole.width * 2, whole.height * 2), Image.Resampling.NEAREST).save(picture)


@torch.no_grad()
def measure(method: IdentityMask, faces: Any, clips: Tensor) -> None:
    """Print what the motion costs by itself."""
    found: dict[str, list[Tensor]] = {}
    network = method.network
    for clip in clips:
        batch = batch_of(faces, clip.tolist())
        images, side = batch["image"], batch["image"].shape[-1]
        points = to_unit(batch["landmarks"], side).clamp(-1, 1)
        first, later = images[:1].expand(len(images) - 1, -1, -1, -1), images[1:]
        own = network.keypoints(images)
        moved = network(first, own.of(torch.zeros(len(later), dtype=torch.long)), own.of(slice(1, None)))
        before = points[:1].expand(len(later), -1, -1)
        still = grid_of(side, side, images).expand(len(later), -1, -1, -1)
        for name, flow in (("flow misses, px", moved.flow), ("no motion misses, px", still)):
            found.setdefault(name, []).append(landmark_flow(flow, before, points[1:]).mean() * (side - 1) / 2)
        for name, shown in (("moved", moved.image.clamp(-1, 1)), ("first frame as it is", first)):
            found.setdefault(f"{name}, PSNR dB", []).append(psnr(shown, later).mean())
            found.setdefault(f"{name}, SSIM", []).append(ssim(shown, later).mean())
    labels = faces.labels[clips[:, 0]]
    boot = Bootstrap(labels, 1000, 0)
    for name, values in found.items():
        shown = boot.mean(torch.stack(values).double(), labels)
        print(f"{name}: {shown.value:.3f} [{shown.low:.3f}, {shown.high:.3f}] ({len(values)} clips)", flush=True)


@torch.no_grad()
def states(method: IdentityMask, frames: Tensor) -> Tensor:
    """Frames (n, 3, H, W) in the five states, (5, n, 3, H, W)."""
    track, (right, wrong) = torch.zeros(len(frames), dtype=torch.long), torch.tensor([[[1, 2]], [[3, 4]]])
    found = [frames]
    for flow in (RELATIVE, NONE):
        method.flow = flow
        method.reset()
        found.append(method(frames, key=right, track=track))
    method.flow = RELATIVE
    for key in (right, wrong):
        method.reset()
        found.append(method.recover(found[1], key, track))
    return torch.stack(found)


if __name__ == "__main__":
    main()
