"""``suite=video`` of the evaluation: clips through what ``anon anonymize`` would work by, of the same settings.

python evaluate.py suite=video [input=<clip or folder>] [method=<choice>] [judge=<recognizer>] [detector=<choice>] ...
"""

from __future__ import annotations

from pathlib import Path

from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from anon.apps.anonymize import anonymizing
from anon.apps.run_folders.started import called_with, choices, overrides
from anon.errors import UserError
from anon.evaluation.harness.store import Store, cache_of
from anon.video.suite.run import Treated, run
from anon.video.suite.settings import Clips

#: What ``anon anonymize`` reads beside: no store that an evaluation would fill, and no sound that it would copy.
_OF_FILES = {"store": {"file": None, "key_file": None}, "strict": False, "audio": "drop"}
_OF_FILES |= {"key": {"file": None, "salt": None}, "recover": False}
_READ = "seed="  # here whatever the method is: of crowds and of the bootstrap
_RENDERED = ("scale=", "suite.crowds")


def measures_clips(config: DictConfig) -> bool:
    """Whether the suite of a configuration is one of clips."""
    target = OmegaConf.select(config, "suite._target_")
    return target is not None and issubclass(get_class(target), Clips)


def check_words(config: DictConfig) -> None:
    """See that nothing is said of crowds where clips are given, nor of pictures that are never drawn.

    Raises:
        UserError: the first word that nothing would read.
    """
    for word in overrides():
        name = word.lstrip("+")
        if config.suite.input is not None and name.startswith(_RENDERED):
            raise UserError(f"{word} would do nothing here: it is for crowds, which are rendered without input=.")
        if name.startswith("logger.images="):
            raise UserError(f"{word} would do nothing here: no face of a clip is in its report.")


def evaluate_clips(config: DictConfig, folder: Path, commit: str | None) -> Path:
    """Evaluate the clips; returns the path of results.json in ``folder``.

    Raises:
        UserError: a setting that cannot be, or that nothing reads; or no clip.
    """
    suite: Clips = instantiate(config.suite)
    whole = config.copy()
    with open_dict(whole):
        for name, value in _OF_FILES.items():
            whole[name] = value
    with called_with([word for word in overrides() if not word.startswith(_READ)]):
        by = anonymizing(whole)
    method = by.change.method
    title = config.method.title or getattr(method, "name", None) or type(getattr(method, "generator", method)).__name__
    policy = str(choices().get("policy", "none")) if getattr(method, "generator", None) is not None else "none"
    store = Store(cache_of(config.paths.cache))
    return run(suite, Treated(by, str(title), policy), store, folder, seed=int(config.seed), commit=commit)
