"""Run folders: ``runs/<task>/<experiment>/<date>_<time>_<job id or short random>``, one a run, whatever the ranks.

Rank 0 makes the folder and hands it to the other ranks: by environment to the processes that Lightning starts
afterwards, by a small file to those that torchrun or SLURM started at the same moment. A SLURM job that was requeued
goes on in the folder that it began, which it knows by its number in ``slurm_jobs.txt``
(:mod:`anon.apps.run_folders.past`). Two processes never train in one folder: the first holds a lock on it.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import anon
from anon.apps.config import CONFIG, plain_yaml
from anon.apps.launch.failures import is_mistake
from anon.apps.launch.multirun import in_multirun
from anon.apps.launch.ranks import HANDED_DOWN, rank, slurm_job, started_by_srun
from anon.apps.run_folders.started import STARTED, start_text
from anon.checksums import written_whole
from anon.errors import UserError
from anon.training.callbacks.guards import DIVERGED

JOBS = "slurm_jobs.txt"  # the SLURM jobs that trained in the folder, a line each
LAST = Path("checkpoints") / "last.ckpt"
MULTIRUN = "runs.txt"  # in the folder of a multirun: its jobs' run folders, a line each
_RECORDS = {JOBS, CONFIG, STARTED, "versions.json", "command.txt"}
_LEFT = re.compile(r"\..+\.\d+(\.part)?|\.probe_\d+")  # written beside a file, by a process of that number
_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "numpy", "kornia", "torchmetrics", "wandb")


def whole_path(text: str) -> Path:
    """A place from the root on, with no ``~`` and no ``..``; a link is followed only where ``..`` depends on it."""
    path = Path(text).expanduser().absolute()
    return path.resolve() if ".." in path.parts else path


def new_name() -> str:
    """``<date>_<time>_<job id or short random>``; sorts by time."""
    job = (slurm_job() or secrets.token_hex(3)).replace("_", "-")
    return f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{job}"


@contextmanager
def run_folder(config: DictConfig, at: Path | None = None) -> Iterator[Path]:
    """The folder of this run, with its records written by rank 0; ``config.run.dir`` is set to it.

    Args:
        config: needs ``task``, ``experiment`` and ``paths.runs``.
        at: this folder: that of the run that is continued, or one that the user chose; None: a new one.

    A mistake of the user's inside the block removes a new folder again, unless it holds a checkpoint: nothing
    half-written. Any other error does where it holds nothing but the records. A job that is told to stop keeps its own.

    Raises:
        UserError: when the folder cannot be made or written, or another process works in it.
    """
    root = whole_path(config.paths.runs)
    shelf = root / str(config.task) / str(config.experiment)
    if rank() != 0:
        handed = os.environ.get(HANDED_DOWN)
        config.run.dir = str(Path(handed) if handed else _wait_for_rank_zero(shelf))
        yield Path(config.run.dir)
        return
    config.run.dir = str(at or shelf / new_name())
    plain_yaml(config)  # a wrong configuration makes no folder
    folder, made = _make(at, shelf)
    config.run.dir = str(folder)
    pointer, held, before = _meeting_point(shelf), None, None
    try:
        held = _hold(folder)
        for left in folder.rglob(".*"):  # by a process that was killed
            if _LEFT.fullmatch(left.name) and left.is_file():
                left.unlink(missing_ok=True)
        before = _trained(folder)
        _write_records(folder, plain_yaml(config), continued=at is not None and (folder / CONFIG).is_file())
        if pointer is not None:
            _replace(pointer, str(folder).encode())
        os.environ[HANDED_DOWN] = str(folder)
        yield folder
    except (Exception, KeyboardInterrupt) as error:
        if made and _nothing_came_of(folder, is_mistake(error)):
            shutil.rmtree(made[0], ignore_errors=True)
            with suppress(OSError):  # something else is in one of them
                for parent in made[1:]:
                    parent.rmdir()
        raise
    finally:
        os.environ.pop(HANDED_DOWN, None)
        if before is not None:
            _take_back(folder, *before)
        if pointer is not None:
            pointer.unlink(missing_ok=True)
        if held is not None:
            os.close(held)


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
    return found | {name: importlib.metadata.version(name) for name in _PACKAGES}


def _git(top: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(top), *words], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _write_records(folder: Path, config_text: str, continued: bool) -> None:
    job = slurm_job()
    try:
        if job is not None:  # first, so that a requeued job finds whatever it began
            with (folder / JOBS).open("a") as lines:
                lines.write(f"{job}\n")
        _replace(folder / STARTED, start_text(folder, continued).encode())
        _replace(folder / CONFIG, config_text.encode())
        _replace(folder / "versions.json", json.dumps({"commit": commit(), **versions()}, indent=2).encode() + b"\n")
        with (folder / "command.txt").open("a") as lines:
            lines.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {shlex.join([Path(sys.executable).name, *sys.argv])}\n")
        if in_multirun():  # for anon.evaluation.compare
            sweep = Path(HydraConfig.get().sweep.dir)
            sweep.mkdir(parents=True, exist_ok=True)
            with (sweep / MULTIRUN).open("a") as lines:
                lines.write(f"{folder}\n")
    except OSError as error:
        raise _unwritable(folder, error.strerror) from error


def _make(at: Path | None, shelf: Path) -> tuple[Path, list[Path]]:
    """Make the folder ``at``, or a new one; returns it, and it and its parents as far as they had to be made.

    Raises:
        UserError: when it cannot be made, or nothing can be written into it.
    """
    while True:
        folder = at or shelf / new_name()
        made: list[Path] = []
        try:
            made = [path for path in (folder, *folder.parents) if not path.exists()]
            folder.mkdir(parents=True, exist_ok=at is not None)
            probe = folder / f".probe_{os.getpid()}"
            probe.touch()
            probe.unlink()
            return folder, made
        except FileExistsError:
            if not folder.is_dir():  # a file is in its place
                raise _unwritable(folder, "there is a file of that name", at) from None
            time.sleep(0.3)  # another run of the same job has begun in this second
        except OSError as error:
            for path in made:
                if path.is_dir():
                    path.rmdir()
            raise _unwritable(folder, error.strerror, at) from error


def _unwritable(folder: Path, reason: str | None, chosen: Path | None = None) -> UserError:
    way = "set paths.runs" if chosen is None else "choose another"
    return UserError(f"the run folder {folder} cannot be written ({reason}); {way}.")


def _trained(folder: Path) -> tuple[int, dict[str, bytes]] | None:
    """When a run was last saved, and the settings that it was trained with until then; None: never saved."""
    if not (folder / LAST).is_file():
        return None
    kept = {name: (folder / name).read_bytes() for name in (CONFIG, STARTED) if (folder / name).is_file()}
    return (folder / LAST).stat().st_mtime_ns, kept


def _take_back(folder: Path, saved: int, kept: dict[str, bytes]) -> None:
    """A run of which nothing new was saved keeps the settings that it was trained with."""
    with suppress(OSError):  # the disk is full, or the folder is gone
        if (folder / LAST).stat().st_mtime_ns == saved:
            for name, content in kept.items():
                _replace(folder / name, content)


def _nothing_came_of(folder: Path, mistake: bool) -> bool:
    """No checkpoint and no batch at which it diverged; of what is a bug, also no figures and no other file."""
    kept = any(next(folder.glob(pattern), None) for pattern in (str(LAST), DIVERGED))
    others = any(path.is_file() and path.name not in _RECORDS for path in folder.rglob("*"))
    return not kept and (mistake or not others)


def _hold(folder: Path, seconds: float = 20.0) -> int:
    """Lock the folder and return the lock's file descriptor; it falls with the process, however that ends.

    Waits a little, for the loader's workers of a killed run keep the lock until they notice, in five seconds.

    Raises:
        UserError: another process works in the folder.
    """
    handle, deadline = os.open(folder, os.O_RDONLY), time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(0.3)
                continue
            os.close(handle)
            raise UserError(f"another process works in {folder}; wait until it ends, or begin a new run.") from None
        except OSError:
            pass  # a file system without such locks
        return handle


def _replace(path: Path, content: bytes) -> None:
    with written_whole(path) as file:
        file.write(content)


def _meeting_point(shelf: Path) -> Path | None:
    """The file where ranks started side by side (torchrun, srun) find their folder; None where there is one rank.

    Its name holds everything that tells this launch from any other, so a file left by a killed one is never read.
    """
    env = os.environ
    if int(env.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in env and started_by_srun():
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
