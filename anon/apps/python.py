"""``anon.anonymize`` and ``anon.anonymize_video``: the command ``anon anonymize`` as two functions."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from anon.apps.anonymize import anonymizing
from anon.apps.config import composed
from anon.apps.door.config import check_config, check_places
from anon.apps.door.words import of_files, readable
from anon.apps.idle import check_live, check_photograph
from anon.apps.launch.failures import explain, unwrapped
from anon.apps.run_folders.started import called_with
from anon.apps.untrusted import trusting
from anon.errors import UserError
from anon.video import jobs
from anon.video.pipeline import Anonymizing


def anonymize(frame: Any, settings: Mapping[str, object]) -> Any:
    """See :func:`anon.anonymize`."""
    try:
        picture = torch.from_numpy(np.array(frame)) if isinstance(frame, np.ndarray) else frame
    except TypeError:  # objects, text
        picture = None
    if not isinstance(picture, torch.Tensor) or (picture.dtype, *picture.shape[2:]) != (torch.uint8, 3):
        raise UserError("anon.anonymize takes a picture as uint8 (H, W, 3) RGB, a numpy array or a torch tensor.")
    if not picture.numel():
        raise UserError("anon.anonymize got a picture without pixels.")
    words = _words(settings)
    check_photograph(words)
    result, _ = built(*words).changed(picture.cpu())
    return result.numpy() if isinstance(frame, np.ndarray) else result.to(picture.device)


def anonymize_video(
    path: str | os.PathLike[str], out: str | os.PathLike[str], settings: Mapping[str, object]
) -> dict[str, Any]:
    """See :func:`anon.anonymize_video`."""
    todo = jobs.jobs_of(os.fspath(path), os.fspath(out))
    if todo.folder is not None:
        raise UserError("anon.anonymize_video takes one file; anon anonymize input=<folder> does a folder.")
    words = _words(settings)
    if not todo.jobs[0].video:
        check_photograph(words)
    check_live(words, todo.jobs[0].live is not None)
    by = built(*words)
    with by.change.remembering():
        ((_, report),) = jobs.run(todo, by)
    return report


def _words(settings: Mapping[str, object]) -> tuple[str, ...]:
    """Keyword arguments as words of the command line."""
    taken = {"input", "output", "files", "dry_run"} & settings.keys()
    if taken:
        raise UserError(f"{min(taken)} is a word of the command line only.")
    plain = {True: "true", False: "false", None: "null"}
    return tuple(
        f"{name.replace('__', '.')}={plain[value] if value is None or isinstance(value, bool) else value}"
        for name, value in settings.items()
    )


@functools.lru_cache(maxsize=2)  # networks stay for the next picture
def built(*words: str) -> Anonymizing:
    """What ``anon anonymize <words>`` works by.

    Raises:
        UserError: a setting that cannot be, or that nothing reads.
    """
    config = _config(words)
    with called_with(of_files(words)):
        check_config(config)
        check_places(config)
        with trusting(config.trust), unwrapped():
            return anonymizing(config)


def _config(words: tuple[str, ...]) -> DictConfig:
    try:
        return composed("anonymize", readable(words))
    except (HydraException, OmegaConfBaseException) as error:
        sentence = explain(error)
        if sentence is None:
            raise
        raise UserError(sentence) from error
