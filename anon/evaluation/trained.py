"""Which attack a training multirun has left for a name: ``<folder>/<name>/train/reconstruction/<run>/checkpoints``.

python train.py -m experiment=reconstruction attack=ladder paths.runs=<folder>/...
"""

from __future__ import annotations

from pathlib import Path

SHELF = Path("train") / "reconstruction"
LAST = Path("checkpoints") / "last.ckpt"


def newest(folder: str | Path | None, name: str) -> Path | None:
    """The newest ``last.ckpt`` of the reconstruction attacks in ``<folder>/<name>``; None where there is none.

    Run folders are named by date and time, so the last name is the newest run. A run without a checkpoint (broken, or
    still in its first steps) is passed over; one that is still training gives the attack so far.
    """
    if folder is None:
        return None
    found = sorted((Path(folder).expanduser() / name / SHELF).glob(f"*/{LAST}"))
    return found[-1] if found else None
