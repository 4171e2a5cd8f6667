"""A small tree of LFW's form, whose people are patterns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

PEOPLE = [f"P{n:02d}" for n in range(16)]
HEADER = "file,re_x,re_y,le_x,le_y,n_x,n_y,rm_x,rm_y,lm_x,lm_y"
POINTS = [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]


def make_lfw(root: Path, alike: bool = True) -> Path:
    """16 people, two photographs of 32 x 32 each, whose points give a face of 16 x 16; 2 sets of 8 + 8 pairs.

    Args:
        alike: the two photographs of a person show one pattern; else nobody is like himself.
    """
    rng = np.random.default_rng(0)
    rows = [HEADER]
    at = np.array(POINTS) / 7 + 8
    for name in PEOPLE:
        pattern = rng.integers(30, 225, (16, 16, 3))
        for number in (1, 2):
            shown = pattern if alike else rng.integers(30, 225, (16, 16, 3))
            face = (shown + rng.integers(-12, 12, pattern.shape)).clip(0, 255).astype(np.uint8)
            (root / "lfw" / name).mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(np.pad(face, ((8, 8), (8, 8), (0, 0))))
            picture.save(root / "lfw" / name / f"{name}_{number:04d}.jpg", quality=100, subsampling=0)
            rows.append(f"{name}/{name}_{number:04d}.jpg," + ",".join(f"{v:.3f}" for v in at.flatten()))
    (root / "points.csv").write_text("\n".join(rows) + "\n")
    (root / "pairs.txt").write_text("2\t8\n" + "\n".join(pair_lines(2)) + "\n")
    return root


def pair_lines(other: int) -> list[str]:
    """Two sets: everybody's photographs 1 and 2, then 1 of everybody with ``other`` of the next person."""
    lines = []
    for half in (PEOPLE[:8], PEOPLE[8:]):
        lines += [f"{name}\t1\t2" for name in half]
        lines += [f"{name}\t1\t{half[(n + 1) % 8]}\t{other}" for n, name in enumerate(half)]
    return lines
