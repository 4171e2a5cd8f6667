"""Two gloo processes: other faces, equal weights, and those of one process with the doubled batch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from anon.losses.adversarial import discriminator_loss
from anon.training.augment import step_rng
from anon.training.target_oriented import TargetOriented
from tests.training import small, two_processes

ROOT = Path(__file__).resolve().parents[2]


class Halved(nn.Module):
    """A loss that is taken of the first and of the second half of a batch, and averaged."""

    def __init__(self, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, *of: Any) -> Tensor:
        halves = [
            [[m.chunk(2)[half] for m in part] if isinstance(part, list | tuple) else part.chunk(2)[half] for part in of]
            for half in (0, 1)
        ]
        return (self.loss(*halves[0]) + self.loss(*halves[1])) / 2


def as_both_ranks(module: TargetOriented) -> TargetOriented:
    """One process that draws for each half of its batch what that half's rank draws, and pairs faces within it."""
    distortion, view, pairing = module.distortion, module.view, module.pairing

    def rngs(stream: int) -> list[torch.Generator]:
        return [step_rng("cpu", module.seed, module.step, rank, stream) for rank in (0, 1)]

    def distorted(images: Tensor, rng: torch.Generator) -> Tensor:
        return torch.cat([distortion(half, rng) for half, rng in zip(images.chunk(2), rngs(0), strict=True)])

    def seen(images: Tensor, rng: torch.Generator, copies: int) -> Tensor:
        assert view is not None
        parts = torch.stack([part.unflatten(0, (2, -1)) for part in images.chunk(copies)])  # (copies, 2, B, 3, H, W)
        both = [view(parts[:, half].flatten(0, 1), rng, copies) for half, rng in enumerate(rngs(1))]
        return torch.stack([half.unflatten(0, (copies, -1)) for half in both], 1).flatten(0, 2)

    def paired(count: int, step: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        assert pairing is not None
        (index, same), (other, also) = (pairing(count // 2, step, rng) for rng in rngs(2))
        return torch.cat((index, other + count // 2)), torch.cat((same, also))

    del module.distortion, module.view  # they are modules, what comes in their place is not
    module.distortion, module.view = distorted, None if view is None else seen  # type: ignore[assignment]
    module.pairing = None if pairing is None else paired  # type: ignore[assignment]
    for term in module.objective.terms.values():
        if "same" in term.of:
            term.loss = Halved(term.loss)
    return module


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes has after the trainings of tests/training/two_processes.py."""
    folder = tmp_path_factory.mktemp("ranks")
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.two_processes", str(folder)],
        cwd=ROOT,
        env={**alone(), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("name", two_processes.STEPS)
def test_ranks_are_equal_and_their_faces_are_not(ranks: list[dict[str, Any]], name: str) -> None:
    """Every weight and running average, and what each rank logs; an epoch's batches have no face in common."""
    first, second = (rank[name] for rank in ranks)
    start, moved = two_processes.module(name).state_dict(), 0
    for key, value in first["state"].items():
        assert torch.equal(value, second["state"][key]), key
        moved += key in start and not torch.equal(value, start[key])
    assert moved > 0.6 * len(start)
    assert first["figures"] == second["figures"] and len(first["figures"]) == two_processes.STEPS[name]
    epoch = [face for rank in (first, second) for batch in rank["faces"][:3] for face in batch]
    assert len(epoch) == len(set(epoch)) == 8 * min(3, two_processes.STEPS[name])


@pytest.mark.parametrize("name", ["fiva", "facedancer"])
def test_the_step_is_that_of_one_process_with_the_doubled_batch(
    ranks: list[dict[str, Any]], name: str, tmp_path: Path
) -> None:
    """Figures and weights, with the draws of both ranks; a loss of same pairs is the mean of both ranks' means."""
    record, module = two_processes.Record(), as_both_ranks(two_processes.module(name))
    start = {key: value.clone() for key, value in module.state_dict().items()}
    trainer = two_processes.fit(name, tmp_path, module, 2 * two_processes.BATCH, callbacks=[record])
    assert record.faces == [a + b for a, b in zip(ranks[0][name]["faces"], ranks[1][name]["faces"], strict=True)]
    pairs = zip(record.figures, ranks[0][name]["figures"], strict=True)
    for ours, theirs in [*pairs, (two_processes.validation(trainer), ranks[0][name]["validation"])]:
        assert ours.keys() == theirs.keys()
        compared = [key for key in ours if "swap" not in key]  # of part of a batch, or of its neighbours
        assert [theirs[key] for key in compared] == pytest.approx([ours[key] for key in compared], rel=2e-3, abs=2e-4)
    # What the discriminator adds before a norm has a gradient of rounding errors alone, which Adam makes steps of.
    for part, most in (("generator", 1e-4), ("ema", 1e-4), ("discriminator", 0.03)):
        keys = [key for key, value in start.items() if key.startswith(f"{part}.") and value.is_floating_point()]
        states = (module.state_dict(), start, ranks[0][name]["state"])
        after, before, theirs = (torch.cat([state[key].flatten() for key in keys]) for state in states)
        assert (theirs - after).norm() < most * (after - before).norm()


def test_validation_counts_every_face_once(ranks: list[dict[str, Any]], tmp_path: Path) -> None:
    """Thirteen faces and two ranks: Lightning's own sampler would repeat one, at a distance of 0 to itself."""
    for rank in ranks:
        for name in ("fiva", "recognizer"):
            assert sorted(rank[name]["validated"]) == list(range(two_processes.HELD_OUT))
    module = two_processes.module("recognizer")
    trainer = two_processes.trainer("recognizer", tmp_path, 1)
    module.load_state_dict(ranks[0]["recognizer"]["state"])
    (alone,) = trainer.validate(module, datamodule=two_processes.data("recognizer", 5), verbose=False)
    assert alone == ranks[0]["recognizer"]["validation"] == ranks[1]["recognizer"]["validation"]
    assert set(alone) == {"val/eer"}


def test_two_ranks_continue_to_the_weights_of_an_unbroken_run(ranks: list[dict[str, Any]]) -> None:
    """From a checkpoint in the middle of an epoch, across its end; bitwise, and with the other of DDP's two kinds."""
    for rank in ranks:
        whole, resumed = rank["fiva"]["state"], rank["resumed"]["state"]
        assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


@pytest.mark.slow
@pytest.mark.parametrize("fails", [0, 1])
def test_a_rank_that_fails_ends_the_other(tmp_path: Path, fails: int) -> None:
    """Though it waits for it in a collective; its sentence is told, and no process stays."""
    words = ["experiment=tiny", "trainer=ddp", "trainer.limit_val_batches=0", "steps=1000", "checkpoint_every=1000"]
    words += ["model._target_=tests.training.failing_rank.FailsOnOneRank", f"paths.runs={tmp_path / 'runs'}"]
    words += [f"+model.fails={fails}", f"+model.folder={tmp_path}"]
    process = subprocess.Popen(
        [sys.executable, "train.py", "--config-dir", str(ROOT / "tests" / "apps" / "conf"), *words],
        cwd=ROOT,
        env={**alone(), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "rank1").exists() and process.poll() is None:
        time.sleep(0.1)
    began = time.monotonic()
    _, errors = process.communicate(timeout=120)  # a busy machine takes its time; a rank that waits never ends
    assert f"error: rank {fails} has a fault." in errors
    assert process.returncode == 2 if fails == 0 else process.returncode != 0
    while any(running((tmp_path / f"rank{rank}").read_text()) for rank in (0, 1)):
        assert time.monotonic() - began < 120
        time.sleep(0.1)
    assert len(list((tmp_path / "runs").rglob("config.yaml"))) <= 1


def alone() -> dict[str, str]:
    """The environment of a process that nobody has started as a rank."""
    return {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "RANK", "WORLD_SIZE")}


def running(pid: str) -> bool:
    """Whether a process is there and not a zombie that nobody has waited for."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_averaging_gives_the_gradient_of_the_doubled_batch(tmp_path: Path) -> None:
    """Two processes over a file store, in threads' stead: gradients of halves, averaged, are those of the whole."""
    torch.multiprocessing.spawn(_half, (str(tmp_path),), nprocs=2)
    discriminator, real, fake = _parts()
    discriminator_loss(discriminator(real), discriminator(fake)).backward()
    whole = [parameter.grad for parameter in discriminator.parameters()]
    for rank in (0, 1):
        gradients, averages = torch.load(tmp_path / f"{rank}.pt")
        for ours, wanted in zip(gradients, whole, strict=True):
            torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-6)
        # of 2 and 6 on the ranks, and the running mean moves by a tenth: (0.2 + 0.6) / 2; the variances are 1 and 4
        torch.testing.assert_close(averages["running_mean"], torch.tensor([0.4]))
        torch.testing.assert_close(averages["running_var"], torch.tensor([0.9 + 0.1 * (2.0 + 8.0) / 2]))
        assert averages["num_batches_tracked"] == 1


def _parts() -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    images = small.Pictures().images
    return small.module().discriminator, images[:8], images[8:16]


def _half(rank: int, folder: str) -> None:
    from anon.training.gradients import average_gradients

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    discriminator, real, fake = _parts()
    mine = slice(4 * rank, 4 * rank + 4)
    discriminator_loss(discriminator(real[mine]), discriminator(fake[mine])).backward()
    norm = nn.BatchNorm1d(1)
    norm(torch.tensor([[1.0], [3.0]]) if rank == 0 else torch.tensor([[4.0], [8.0]])).sum().backward()
    average_gradients(nn.ModuleList((discriminator, norm)))
    gradients = [parameter.grad for parameter in discriminator.parameters()]
    torch.save((gradients, dict(norm.named_buffers())), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()
