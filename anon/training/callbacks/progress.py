"""One line of progress for the whole run: steps, time left, the model's own figures."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeftColumn

from anon.training.callbacks.steps import steps_done


class StepProgress(ProgressBar):
    """A rich bar over all steps with the time left; where no terminal is attached, a line every ``seconds``.

    ``steps``: how many there will be; None: as many as the trainer's own limits say.
    """

    def __init__(self, steps: int | None, seconds: float = 30.0, console: Console | None = None) -> None:
        super().__init__()
        self.steps = steps or 0
        self.seconds = seconds
        self.console = console or Console()
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._began = self._told = 0.0
        self._first = 0

    def disable(self) -> None:
        """Lightning calls it on every rank but 0."""
        self.console = Console(quiet=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began = self._told = time.monotonic()
        self._first = steps_done(trainer)
        self.steps = self.steps or int(trainer.estimated_stepping_batches)
        if self.console.is_terminal and not self.console.quiet:
            columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeLeftColumn())
            text = TextColumn("{task.fields[figures]}")
            self._bar = Progress(*columns, text, console=self.console, speed_estimate_period=120)
            self._bar.start()
            self._task = self._bar.add_task("train", total=self.steps, completed=self._first, figures="")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done = steps_done(trainer)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, figures=self._figures(trainer, pl_module))
        elif done == self._first + 1 or done >= self.steps or time.monotonic() - self._told >= self.seconds:
            self._told = time.monotonic()
            self.console.print(self._line(done, self._figures(trainer, pl_module)), soft_wrap=True, highlight=False)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _figures(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> str:
        figures = {name: value for name, value in self.get_metrics(trainer, pl_module).items() if name != "v_num"}
        return " ".join(f"{name}={value:.3f}" for name, value in figures.items() if isinstance(value, float))

    def _line(self, done: int, figures: str) -> str:
        elapsed = time.monotonic() - self._began
        left = elapsed / max(1, done - self._first) * (self.steps - done)
        share = 100 * done / self.steps
        return f"step {done}/{self.steps} ({share:.0f} %) | {_clock(elapsed)} gone, {_clock(left)} left | {figures}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
