"""Runs that lie in the folder of runs: which of them is the ``last``, and which one a requeued job began.

A run is as old as its first start, which is on record in its folder, however that is called. What else lies among the
runs, or cannot be read, is passed over with a line.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from anon.apps.config import CONFIG, plain_yaml
from anon.apps.launch.multirun import in_multirun
from anon.apps.launch.ranks import requeued, slurm_job
from anon.apps.run_folders.folder import JOBS, LAST, whole_path
from anon.apps.run_folders.resume import differences
from anon.apps.run_folders.started import overrides, run_config, start_record, started_at
from anon.commands import shortened
from anon.errors import UserError
from anon.plain import MAX_YAML, read_text
from anon.printable import flat

_MOST = 3  # runs in a sentence


def past_runs(root: Path, experiment: str) -> tuple[list[tuple[Path, DictConfig]], list[str]]:
    """Trainings with their configurations, newest first, and a sentence for each folder that cannot be read."""
    runs, odd = [], []
    for path in (root / "train" / experiment).glob(f"*/{CONFIG}"):
        try:
            runs.append((path.parent, run_config(path.parent)))
        except UserError as error:
            odd.append(f"passed over {path.parent}: {error}")
    for sentence in sorted(odd):
        _tell(sentence)
    return sorted(runs, key=lambda run: (started_at(run[0]), run[0].name), reverse=True), odd


def matching_runs(config: DictConfig, moved: bool = False) -> Iterator[Path]:
    """Trainings, finished or broken, of the same experiment, scale and data, newest first.

    Where the command line gives ``data.root``, runs of the same name of data come after those, if that root is gone.

    Args:
        config: needs ``experiment``, ``scale``, ``data`` and ``paths.runs``.
        moved: these runs too if their root is still there.
    """
    scale, (name, place) = str(config.scale), data_key(config)
    elsewhere = []
    for folder, past in past_runs(_root(config), str(config.experiment))[0]:
        past_scale, past_name, past_place = _key(past)
        if (past_scale, past_name) != (scale, name):
            continue
        if past_place == place:
            yield folder
        elif past_place and (moved or not os.path.exists(past_place)):
            elsewhere.append(folder)
    if _given("data.root"):
        yield from elsewhere


def last_run(config: DictConfig, own_data: bool = False) -> Path:
    """Newest of :func:`matching_runs` that holds a checkpoint; newer ones without are passed over with a line.

    Args:
        own_data: of the data only what the command line gives counts, for the run goes on with its own.

    Raises:
        UserError: when there is none.
    """
    if own_data and not _given("data.root"):
        asked = data_key(config)[0] if _given("data") or _given("data.name") else None
        known = [(folder, _key(past)) for folder, past in past_runs(_root(config), str(config.experiment))[0]]
        runs = [folder for folder, (scale, name, _) in known if scale == str(config.scale) and asked in (None, name)]
    else:
        asked, runs = data_key(config)[0], list(matching_runs(config, moved=True))
    empty: list[Path] = []
    for folder in runs:
        if (folder / LAST).is_file():
            for other in empty:
                _tell(f"passed over {other}: it holds no checkpoint")
            return folder
        empty.append(folder)
    if empty:
        raise UserError(f"the newest matching run, {empty[0]}, holds no checkpoint, and no older one does.")
    odd = past_runs(_root(config), str(config.experiment))[1]
    data = "" if asked is None else f" and data={asked}"
    raise UserError(
        f"there is no run of experiment={config.experiment} with scale={config.scale}{data} in "
        f"{_root(config) / 'train'}; {_others(config, own_data)}train one first: "
        f"python train.py experiment={config.experiment}.{f' ({odd[0]})' if odd else ''}"
    )


def _given(key: str) -> bool:
    """Whether the command line has a word for a setting or a group."""
    return any(word.lstrip("+").partition("=")[0] == key for word in overrides())


def _others(config: DictConfig, continues: bool) -> str:
    """At most three of the runs that there are, those of the experiment first, with the words that mean them."""
    root = _root(config)
    told: list[str] = []
    names = sorted(path.name for path in (root / "train").glob("*") if path.is_dir())
    for name in sorted(names, key=lambda name: name != str(config.experiment)):
        for folder, past in past_runs(root, name)[0] if len(told) < _MOST else ():
            if not (folder / LAST).is_file() or "" in (key := _key(past))[:2]:
                continue
            place = f" data.root={key[2]}" if key[2] else ""
            words = f"experiment={name} scale={key[0]} data={key[1]}{place} ckpt_path=last"
            told.append(words if continues else f"checkpoint={folder}")
    listed = dict.fromkeys(told)  # several runs may have the same words
    return f"there is: {'; or '.join([*listed][:_MOST])}; or " if listed else ""


def same_run(config: DictConfig) -> Path | None:
    """The run that ``ckpt_path=auto`` continues: the newest of :func:`matching_runs` that has what is given, saved.

    One with the same steps comes before one with fewer, which a multirun leaves alone, for it is another job's.
    None where a new run is begun; what the newest has otherwise is then told.
    """
    runs = [folder for folder in matching_runs(config) if (folder / LAST).is_file()]
    for longer in (False,) if in_multirun() else (False, True):
        for folder in runs:
            if not differences(config, folder, longer):
                return folder
    if runs:
        other = shortened("; ".join(differences(config, runs[0], longer=False)))
        _tell(f"ckpt_path=auto begins a new run: {runs[0]} has {other}")
    return None


def begun_by_this_job(config: DictConfig) -> Path | None:
    """The run folder that this SLURM job trained in before it was requeued, None where it did not get that far.

    Tasks of an array may have equal configurations, and a job may train several: the folder has the job's number and
    was started by the same overrides (an older one, which does not record them: with this configuration).
    """
    job = slurm_job()
    if job is None or not requeued():
        return None
    for folder, past in past_runs(_root(config), str(config.experiment))[0]:
        with suppress(UserError):  # no record of jobs
            if job in read_text(folder / JOBS, MAX_YAML).split() and _started_like_this(config, folder, past):
                return folder
    return None


def data_key(config: DictConfig) -> tuple[str, str]:
    """What makes two runs' data the same: their name, else that of their kind, and, for data on disk, its root."""
    root, kind = OmegaConf.select(config, "data.root"), str(OmegaConf.select(config, "data._target_"))
    name = OmegaConf.select(config, "data.name") or kind.rpartition(".")[2].removesuffix("_data")
    return str(name), str(Path(str(root)).expanduser().resolve()) if root else ""


def _key(past: DictConfig) -> tuple[str, str, str]:
    """Scale, name and root of the data; what a run does not write is like no run's."""
    try:
        return str(OmegaConf.select(past, "scale")), *data_key(past)
    except (OmegaConfBaseException, OSError, RuntimeError, ValueError):
        return "", "", ""


def _started_like_this(config: DictConfig, folder: Path, past: DictConfig) -> bool:
    record = start_record(folder)
    if "overrides" in record:
        return record["overrides"] == overrides()
    here = config.copy()
    here.run = past.get("run")  # the paths of the records are below it
    return plain_yaml(here) == OmegaConf.to_yaml(past)


def _root(config: DictConfig) -> Path:
    return whole_path(config.paths.runs)


@functools.cache
def _tell(sentence: str) -> None:
    """Once a process."""
    print(flat(sentence), flush=True)
