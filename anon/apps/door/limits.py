"""What a setting may be: ranges by dotted key, and the types of settings that no part takes.

The types of all others are the annotations of what takes them (:mod:`anon.apps.door.parts`); what only a class knows,
such as which sizes it can draw, it says itself. The first row that fits a key holds. Of a list each number is meant,
and there must be one.
"""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import Iterator, Mapping
from fnmatch import translate
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from anon.apps.config import GONE, at
from anon.apps.door.parts import fits, misfit
from anon.attributes.contract import Estimator
from anon.evaluation.protocol import Data
from anon.faces.detection.contract import Detector
from anon.faces.learned import DOMAINS
from anon.identity.contract import JudgeLike

#: Intervals as in mathematics, ``whole`` before those of whole numbers -> keys, in which * stands for anything.
RANGES = {
    "whole [0, 4294967295]": "seed *.seed *.render_seed",  # what every library takes
    # anonymize.py
    "(0, 1]": "detector.threshold model.decay *.view.scale *.defense.scale suite.defenses.*.scale *.momentum "
    "*.enlarge *.smooth *.soft *.level *.gamma",
    "whole [32, 65536]": "*.max_side",
    "[0, 65536]": "*.min_size",
    "(0, 0.5]": "*.cutoff *.anonymizer.bound",
    "[0, 0.5]": "*.amplitude",
    "[8, 1000]": "*.fps",
    "[0, 30]": "*.guidance",
    "(0, 2]": "*.network.spread *.repulsion.loss.reach",
    "[0, 4]": "margin",
    "whole [0, 600]": "live.window",
    # data
    "whole [2, 200000]": "data.identities data.identities.train *.datasets.*.identities "
    "*.datasets.*.identities.train",  # an identity is told from another's
    "whole [1, 200000]": "*generator.identities data.identities.* *.datasets.*.identities.*",
    "whole [0, 1000000000]": "*.first",
    "whole [0, 65536]": "data.images data.images.* data.clips data.clips.* *.datasets.*.images "
    "*.datasets.*.images.* *.datasets.*.clips *.datasets.*.clips.* *.min_images",
    "whole [1, 65536]": "batch *.batch *.batch_size *.clip_frames *.calibration_images",
    "whole [1, 10000]": "*.crowds.clips *.crowds.frames",
    "whole [64, 4096]": "*.crowds.height *.crowds.width",
    "[16, 2048]": "*.crowds.face",
    "whole [16, 4096]": "size data.size model.size *.input_size",
    "whole [1, 4096]": "*.size",
    "whole [0, 512]": "*.workers *.erode generator.units model.generator.units",
    "[0, 512]": "*.feather",
    "whole [1, 512]": "*.threads *.residuals *.blocks *.network.block *.bottleneck *.depth *.deep discriminator.layers "
    "model.discriminator.layers generator.layers model.generator.layers *.panel *generator.skip *.cells "
    "*generator.donors *.network.points *.network.shrink",
    # networks
    "whole [2, 64]": "data.group",
    "whole [1, 8]": "*.downs discriminator.scales model.discriminator.scales",
    "whole [1, 8192]": "*generator.code *.latent *.decoder_channels *.mask_channels "
    "*.widths model.network.reader *.base *.channels *.mapping *.z_dim *.dim *.projection *.classes "
    "*.neighbours *.components *.hidden *.anonymizer.l",
    "(0, 10]": "model.late",
    "(0, 8]": "generator.width model.generator.width",
    "(0, 1000]": "*.adversarial.radius *.head.s *.tau",
    "[0, 2)": "*.head.m",
    "(0, 100]": "*.std *.strength",
    "[-100, 100]": "*.mean",
    # training
    "whole [1, 1000000000]": "steps model.steps callbacks.*.steps checkpoint_every callbacks.*every *.keys",
    "whole [1, inf)": "*.defense.steps *.adversarial.steps suite.defenses.*.steps *.active *.accumulate "
    "*.decay_every *.r1_every *.views attack.pairs attack.runs *.loss.last *.patch *.window *.anonymizer.steps "
    "*.critic_steps *attack.steps *.diffused.steps *.rounds *.photos *.people *.targets *.centre *.enrolled",
    "whole [0, inf)": "*.warmup *.wait *.cooldown *.rise *.pairing.after *.ahead *.counts *.resumed_at",
    "(0, inf)": "live.seconds trainer.limit_train_batches trainer.val_check_interval *lr *.clip *.step *.sigma "
    "*.loss.scale *.threshold suite.threshold.* *.penalty *.rate *.anonymizer.sensitivity",
    "[0, 1)": "*.betas *.ema *.zoom *.overhang",
    "(0, 1)": "*.embed *.far *.fars *.quantiles *generator.edge",
    "[0, 3]": "*.anonymizer.degree *.monotone.degrees",  # above the others': beyond nobody
    "[0, 1]": "model.loudest *.anonymizer.scale *.motion *.views.flip *.unwarped *.reach *.null_share *.own_share "
    "*.flip_share *.loss.inside model.affine model.spline *.max_damaged *.max_missing *.max_turn *.nms *.share "
    "*.shares *.shift *.clear *.degree "
    "*.degrees *.labels.margin *.max_eer *.box *.anonymizer.t",
    "[0, 2]": "*.margins margins.* *.brightness *.tint *.view.noise *.distance *.pattern",
    "[0, inf)": "model.pixel model.perceptual model.adversarial model.identity "
    "*.loss.structure *.loss.pixel *.loss.mask *.loss.eyes *.loss.mouth *.loss.edges "
    "*.loss.adversarial *.loss.attribute "
    "*.loss.equivariance *.loss.jacobian *.loss.landmarks "
    "*.loss.reconstruction *.loss.read *.loss.features *.loss.area *.loss.hinge *.loss.variation *.raised "
    "*.r1_gamma *.affect_weight *.weight_decay *.contrast *.saturation *.noise *.epsilon "
    "*.regressor.blur *.limit_val_batches *.drift *.truncation",
    "[0, 180]": "*.rotation *.yaw",
    "(0, 180)": "*.angle *.angles",
    "whole [2, 8192]": "*.rank",
    "whole [1, 100000]": "*.keys.guesses *.keys.short *.keys.few *.keys.pairs",
    "[1, 100]": "*.jpeg *.quality",
    "[-1, 1]": "*.m *.colour",
    "(-inf, inf)": "*.weight *.dial.values *.low *.high",
    # evaluation
    "whole [2, 65536]": "*.most *.anchors *.least *.k suite.measures.verification.points",
    "whole [1, 1000000]": "*.resamples *.inception_resamples *.bins *.ks *.attacked_probes *.probes "
    "suite.measures.attribute_path.pictures",
    "whole [0, 1000]": "*.grid_faces",
    # Lightning's trainer, which checks its other settings itself
    "whole [-1, inf)": "trainer.max_epochs trainer.max_steps trainer.num_sanity_val_steps",
    "whole [1, 1e9]": "trainer.check_val_every_n_epoch trainer.log_every_n_steps",
}

_NAME = re.compile(r"(?!\.{1,2}$)[^/\0]+")  # of a folder
TYPES: dict[str, Any] = {
    **dict.fromkeys(("task", "scale", "paths.runs"), str),
    **dict.fromkeys(("ckpt_path", "output", "paths.cache", "lpips", "experiment"), str | None),
    "checkpoint": str,
    "seed": int,
    **dict.fromkeys(("files.input", "files.output", "store.file", "store.key_file"), str | None),
    **dict.fromkeys(("key.file", "key.salt"), str | None),
    **dict.fromkeys(("dry_run", "strict", "recover"), bool),
    "domain": Literal[DOMAINS],
    "audio": Literal["copy", "drop"],
    "size": int | None,
    "detector": Detector,
    "steps": int | None,
    "checkpoint_every": int,
    "trust": str | list[str] | None,
    "monitor": str | list[str] | None,
    "cache": str | bool | None,
    "logger.images": bool,
    "detectors": Mapping[str, Detector | None] | None,
    "panel": Mapping[str, JudgeLike | None] | None,
    "attributes": Estimator | None,
    "lacks": list[dict],
    **dict.fromkeys(("run", "paths", "logger", "callbacks", "files", "gate", "store", "live", "key"), dict),
}
BUILT: dict[str, Any] = {
    "model": pl.LightningModule,
    "data": pl.LightningDataModule | Data,
    "trainer": pl.Trainer,
    "judge": JudgeLike | None,
}

_OR_FILE = re.compile(r"suite\.threshold(\..*)?")  # a number, or a file that has it


class Limit(NamedTuple):
    """A range of numbers."""

    least: float
    most: float
    above: bool  # ``least`` itself is none of them
    below: bool  # ``most`` itself is none of them
    whole: bool

    @classmethod
    def of(cls, text: str) -> Limit:
        """
        >>> Limit.of("whole [1, inf)").words(), Limit.of("(0, 1]").words()
        ('a whole number of 1 or more', 'a number above 0, at most 1')
        """
        kind, ends = ("whole", text[6:]) if text.startswith("whole") else ("", text)
        ends = ends.strip()
        least, most = (float(end) for end in ends[1:-1].split(","))
        return cls(least, most, ends[0] == "(", ends[-1] == ")", kind == "whole")

    def holds(self, value: Any) -> bool:
        """Whether it is such a number."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        inside = self.least < value if self.above else self.least <= value
        return inside and (value < self.most if self.below else value <= self.most) and math.isfinite(value)

    def words(self) -> str:
        """Such a number, in a sentence."""
        kind = "a whole number" if self.whole else "a number"
        least, most = (f"{end:.0f}" for end in (self.least, self.most))
        if self.most == math.inf:
            return kind + (
                "" if self.least == -math.inf else f" above {least}" if self.above else f" of {least} or more"
            )
        if self.above:
            return f"{kind} above {least}, {'below' if self.below else 'at most'} {most}"
        return f"{kind} from {least} to {'below ' if self.below else ''}{most}"


@functools.cache
def _rows(named: bool) -> list[tuple[re.Pattern[str], Limit]]:
    found = []
    for text, patterns in RANGES.items():
        chosen = [pattern for pattern in patterns.split() if not (named and "*" in pattern)]
        found.append((re.compile("|".join(map(translate, chosen)) or "(?!)"), Limit.of(text)))
    return found


def limit_of(key: str, foreign: bool = False) -> Limit | None:
    """The range of a setting; None where there is none.

    Args:
        foreign: of a part that is none of this package's, whose ``strength`` or ``threshold`` may be anything.
    """
    return next((limit for pattern, limit in _rows(foreign) if pattern.fullmatch(key)), None)


def settings(node: Any, path: str = "", foreign: bool = False) -> Iterator[tuple[str, Any, bool]]:
    """Keys and values of a resolved configuration, but for mappings, and whether they are of somebody else's part."""
    if not isinstance(node, Mapping):
        yield path, node, foreign
        return
    foreign = not str(node["_target_"]).startswith("anon.") if "_target_" in node else foreign
    for name, value in node.items():
        yield from settings(value, f"{path}.{name}" if path else str(name), foreign)


def out_of_range(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys of a resolved configuration whose value is no such number, with the sentence."""
    for key, value, foreign in settings(content):
        named = _OR_FILE.fullmatch(key) or ".trained." in key  # by names of defenses, jpeg too
        file = named and isinstance(value, str)
        limit = None if value is None or file else limit_of(key, foreign)
        each = value if isinstance(value, list) else [value]
        if limit is not None and (not each or not all(map(limit.holds, each))):
            shown = str(value).lower() if isinstance(value, bool) else value
            yield key, f"{key}={shown} must be {'one or more, each ' * isinstance(value, list)}{limit.words()}."


def of_other_types(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys of :data:`TYPES` and :data:`BUILT` with another type, with the sentence."""
    for key, hint in TYPES.items():
        found = at(content, key.split("."))
        if found is not GONE and not fits(found, hint):
            yield key, misfit(key, found, hint)
        elif key in ("task", "experiment", "scale") and isinstance(found, str) and not _NAME.fullmatch(found):
            yield key, f"{key}='{found}' must be a name that a folder can have, without '/'."
        elif key == "paths.runs" and found == "":
            yield key, "paths.runs is empty; name a folder, such as paths.runs=runs."
    for key in ("ckpt_path", "checkpoint"):
        if content.get(key) == "":
            yield key, f"{key} is empty; give last, a checkpoint file or a run folder."
    for key, value, _ in settings(content):
        if isinstance(value, str) and re.match(r"~[\w.-]*(/|$)", value) and os.path.expanduser(value) == value:
            yield key, f"{key}={value}: there is no such home folder."
    for section, kind in (("callbacks", pl.Callback), ("logger", Logger)):
        parts = content.get(section)
        for name, part in parts.items() if isinstance(parts, Mapping) else ():
            if isinstance(part, Mapping) and "_target_" in part and not fits(part, kind):
                yield f"{section}.{name}", misfit(f"{section}.{name}", part, kind)
    for key, hint in BUILT.items():
        if key in content and not fits(content[key], hint):
            yield key, f"{misfit(key, content[key], hint).rstrip('.')}; conf/{key} has some."
