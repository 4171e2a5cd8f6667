"""The entry point that the scripts share: from the words of a command line to an exit code."""

from __future__ import annotations

import functools
import logging
import os
import sys
import warnings
from collections.abc import Callable
from functools import partial

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig

from anon.apps.config import config_dir
from anon.apps.door.words import of_clips, of_files, readable, spelled_out, with_panel
from anon.apps.launch.composing import composed_once, read_by_libyaml
from anon.apps.launch.failures import guarded
from anon.apps.launch.memory import keep_freed_memory
from anon.apps.launch.multirun import attempt, failures, in_multirun
from anon.apps.launch.ranks import end_with_rank_zero
from anon.apps.offered import offer
from anon.commands import usage
from anon.errors import UserError

_OURS = "ANON_FULL_ERROR"  # in the environment where HYDRA_FULL_ERROR is this project's and not the user's

#: Beginnings of warnings, Lightning's most of them, about what is so on purpose.
_NOT_THE_USERS = (
    "Experiment logs directory",
    "The '.*_dataloader' does not have many workers",  # data.workers says how many
    r"The number of training batches \(\d+\) is smaller than the logging interval",  # steps are counted over epochs
    r"Found \d+ module\(s\) in eval mode at the start of training",  # frozen: encoders, judges
    "The `srun` command is available",  # told on every machine with SLURM
    ".*LeafSpec.*",
)


def run_app(task: Callable[[DictConfig], object], config_name: str) -> None:
    """Compose ``config_name`` with the command line's overrides, run ``task`` on it, exit with the right code.

    ``--help`` prints the usage in the docstring of the task's module. Hydra prints its own errors and exits with 1; its
    variable ``HYDRA_FULL_ERROR`` makes it raise them instead.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(usage(sys.modules[task.__module__].__doc__))
        return
    end_with_rank_zero()
    keep_freed_memory()
    show_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1" and _OURS not in os.environ
    if not show_traceback:
        os.environ[_OURS] = os.environ["HYDRA_FULL_ERROR"] = "1"  # other ranks inherit both

    begun: list[bool] = []

    @functools.wraps(task)
    def job(config: DictConfig) -> object:
        for name in ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.distributed"):
            logging.getLogger(name).setLevel(logging.WARNING)  # what repeats the configuration
        for message in _NOT_THE_USERS:
            warnings.filterwarnings("ignore", message=message)
        begun.append(True)
        answers: list[object] = []  # what a sweeper is told

        def answer() -> None:
            answers.append(task(config))

        code = guarded(partial(attempt, answer, show_traceback) if in_multirun() else answer, show_traceback)
        if code:  # past Hydra, which would print the overrides before the sentence
            sys.exit(code)
        return answers[0] if answers else None

    def entry() -> None:
        if config_name == "anonymize":
            sys.argv[1:] = of_files(sys.argv[1:])
        if config_name == "evaluate":
            sys.argv[1:] = of_clips(sys.argv[1:])
        sys.argv[1:] = readable(spelled_out(sys.argv[1:]), lambda name: bool(name) and (config_dir() / name).is_dir())
        if config_name != "train":
            sys.argv[1:] = with_panel(sys.argv[1:])
        try:
            with read_by_libyaml():
                offer(sys.argv[1:], config_dir(), config_name)
            with composed_once():
                hydra.main(config_path=str(config_dir()), config_name=config_name, version_base="1.3")(job)()
        except RecursionError as error:
            if begun:
                raise
            raise UserError(
                "a configuration's defaults list leads back to itself, or a value is nested too deeply; "
                "look at what was chosen."
            ) from error
        except UnicodeDecodeError as error:
            if begun:
                raise
            raise UserError(f"a configuration is no YAML: {error}; its files are UTF-8 text.") from error
        except OSError as error:
            if begun or isinstance(error, HydraException):
                raise
            what = f"{error.filename or 'a file'}: {error.strerror}"
            raise UserError(f"Hydra cannot begin ({what}); see hydra.run.dir and hydra.sweep.dir.") from error

    try:
        code = guarded(entry, show_traceback)
    except Exception as error:  # Optuna ends a search without a single answer in an error of its own
        failed = failures()
        if not failed:
            raise
        print(f"error: nothing came of this multirun ({type(error).__name__}: {error})", file=sys.stderr)
        sys.exit(failed)
    finally:
        os.environ.pop(_OURS, None)
    failed = failures()
    sys.exit(code or failed)
