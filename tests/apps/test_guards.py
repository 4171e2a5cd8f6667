"""Losses or weights that are not finite, a full or a read-only disk: one sentence, and the last checkpoint is whole."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from anon.apps.run_folders.folder import LAST
from anon.errors import UserError
from anon.losses.pixel import PixelL1
from anon.training.callbacks.guards import FiniteLosses, _Step
from anon.training.objective import Objective, Term
from tests.apps.conftest import Command, folder_of
from tests.apps.tiny import Tiny
from tests.training import small


class Odd(nn.Module):
    """A loss that is not finite from its ``at``-th call on, counted from 1."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.calls = at, 0

    def forward(self, mask: Tensor) -> Tensor:
        self.calls += 1
        return mask.mean() / (0.0 if self.calls >= self.at else 1.0)


class Broken(pl.LightningModule):
    """Automatic optimization; the third loss is infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.layer(batch).mean() * (float("inf") if batch_idx == 2 else 1.0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def objective(at: int) -> Objective:
    """Something to learn, and a term that turns odd."""
    return Objective({"pixel": Term(PixelL1(), ["raw", "distorted"]), "odd": Term(Odd(at), ["mask"], weight=0.1)})


def diverge(folder: Path, module: pl.LightningModule, data: Any, **options: Any) -> tuple[str, dict]:
    """What the guard says, and the one file that it leaves."""
    trainer = small.trainer(folder, 6, callbacks=[FiniteLosses(str(folder / "run"), **options)])
    source = {"train_dataloaders" if isinstance(data, DataLoader) else "datamodule": data}
    with pytest.raises(UserError) as raised:
        trainer.fit(module, **source)
    (file,) = (folder / "run").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    return str(raised.value), torch.load(file, weights_only=True)


def test_the_term_the_step_and_the_batch(tmp_path: Path) -> None:
    module, seen = small.module(objective=objective(3)), []
    module.generator.register_forward_pre_hook(lambda _, args: seen.append(len(seen)))
    told, kept = diverge(tmp_path, module, small.data())
    assert "diverged at step 3: the loss 'odd' is not finite" in told
    assert f"Its batch is in {tmp_path / 'run' / 'diverged_0000003.pt'}. " in told
    assert kept["step"] == 3 and len(seen) == 3
    assert kept["losses"]["odd"] == float("inf") and 0 < kept["losses"]["pixel"] < 2
    faces = small.Pictures().images
    assert all(any(torch.equal(image, face) for face in faces) for image in kept["batch"]["image"])
    assert all(bool(weight.isfinite().all()) for weight in module.parameters())  # stopped before the backward pass


@pytest.mark.parametrize("images", [False, True])
def test_faces_of_somebody_are_kept_only_where_asked(tmp_path: Path, images: bool) -> None:
    data = small.data()
    data.synthetic = False
    told, kept = diverge(tmp_path, small.module(objective=objective(1)), data, images=images)
    assert ("image" in kept["batch"]) is images
    assert ("without the faces" in told) is not images
    assert kept["batch"]["identity"].dtype == torch.int64


def test_the_discriminator_is_named(tmp_path: Path) -> None:
    broken = Objective(small.terms(), r1_gamma=0, critic=lambda real, fake: (real - fake).mean() * float("nan"))
    told, kept = diverge(tmp_path, small.module(objective=broken), small.data())
    assert "step 1: the loss 'discriminator' is not finite" in told
    assert kept["losses"]["discriminator"] != kept["losses"]["discriminator"]


def test_a_gradient_that_overflows_is_no_step(tmp_path: Path) -> None:
    """Losses are finite and clipping makes zeros of it; nothing would be learned, and nothing said."""
    module = small.module(clip=1.0)

    def overflow(slope: Tensor) -> Tensor:
        return torch.full_like(slope, 1e30) if module.global_step >= 2 else slope

    next(module.generator.parameters()).register_hook(overflow)
    told, kept = diverge(tmp_path, module, small.data())
    assert "the norm of the generator's gradient is not finite; lower model.lr" in told
    assert kept["losses"]["generator_grad"] == float("inf")
    assert all(torch.tensor(value).isfinite() for name, value in kept["losses"].items() if name != "generator_grad")


def test_automatic_optimization(tmp_path: Path) -> None:
    loader = DataLoader(torch.arange(12.0).view(4, 3), batch_size=1)
    told, kept = diverge(tmp_path, Broken(), loader, images=True)
    assert "step 3: the loss 'loss' is not finite" in told
    assert kept["batch"]["batch"].tolist() == [[6.0, 7.0, 8.0]]


class Later:
    """Stands for a CUDA event: what was recorded is done only once somebody waits for it."""

    def __init__(self) -> None:
        self.done = False

    def query(self) -> bool:
        return self.done

    def synchronize(self) -> None:
        self.done = True


def test_a_devices_flags_are_read_late_and_in_order(tmp_path: Path) -> None:
    trainer, guard = small.trainer(tmp_path, 1), FiniteLosses(str(tmp_path), images=True)

    def queue(number: int, loss: float) -> Later:
        step = _Step(number, {"image": torch.full((1, 3, 2, 2), float(number))}, losses=[torch.tensor(loss)])
        guard._count(step)
        step.copied = event = Later()  # type: ignore[assignment]
        guard._unread.append(step)
        guard._read(trainer, late=2)
        return event

    events = [queue(1, 0.5), queue(2, float("nan")), queue(3, float("inf"))]
    assert [event.done for event in events] == [True, False, False]  # two may be late
    with pytest.raises(UserError, match="diverged at step 2: the loss 'loss'"):
        queue(4, 0.5)
    assert torch.load(tmp_path / "diverged_0000002.pt", weights_only=True)["batch"]["image"].unique() == 2
    queue(5, float("nan"))
    with pytest.raises(UserError, match="diverged at step 5"):  # nothing is saved before all flags are read
        guard.on_save_checkpoint(trainer, nn.Linear(1, 1), {"state_dict": {}})  # type: ignore[arg-type]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_not_waited_for(tmp_path: Path) -> None:
    """What every step does makes no synchronizing call, and the batch is that of the step that turned odd."""

    class Strict(FiniteLosses):
        @staticmethod
        def _count(step: _Step) -> None:
            torch.cuda.set_sync_debug_mode("error")
            FiniteLosses._count(step)
            torch.cuda.set_sync_debug_mode("default")

    batches: list[Tensor] = []
    module = small.module(objective=objective(3))
    look = module.look
    module.look = lambda batch: (batches.append(batch["image"].cpu()), look(batch))[1]  # type: ignore[method-assign]
    options = {"accelerator": "gpu", "devices": 1, "log_every_n_steps": 1000}
    trainer = small.trainer(tmp_path, 30, callbacks=[Strict(str(tmp_path / "run"))], **options)
    with pytest.raises(UserError, match="diverged at step 3: the loss 'odd'"):
        trainer.fit(module, datamodule=small.data())
    kept = torch.load(tmp_path / "run" / "diverged_0000003.pt", weights_only=True)
    assert torch.equal(kept["batch"]["image"], batches[2])


def test_weights_that_overflow_are_not_saved(train: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient can be infinite where the loss is not: the next save refuses, and the last checkpoint stays."""
    folder = folder_of(train("experiment=tiny"))
    before = (folder / LAST).read_bytes()
    at_step(monkeypatch, 8, lambda module: module.second.bias.data.fill_(float("inf")), after=True)
    ended = train("experiment=tiny", "steps=12", "checkpoint_every=3", "ckpt_path=last")
    assert ended.code == 2
    assert ended.err == (
        "error: training diverged by step 9: second.bias is not finite any more; lower model.lr or set model.clip. "
        "The last checkpoint is intact.\n"
    )
    assert (folder / LAST).read_bytes() == before


def test_a_run_that_diverges_at_once_keeps_its_batch(train: Command, tmp_path: Path, monkeypatch: Any) -> None:
    at_step(monkeypatch, 0, lambda module: module.first.weight.data.fill_(float("nan")))
    ended = train("experiment=tiny", "logger.images=true")
    assert ended.code == 2 and "diverged at step 1: the loss 'loss'" in ended.err
    (file,) = (tmp_path / "runs").rglob("diverged_*.pt")
    assert torch.load(file, weights_only=True)["batch"]["batch"].shape == (4, 3)


def at_step(monkeypatch: Any, step: int, do: Callable[[Tiny], Any], after: bool = False) -> None:
    """Do something to the tiny model before or after its batch of that index."""
    plain = Tiny.training_step

    def training_step(self: Tiny, batch: Tensor, batch_idx: int) -> None:
        now = self.trainer.fit_loop.total_batch_idx == step
        if now and not after:
            do(self)
        plain(self, batch, batch_idx)
        if now and after:
            do(self)

    monkeypatch.setattr(Tiny, "training_step", training_step)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    with (folder / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))


@pytest.mark.parametrize("fault", ["full", "read-only"])
@pytest.mark.parametrize("when", ["while training", "at the start"])
def test_a_disk_that_takes_no_more(
    train: Command, disk: Path, monkeypatch: pytest.MonkeyPatch, fault: str, when: str
) -> None:
    def breaks() -> None:
        if fault == "full":
            fill(disk)
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

    words = ["experiment=tiny", f"paths.runs={disk / 'runs'}"]
    folder = folder_of(train(*words))
    before = (folder / LAST).read_bytes()
    if when == "at the start":
        breaks()
    else:
        at_step(monkeypatch, 7, lambda module: breaks())
    ended = train(*words, "steps=40", "ckpt_path=last")
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1, ended.err
    assert "cannot be written (No space left on device)" in ended.err if fault == "full" else "Read-only" in ended.err
    if when == "while training":
        assert "the last checkpoint is intact, ckpt_path=last continues." in ended.err
    assert (folder / LAST).read_bytes() == before
    monkeypatch.undo()
    (disk / "ballast").unlink() if fault == "full" else subprocess.run(
        ["mount", "-o", "remount,rw", str(disk)], check=True
    )
    assert not list(folder.rglob(".last*"))


def test_half_a_row_of_figures_does_not_keep_a_run_from_continuing(train: Command) -> None:
    folder = folder_of(train("experiment=tiny", "steps=12"))
    figures = folder / "metrics.csv"
    rows = figures.read_text()
    with figures.open("a") as file:
        file.write("0.3")  # killed while writing
    assert folder_of(train("experiment=tiny", "steps=22", "ckpt_path=last")) == folder
    assert figures.read_text().startswith(rows)
    assert len(figures.read_text().removeprefix(rows).splitlines()) == 2  # at batch 20, and the last
