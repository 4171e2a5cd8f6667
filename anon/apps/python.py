"""The functions of the package, :mod:`anon`: the commands as Python has them."""

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
from torch import nn

from anon.apps.anonymize import anonymizing, built_method, method_of
from anon.apps.config import composed, judges_of
from anon.apps.door.config import check_config, check_places
from anon.apps.door.words import of_files, readable
from anon.apps.evaluate import evaluate as table
from anon.apps.idle import check_live, check_photograph
from anon.apps.keys import KEY, password
from anon.apps.launch.failures import explain, unwrapped
from anon.apps.run_folders.started import called_with
from anon.apps.stores import KEY as STORE_KEY
from anon.apps.untrusted import trusting
from anon.apps.victims import trained_attack
from anon.attacks.reconstruction import Reconstruction
from anon.errors import UserError
from anon.evaluation.document import Document, read
from anon.evaluation.embeddings import embedded
from anon.faces.contract import check_images
from anon.identity.contract import JudgeLike
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


def load(method: str, settings: Mapping[str, object]) -> nn.Module:
    """See :func:`anon.load`."""
    words = (f"method={method}", *_words(settings))
    config = _config("anonymize", words)
    with called_with(words):
        check_config(config)
        check_places(config)
    if config.key.file is not None or config.key.salt is not None:
        raise UserError("anon.load takes no key; its module does: key=anon.identity.keys.key_of(<password>).")
    with trusting(config.trust), unwrapped():
        return method_of(config, built_method(config))


@torch.no_grad()
def attack(changed: torch.Tensor, checkpoint: str) -> torch.Tensor:
    """See :func:`anon.attack`."""
    return _attack(str(checkpoint)).images(check_images(changed, "faces"))


@functools.lru_cache(maxsize=2)
def _attack(checkpoint: str) -> Reconstruction:
    return trained_attack(checkpoint)


def embed(faces: torch.Tensor, judge: str, settings: Mapping[str, object]) -> torch.Tensor:
    """See :func:`anon.embed`."""
    return embedded(_judge(f"judge={judge}", *_words(settings)), check_images(faces, "faces"))


@functools.lru_cache(maxsize=2)
def _judge(*words: str) -> JudgeLike:
    with unwrapped():
        judges = judges_of(_config("evaluate", ("method=blur", *words)))
    if len(judges) != 1:
        raise UserError(f"{words[0]} names {len(judges)} judges; anon.embed takes one, such as synthetic_d.")
    return judges[0]


def evaluate(
    originals: str | os.PathLike[str],
    changed: str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: Mapping[str, object],
) -> Document:
    """See :func:`anon.evaluate`."""
    places = {"originals": originals, "method.root": changed, "output": out}
    words = ("suite=table1", "method=folder", *(f"{name}={_quoted(place)}" for name, place in places.items()))
    words = (*words, *_words(settings))
    config = _config("evaluate", words)
    with called_with(words):
        table(config)
    return read(os.path.join(os.fspath(out), "results.json"))


def _quoted(place: str | os.PathLike[str]) -> str:
    """As Hydra reads any name."""
    escaped = os.fspath(place).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


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


def built(*words: str) -> Anonymizing:
    """What ``anon anonymize <words>`` works by.

    Raises:
        UserError: a setting that cannot be, or that nothing reads.
    """
    return _built(words, _secrets(words))


def _secrets(words: tuple[str, ...]) -> tuple[str | bytes | None, ...]:
    """The keys that words mean now: the same words may mean others next time."""
    files = [word.partition("=")[2] for word in words if word.startswith(("key.file=", "store.key_file="))]
    kept = [password(file, "", "")[0] for file in files if file not in ("", "null")]
    return os.environ.get(KEY), os.environ.get(STORE_KEY), *kept


@functools.lru_cache(maxsize=2)  # networks stay for the next picture
def _built(words: tuple[str, ...], secrets: tuple[str | bytes | None, ...]) -> Anonymizing:
    config = _config("anonymize", words)
    with called_with(of_files(words)):
        check_config(config)
        check_places(config)
        with trusting(config.trust), unwrapped():
            return anonymizing(config)


def _config(name: str, words: tuple[str, ...]) -> DictConfig:
    try:
        return composed(name, readable(words))
    except (HydraException, OmegaConfBaseException) as error:
        sentence = explain(error)
        if sentence is None:
            raise
        raise UserError(sentence) from error
