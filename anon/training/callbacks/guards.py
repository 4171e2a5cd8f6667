"""Stopping a training whose numbers are not finite any more, with the batch at hand and the last checkpoint intact.

Every loss is looked at before its backward pass (Lightning's ``on_before_backward``, which manual optimization calls
too), and an objective's terms as they are computed, so that the sentence can name one. On a GPU nothing waits for that:
the flag of a step is copied to the host behind the step's own work and read some steps later, in order, and before
anything is saved. So a checkpoint never holds weights of a step after the bad one; that the weights themselves are
finite is looked at as well, since a gradient can overflow where no loss does. No module looks after its own losses:
train.py adds this callback (conf/callbacks), a trainer made by hand needs it among its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from anon.checksums import written_whole
from anon.errors import UserError
from anon.training.callbacks.steps import LastCheckpoint, steps_done
from anon.training.objective import Objective

DIVERGED = "diverged_*.pt"  # the batch at which a training diverged, in its run folder
_BEHIND = 8  # most steps that a GPU's flags may be read late; older ones are waited for


@dataclass
class _Step:
    """What is kept of a step until its flag has been read; ``number`` counts batches from 1."""

    number: int
    batch: Any
    terms: dict[str, Tensor] = field(default_factory=dict)
    losses: list[Tensor] = field(default_factory=list)
    norms: Mapping[str, Tensor] = field(default_factory=dict)  # of the networks' gradients
    bad: Tensor | None = None  # one number: how many of them are not finite
    copied: torch.cuda.Event | None = None

    def seen(self) -> bool:
        """Whether the flag can be read without waiting for the device."""
        return self.copied is None or self.copied.query()


class FiniteLosses(Callback):
    """Ends training when a loss, a term of the objective, a gradient's norm, or at a checkpoint a weight is not finite.

    A gradient whose infinite norm is clipped is 0, and a network that learns nothing has finite losses; the norms are
    those that the module takes (its attribute ``norms``).

    The batch is written to ``<folder>/diverged_<step>.pt`` with mode 0600, for ``torch.load(weights_only=True)``: a
    dictionary of ``step``, ``losses`` and ``batch``. Pictures and other measurements of faces that belong to somebody
    are left out unless ``images`` is true; whole numbers, which say which samples it was, stay.

    Args:
        folder: the run's.
        images: also keep the faces of data that are not synthetic (``logger.images``).
    """

    def __init__(self, folder: str, images: bool = False) -> None:
        self.folder, self.images = Path(folder), images
        self._now: _Step | None = None
        self._unread: deque[_Step] = deque()
        self._hooks: list[RemovableHandle] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        objectives = [part for part in pl_module.modules() if isinstance(part, Objective)]
        self.folder.mkdir(parents=True, exist_ok=True)  # one that is removed later does not come back
        self._hooks = [part.register_forward_hook(self._note_terms) for part in objectives]

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._now = _Step(steps_done(trainer), batch)

    def _note_terms(self, objective: Objective, known: Any, terms: dict[str, Tensor]) -> None:
        if self._now is not None:
            self._now.terms = {name: term.detach() for name, term in terms.items()}

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        if self._now is None:
            return
        self._now.losses.append(loss.detach())
        if loss.device.type == "cpu":  # nothing to wait for, and the weights are still whole
            self._count(self._now)
            self._judge(trainer, self._now)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now, self._now = self._now, None
        if now is None or not now.losses:
            return
        now.norms, on_cpu = dict(getattr(pl_module, "norms", {})), now.losses[0].device.type == "cpu"
        if on_cpu and not now.norms:
            return
        self._count(now)
        if on_cpu:
            self._judge(trainer, now)
            return
        self._unread.append(now)
        self._read(trainer, _BEHIND)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._read(trainer, 0)
        weights = {name: value for name, value in pl_module.named_parameters() if name in checkpoint["state_dict"]}
        whole = torch.stack([value.isfinite().all() for value in weights.values()]).tolist()
        if not all(whole):
            raise UserError(
                f"training diverged by step {steps_done(trainer)}: {list(weights)[whole.index(False)]} is not finite "
                f"any more; lower model.lr or set model.clip.{_what_is_left(trainer)}"
            )

    @staticmethod
    def _count(step: _Step) -> None:
        """Count what is not finite on the device, and send the number to the host behind the work queued there."""
        seen = torch.stack(
            [value.float().mean() for value in (*step.terms.values(), *step.norms.values(), *step.losses)]
        )
        step.bad = (~seen.isfinite()).sum()
        if seen.is_cuda:
            step.bad = torch.empty_like(step.bad, device="cpu", pin_memory=True).copy_(step.bad, non_blocking=True)
            step.copied = torch.cuda.Event()
            step.copied.record()

    def _read(self, trainer: pl.Trainer, late: int) -> None:
        """Judge in order the steps whose flag has come, and wait for that of all but the ``late`` newest."""
        while self._unread and (len(self._unread) > late or self._unread[0].seen()):
            self._judge(trainer, self._unread.popleft())

    def _judge(self, trainer: pl.Trainer, step: _Step) -> None:
        if step.copied is not None:
            step.copied.synchronize()
        if step.bad is None or not int(step.bad):
            return
        losses = dict(step.terms)
        bad = next((name for name, term in losses.items() if _broken(term)), None)
        what = f"the loss '{bad}'"
        if bad is None and (norm := next((name for name, value in step.norms.items() if _broken(value)), None)):
            bad, what = norm, f"the norm of the {norm.removesuffix('_grad')}'s gradient"
            losses[bad] = step.norms[bad]
        if bad is None:  # of the two networks of an objective, the generator is first
            at = next(at for at, loss in enumerate(step.losses) if _broken(loss))
            bad = ("objective", "discriminator")[at % 2] if step.terms else f"loss {at + 1}" if at else "loss"
            losses[bad], what = step.losses[at], f"the loss '{bad}'"
        kept = self._keep(trainer, step, losses)
        self._unread.clear()
        raise UserError(
            f"training diverged at step {step.number}: {what} is not finite; lower model.lr, set model.clip, "
            f"or use trainer.precision=32-true. {kept}{_what_is_left(trainer).strip()}".strip()
        )

    def _keep(self, trainer: pl.Trainer, step: _Step, losses: Mapping[str, Tensor]) -> str:
        """Write the batch; returns a sentence that says where it is."""
        synthetic = bool(getattr(getattr(trainer, "datamodule", None), "synthetic", False))
        whole = synthetic or self.images
        named = step.batch if isinstance(step.batch, Mapping) else {"batch": step.batch}
        batch = {
            name: value.detach().cpu()
            for name, value in named.items()
            if isinstance(value, Tensor) and (whole or not value.is_floating_point())
        }
        content = {"step": step.number, "losses": {name: float(loss.mean()) for name, loss in losses.items()}}
        path = self.folder / DIVERGED.replace("*", f"{step.number:07d}")
        try:
            with written_whole(path, 0o600) as file:
                torch.save({**content, "batch": batch}, file)
        except (OSError, RuntimeError):  # no room for it: the sentence matters more
            return "Its batch could not be written. "
        return f"Its batch{'' if whole else ', without the faces,'} is in {path}. "


def _broken(loss: Tensor) -> bool:
    return not bool(loss.isfinite().all())


def _what_is_left(trainer: pl.Trainer) -> str:
    """A sentence about the last checkpoint, where there is one."""
    saved = any(isinstance(each, LastCheckpoint) and each.path.is_file() for each in trainer.callbacks)  # type: ignore[attr-defined]
    return " The last checkpoint is intact." if saved else " No checkpoint was saved before."
