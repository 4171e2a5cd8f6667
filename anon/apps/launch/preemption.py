"""Being told to stop: the checkpoint is saved at the next batch boundary, and SLURM is asked to run the job again.

A batch system warns before it kills: SLURM with the signal of ``sbatch --signal=USR1@120`` ahead of the time limit and
with SIGTERM where another job wants the machine, submitit with SIGUSR2, others with SIGTERM. After one of the three the
run ends with exit code 128 + signal (138, 140, 143), and ``ckpt_path=last`` continues it to the weights of an unbroken
run. Under SLURM the running job is put back into the queue (``scontrol requeue``), and started again it finds its own
folder (:func:`anon.apps.run_folders.past.begun_by_this_job`). A job that ``scancel`` ended stays ended, and one that
SLURM itself preempted is requeued by SLURM.

Ctrl-C (SIGINT) saves and ends in the same way, with 130 and no requeueing; a second one ends at once, in the batch at
hand. Before the first batch it ends the run where it is, as in any program. A terminal sends it to all processes of the
run; those that rank 0 started leave it to rank 0, also while they begin (:func:`start_blocked`).

Lightning has a handler of its own for these signals (``SLURMEnvironment(auto_requeue=True)``). It writes a second kind
of checkpoint from inside the signal handler, in the middle of a batch, so here it is switched off and replaced.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from anon.apps.launch.ranks import HANDED_DOWN, rank, slurm_job
from anon.training.callbacks.steps import log_now, steps_done, validates_now

#: What asks a training to stop.
SIGNALS = (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
EVERY = 10  # batches between agreements of several ranks


class Preempted(SystemExit):
    """Ends the process: exit code 128 + signal on rank 0, 0 on the others (Lightning kills rank 0 if one fails)."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number if rank() == 0 else 0)


class Preemption(Checkpoint):
    """Catches :data:`SIGNALS` while it is entered; as the trainer's last callback it saves and ends the training.

    Before the first batch there is nothing to save, and a signal ends the run where it is. After it the signal is only
    noted, because a batch cannot be saved by half. Ranks agree every :data:`EVERY` batches, for it may reach one of
    them only; a process alone stops after the batch at hand. Lightning runs ``Checkpoint`` callbacks after all others,
    in their order.
    """

    def __init__(self) -> None:
        self.caught = 0  # number of the signal, 0: none
        self.path: Path | None = None
        self.training = False
        self._started = False  # by rank 0
        self._soon = "after this batch"
        self._leaving = 0  # the signal after which the validation at hand is the last
        self._process = os.getpid()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Preemption:
        if threading.current_thread() is threading.main_thread():  # Python takes handlers from no other
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
            if self._before[signal.SIGINT] is signal.SIG_IGN:  # of what a script runs in the background
                del self._before[signal.SIGINT]
            self._listen()
            self._started = HANDED_DOWN in os.environ
            if self._started:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, set(SIGNALS) - {signal.SIGINT})
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen()  # Lightning has put its own handler before ours
        self.training = True
        if trainer.world_size > 1:
            self._soon = f"within {EVERY} batches"

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        number = self._agreed(trainer)
        if not number or trainer.should_stop:  # the last batch: the run ends by itself, and is saved
            return
        log_now(trainer)
        self._save(trainer)
        if validates_now(trainer):  # its figures belong to the checkpoint, if there is time for them
            self._leaving = number
        else:
            self._leave_saved(trainer, number)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._leaving:
            self._save(trainer)
            self._leave_saved(trainer, self._leaving)

    def _save(self, trainer: pl.Trainer) -> None:
        assert self.path is not None
        trainer.save_checkpoint(self.path, weights_only=False)

    def _leave_saved(self, trainer: pl.Trainer, number: int) -> None:
        batches = f"after {steps_done(trainer)} batches"
        saved = f"saved {self.path}"
        self.leave(number, f"stopped {batches}; {saved}" if number == signal.SIGINT else f"{saved} {batches}")

    def leave(self, number: int, saved: str) -> None:
        """Requeue, but not after Ctrl-C, and tell it in a sentence, on rank 0.

        Raises:
            Preempted: always.
        """
        if rank() == 0:
            job, begun = slurm_job(), self.path is not None and self.path.is_file()
            again = "ckpt_path=last continues" if begun else "there is no checkpoint yet to continue from"
            if number == signal.SIGINT:
                print(f"{saved}; {again}.", file=sys.stderr, flush=True)
            else:
                rest = again if job is None else requeue(job)
                print(f"{signal.Signals(number).name}: {saved}; {rest}.", flush=True)
        raise Preempted(number)

    def _agreed(self, trainer: pl.Trainer) -> int:
        """The signal that some rank has caught, the same answer on all ranks; 0: none, or not yet asked."""
        if trainer.world_size == 1:
            return self.caught
        if steps_done(trainer) % EVERY:
            return 0
        caught = torch.tensor(float(self.caught), device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(caught, reduce_op="max"))  # type: ignore[arg-type]

    def _listen(self) -> None:
        for number in self._before:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked worker: the signal is meant for the run, which ends its workers
            if number == signal.SIGTERM:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        again, self.caught = self.caught, number
        if number == signal.SIGINT:
            if not self.training or again == number:
                raise KeyboardInterrupt
            if rank() == 0:  # past Python's buffers, in which the signal may have come
                os.write(2, f"\nstopping {self._soon}; a second Ctrl-C ends at once and saves nothing.\n".encode())
            return
        if not self.training and not again and not self._started:  # else rank 0 leaves, or all agree on it
            self.leave(number, "stopped before the first batch")


def start_blocked(launcher: _SubprocessScriptLauncher) -> None:
    """Ranks that ``launcher`` starts hold :data:`SIGNALS` back until they have handlers, and Ctrl-C for ever.

    One that a signal ends while it imports makes Lightning kill rank 0, which waits for it and hears of nothing.
    """
    start = launcher._call_children_scripts

    def started() -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # a new process inherits the mask
        try:
            start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    launcher._call_children_scripts = started  # type: ignore[method-assign]


def requeue(job: str) -> str:
    """Put a running SLURM job, ``41`` or ``40_7``, back into the queue; returns what came of it, for a sentence."""
    program = shutil.which("scontrol")
    if program is None:
        return f"SLURM job {job} is not requeued, there is no scontrol here"
    asked = _ask(program, "show", "job", "-o", job)
    if "JobState=RUNNING" not in asked:  # cancelled: it shall stay so; preempted: SLURM requeues it by itself
        return f"SLURM job {job} is left to SLURM"
    refused = _ask(program, "requeue", job).strip()
    return f"SLURM job {job} is not requeued ({refused})" if refused else f"SLURM job {job} is requeued and continues"


def _ask(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        return "scontrol gave no answer"
    return done.stdout + done.stderr
