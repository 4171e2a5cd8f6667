"""Subject-specific swap tools from their checkpoints: of a pair that an evaluation names, the newest run of it.

python train.py experiment=dfaker subjects.donor=<name> subjects.original=<name>
python evaluate.py suite=subject_swap
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from anon.anonymizers.converted import Converted
from anon.apps.checkpoints import restore_module
from anon.apps.run_folders.folder import LAST, whole_path
from anon.apps.run_folders.past import past_runs
from anon.errors import UserError
from anon.evaluation.harness.attackers import Unavailable
from anon.faces.couple import TwoPeople
from anon.faces.splits import person
from anon.generators.subjects.contract import DONOR
from anon.identity.encoder import Encoder
from anon.training.subject_swap import SubjectTraining


class SubjectSwap(Converted):
    """A tool that was trained, as an anonymizer of the original's faces; it says itself who is swapped in.

    Args:
        training: what was trained; a recognizer of its losses judges it no more.
        data: the pair.
        conversion: arguments of :class:`Converted` by name.
    """

    swaps = True

    def __init__(self, training: SubjectTraining, data: TwoPeople, **conversion: Any) -> None:
        tool = training.generator
        super().__init__(tool.swap, tool.size, **conversion)
        self.generator = tool
        self.encoder = next((part for part in training.children() if isinstance(part, Encoder)), None)
        self.donors = len(data.people[DONOR].part("validate"))  # pictures, the first of those that are evaluated

    def sources(self, indices: Tensor) -> Tensor:
        """A picture of the donor (N,) for each of the original's (N,), among the evaluated ones, in turn."""
        return torch.arange(len(indices)) % self.donors


def swap_of(
    data: object, experiment: str, runs: str, transfer: str = "lab", erode: int = 1, feather: float = 1.5
) -> SubjectSwap:
    """The tool of the newest run of an experiment that learned the pair ``data``.

    Args:
        experiment: such as ``dfaker``.
        runs: folder of runs.
        transfer, erode, feather: see :class:`anon.anonymizers.converted.Converted`.

    Raises:
        UserError: the data are no pair, or the experiment trains no such tool.
        Unavailable: no run has learned them.
    """
    if not isinstance(data, TwoPeople):
        raise UserError("a swap tool of two people needs data of two people, as suite=subject_swap has.")
    file = _newest(data, experiment, whole_path(runs))
    if file is None:
        raise Unavailable(f"needs python train.py experiment={experiment} {_words(data)}")
    module, config = restore_module(file)
    if not isinstance(module, SubjectTraining):
        raise UserError(f"{file} is of experiment={config.get('experiment')}, which trains no swap tool of two people.")
    return SubjectSwap(module, data, transfer=transfer, erode=erode, feather=feather)


def _newest(data: TwoPeople, experiment: str, runs: Path) -> Path | None:
    for folder, past in past_runs(runs, experiment)[0]:
        if (folder / LAST).is_file() and _pair(past) == _names(data):
            return folder / LAST
    return None


def _names(data: TwoPeople) -> tuple[str, str]:
    return person(data.donor), person(data.original)


def _pair(config: Any) -> tuple[str, str]:
    donor, original = (str(OmegaConf.select(config, f"subjects.{role}")) for role in ("donor", "original"))
    return person(donor), person(original)


def _words(data: TwoPeople) -> str:
    if data.synthetic:
        return f"subjects.donor={data.donor} subjects.original={data.original}"
    return "subjects.donor=<name> subjects.original=<name> of this pair"
