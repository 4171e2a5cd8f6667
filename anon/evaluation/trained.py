"""Which attack a training multirun has left for a name: ``<folder>/<name>/train/reconstruction/<run>/checkpoints``.

python train.py experiment=reconstruction attack=ladder paths.ladder=<folder>
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


def attack_config(checkpoint: str) -> dict[str, str]:
    """The configuration of a trained attack: it is built, as names in YAML are, by the room above this one."""
    return {"_target_": "anon.apps.victims.trained_attack", "checkpoint": checkpoint}
