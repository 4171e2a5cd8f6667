"""A machine that others use: the warning comes where threads hinder each other, and only there."""

from __future__ import annotations

import time

import pytest
import torch

from anon.apps import train as train_app
from anon.apps.door import threads
from anon.apps.door.threads import convolution, crowded
from tests.apps.conftest import Command, folder_of


def test_only_where_several_are_slower() -> None:
    figures = {1: 4.0, 2: 30.0, 4: 1.5}
    assert crowded(1, figures.__getitem__, "train.py") is None
    assert crowded(4, figures.__getitem__, "train.py") is None
    told = crowded(2, figures.__getitem__, "train.py experiment=fiva")
    assert told is not None and "7.5 times" in told and "OMP_NUM_THREADS=1 python train.py experiment=fiva" in told


def test_the_measurement_is_short_and_leaves_no_trace() -> None:
    before, state = torch.get_num_threads(), torch.get_rng_state()
    began = time.process_time()
    assert 0 < convolution(1) < 10 and 0 < convolution(2) < 60
    assert time.process_time() - began < 5  # of the processor, whoever else uses it; 0.2 s where nobody does
    assert torch.get_num_threads() == before and torch.equal(torch.get_rng_state(), state)


def test_told_once_on_stderr(train: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old code said nothing: a step took 30 s in the place of 4, and no line told why."""
    monkeypatch.setattr(train_app, "convolution", {1: 0.1, 2: 0.4}.__getitem__)
    torch.set_num_threads(2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ended = train("experiment=tiny")
    assert folder_of(ended).is_dir()
    assert ended.err.count("2 threads are 4.0 times as slow as one") == 1
    assert threads.SLOWER < 4
