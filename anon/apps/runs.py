"""Run folders: ``runs/<task>/<experiment>/<date>_<time>_<job id or short random>``, one a run, whatever the ranks.

Rank 0 makes the folder and hands it to the other ranks: by environment to the processes that Lightning starts
afterwards, by a small file to those that torchrun or SLURM started at the same moment.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

import anon
from anon.apps.config import plain_yaml
from anon.errors import UserError

HANDED_DOWN = "ANON_RUN_DIR"
CONFIG = "config.yaml"
LAST = Path("checkpoints") / "last.ckpt"
_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "numpy", "kornia", "torchmetrics", "wandb")


def rank() -> int:
    """Rank of this process, from what torchrun, SLURM or Lightning's launcher put into the environment; 0 leads."""
    for name in ("RANK", "SLURM_PROCID"):
        value = os.environ.get(name, "")
        if value.isdigit():
            return int(value)
    return int(os.environ.get("LOCAL_RANK", "0")) + int(os.environ.get("NODE_RANK", "0"))


def new_name() -> str:
    """``<date>_<time>_<job id or short random>``; sorts by time."""
    array = [os.environ[name] for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID") if name in os.environ]
    job = "-".join(array) or os.environ.get("SLURM_JOB_ID") or secrets.token_hex(3)
    return f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{job}"


@contextmanager
def run_folder(config: DictConfig, at: Path | None = None) -> Iterator[Path]:
    """The folder of this run, with its records written by rank 0; ``config.run.dir`` is set to it.

    Args:
        config: needs ``task``, ``experiment`` and ``paths.runs``.
        at: this folder: that of the run that is continued, or one that the user chose; None: a new one.

    A ``UserError`` inside the block removes a new folder again, unless it holds a checkpoint: nothing half-written.

    Raises:
        UserError: when the folder cannot be made or written.
    """
    root = Path(config.paths.runs).expanduser().absolute()
    shelf = root / str(config.task) / str(config.experiment)
    if rank() != 0:
        handed = os.environ.get(HANDED_DOWN)
        config.run.dir = str(Path(handed) if handed else _wait_for_rank_zero(shelf))
        yield Path(config.run.dir)
        return
    folder = at or shelf / new_name()
    config.run.dir = str(folder)
    text = plain_yaml(config)
    made = _make(folder)
    pointer = _meeting_point(shelf)
    try:
        _write_records(folder, text)
        if pointer is not None:
            _replace_text(pointer, str(folder))
        os.environ[HANDED_DOWN] = str(folder)
        yield folder
    except UserError:
        if made and not (folder / LAST).exists():
            _remove(made)
        raise
    finally:
        os.environ.pop(HANDED_DOWN, None)
        if pointer is not None:
            pointer.unlink(missing_ok=True)


def past_runs(root: Path, task: str, experiment: str) -> list[tuple[Path, DictConfig]]:
    """Run folders with a readable configuration, newest first."""
    found = []
    for path in sorted((root / task / experiment).glob(f"*/{CONFIG}"), reverse=True):
        config = OmegaConf.load(path)
        if isinstance(config, DictConfig):
            found.append((path.parent, config))
    return found


def matching_runs(config: DictConfig, task: str = "train") -> Iterator[Path]:
    """Run folders, finished or broken, of the same task, experiment, scale and data, newest first."""
    wanted = (str(config.scale), data_key(config))
    for folder, past in past_runs(Path(config.paths.runs).expanduser().absolute(), task, str(config.experiment)):
        if (str(OmegaConf.select(past, "scale")), data_key(past)) == wanted:
            yield folder


def last_run(config: DictConfig, task: str = "train") -> Path:
    """Newest of :func:`matching_runs`.

    Raises:
        UserError: when there is none, or when it holds no checkpoint yet.
    """
    folder = next(matching_runs(config, task), None)
    if folder is None:
        raise UserError(
            f"there is no run of experiment={config.experiment} with scale={config.scale} and data="
            f"{data_key(config)[0]} in {Path(config.paths.runs).expanduser().absolute() / task}; train one first: "
            f"python train.py experiment={config.experiment}."
        )
    if not (folder / LAST).is_file():
        raise UserError(f"the newest matching run, {folder}, holds no checkpoint; name an older one by path.")
    return folder


def data_key(config: DictConfig) -> tuple[str, str]:
    """What makes two runs' data the same: the data module's name and, for data on disk, its root."""
    root = OmegaConf.select(config, "data.root")
    return str(OmegaConf.select(config, "data.name")), str(Path(str(root)).expanduser().resolve()) if root else ""


def commit() -> str | None:
    """Commit of the checkout that this code runs from, with ``+`` when it has changes; None outside a checkout."""
    top = Path(anon.__file__).resolve().parent.parent
    if not (top / ".git").exists():
        return None
    revision = _git(top, "rev-parse", "HEAD")
    return f"{revision}+" if revision and _git(top, "status", "--porcelain", "--untracked-files=no") else revision


def versions() -> dict[str, str]:
    """Versions of the interpreter and of the packages that decide the numbers."""
    found = {"python": platform.python_version(), "platform": platform.platform(), "anon": anon.__version__}
    for name in _PACKAGES:
        found[name] = importlib.metadata.version(name)
    return found


def _git(top: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(top), *words], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _write_records(folder: Path, config_text: str) -> None:
    _replace_text(folder / CONFIG, config_text)
    _replace_text(folder / "versions.json", json.dumps({"commit": commit(), **versions()}, indent=2) + "\n")
    with (folder / "command.txt").open("a") as lines:
        lines.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {shlex.join([Path(sys.executable).name, *sys.argv])}\n")


def _make(folder: Path) -> list[Path]:
    """Make the folder; returns it and the parents that had to be made, innermost first.

    Raises:
        UserError: when it cannot be made, or nothing can be written into it.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe_{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        for path in made:
            if path.is_dir():
                path.rmdir()
        raise UserError(f"the run folder {folder} cannot be written ({error.strerror}); set paths.runs.") from error
    return made


def _remove(made: list[Path]) -> None:
    shutil.rmtree(made[0], ignore_errors=True)
    for path in made[1:]:
        if any(path.iterdir()):
            return
        path.rmdir()


def _replace_text(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text)
    beside.replace(path)


def _meeting_point(shelf: Path) -> Path | None:
    """The file where ranks started side by side (torchrun, srun) find their folder; None where there is one rank.

    Its name holds everything that tells this launch from any other, so a file left by a killed one is never read.
    """
    env = os.environ
    parts: list[str]
    if int(env.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in env:
        parts = [env.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")]
    elif "TORCHELASTIC_RUN_ID" in env and int(env.get("WORLD_SIZE", "1")) > 1:
        names = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT")
        one_machine = env.get("LOCAL_WORLD_SIZE") == env.get("WORLD_SIZE")
        parts = [env.get(name, "") for name in names] + ([str(os.getppid())] if one_machine else [])
    else:
        return None
    key = "|".join(parts).encode()
    return shelf / f".launch_{hashlib.sha256(key).hexdigest()[:16]}"


def _wait_for_rank_zero(shelf: Path, seconds: float = 300.0) -> Path:
    pointer = _meeting_point(shelf)
    if pointer is None:
        raise UserError(f"this process has rank {rank()} but finds no rank 0; start all with torchrun or srun.")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if pointer.is_file():
            return Path(pointer.read_text())
        time.sleep(0.2)
    raise UserError(f"rank {rank()} waited {seconds:.0f} s for rank 0 to make a run folder in {shelf}.")
