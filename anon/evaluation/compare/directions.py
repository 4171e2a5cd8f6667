"""Which way a metric of a training is better.

A training leaves no document that describes its metrics, only their names in metrics.csv, so what this package's own
Lightning modules log is listed here, by its whole name.

Losses are known from the run's configuration (``objective.terms``). All other metrics, also of one's own modules, go
neither way until the user says it (``--lower``, ``--higher``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from anon.metrics.attributes import AttributeErrors

#: ``higher_is_better`` of what :mod:`anon.training` logs.
LOGGED: dict[str, bool] = {
    "train/loss": False,
    "train/images_per_s": True,
    **dict.fromkeys(("train/accuracy", "val/accuracy", "val/macro_recall", "val/macro_F1"), True),
    **dict.fromkeys(("val/valence_CCC", "val/arousal_CCC"), True),
    **dict.fromkeys(("val/valence_RMSE", "val/arousal_RMSE"), False),
    # recognizers: a good judge errs little, whatever an anonymizer would like
    **{"val/eer": False, "val/tar": True, "val/top1": True},
    # regressors of attributes; their losses are logged under the attributes' names
    **{
        f"{split}/{name}": AttributeErrors.higher_is_better
        for split in ("train", "val")
        for name in ("pose", "expression", "gaze", "landmarks")
    },
    # generators: swaps reach the person who is put on; what their other cosines shall be depends on `steers`
    **{"train/swap_raw": True, "train/swap_blended": True, "val/cos_swap": True, "val/l1": False},
    # reconstruction: the attacker's side
    **{"val/cos_found": True, "val/l1_found": False},
}


@dataclass(frozen=True)
class Better:
    """Metrics of which the user said which way is better."""

    lower: frozenset[str] = field(default_factory=frozenset)
    higher: frozenset[str] = field(default_factory=frozenset)

    def higher_is_better(self, name: str, losses: Iterable[str] = ()) -> bool | None:
        """As torchmetrics has it; None: neither. ``losses``: names of the objective's terms.

        >>> Better().higher_is_better("val/cos_swap"), Better().higher_is_better("train/pixel", ["pixel"])
        (True, False)
        """
        if name in self.lower or name in self.higher:
            return name in self.higher
        if name in LOGGED:
            return LOGGED[name]
        return False if name in {f"train/{loss}" for loss in losses} else None
