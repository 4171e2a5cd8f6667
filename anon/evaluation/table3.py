"""Table 3 of FIVA: what defenses leave of the reconstruction attack, and what they cost (section 3.6, figure 4).

    python evaluate.py experiment=table3
    python evaluate.py experiment=fiva checkpoint=<file> protocol=table3 attack=reconstruction attack.checkpoint=<file>

Every probe is anonymized once with the tracker (ITM) and then defended in each way, in the eight bits in which pictures
are published. The *naive* attacker was trained on undefended pairs; the *adaptive* ones on pictures with the same
defense: ``python train.py experiment=reconstruction attack=ladder paths.ladder=<folder>`` trains one for each, and
``protocol.folder=<folder>`` or ``+protocol.adaptive.<defense>=<checkpoint>`` names them. A defense has a cost, which
stands beside it: what it changes in the published face, whether a detector (``metrics.detector``) still finds it, and
what it does to pose, expression and gaze. strip.png shows it (:mod:`anon.evaluation.strip`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from hydra.utils import instantiate
from omegaconf import DictConfig

from anon.defenses.defended import complete
from anon.errors import UserError
from anon.evaluation import protocol as rules
from anon.evaluation import results as files
from anon.evaluation import strip
from anon.evaluation.defending import adapted, arrange, costs_how, defend, detection, figures, measured_how
from anon.evaluation.figures import short
from anon.evaluation.published import published
from anon.evaluation.table1 import Data, plain
from anon.evaluation.trained import newest
from anon.generators.contract import GeneratorLike
from anon.identity.contract import JudgeLike
from anon.identity.encoder import Encoder

COLUMNS = {
    "ID": "ID ↓",
    "RA": "RA naive ↓",
    "RA_rank1": "rank-1 ↓",
    "RA_adaptive": "RA adaptive ↓",
    "RA_adaptive_rank1": "rank-1 ↓",
    "ssim": "SSIM ↑",
}
COSTS = {"lpips": "LPIPS ↓", "feature_distance": "feature_distance ↓", "detected": "detected ↑"}


@dataclass(frozen=True)
class DefenseProtocol(rules.Protocol):
    """Table 1's choices as far as they concern the judge, and the defenses.

    Args:
        defenses: by the name of their rows; a gradient defense is a partial, which the attack completes.
        adaptive: checkpoints of attacks trained on pictures that were defended so, by the same names.
        folder: runs of ``attack=ladder``: the newest attack there for every defense that ``adaptive`` does not name.
        probes: pictures of a person that are attacked, at most.
        strip: which defenses strip.png shows, of ``grid_faces`` people.
    """

    defenses: Mapping[str, Any] = field(default_factory=dict)
    adaptive: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None
    probes: int = 8
    strip: Sequence[str] = ()

    def adaptive_checkpoints(self) -> dict[str, str]:
        """The checkpoints of the adaptive attacks by the name of their defense.

        Raises:
            UserError: ``adaptive`` or ``strip`` names no defense, or the folder holds an attack for none.
        """
        for option, names in (("adaptive", self.adaptive), ("strip", self.strip)):
            odd = sorted(set(names) - set(self.defenses))
            if odd:
                raise UserError(f"protocol.{option} names '{odd[0]}', which is none of: {', '.join(self.defenses)}.")
        found = {key: newest(self.folder, key) for key in self.defenses}
        if self.folder is not None and not any(found.values()):
            raise UserError(
                f"protocol.folder='{self.folder}' holds no trained attack for any of: {', '.join(self.defenses)}; "
                f"train them: python train.py experiment=reconstruction attack=ladder paths.ladder={self.folder}."
            )
        return {key: str(path) for key, path in found.items() if path is not None} | dict(self.adaptive)


def run(
    model_generator: GeneratorLike,
    encoder: Encoder,
    judge: JudgeLike,
    data: Data,
    cfg: DictConfig,
    output: Path,
    train_config: DictConfig | None = None,
    *,
    name: str = "FIVA",
    commit: str | None = None,
) -> Path:
    """Evaluate the defenses of a generator with ITM; arguments and files as :func:`table1.run`, and strip.png.

    Returns:
        Path of results.json.

    Raises:
        UserError: no trained attack, an attack that was trained with the judge, see also
            :meth:`DefenseProtocol.adaptive_checkpoints`, or too little data for the FAR.
    """
    rule = cast(DefenseProtocol, instantiate(cfg.protocol))
    checkpoints = rule.adaptive_checkpoints()
    setting = arrange(model_generator, encoder, judge, data, cfg, rule, name, rule.probes)
    adaptive = {key: adapted(cfg, checkpoint, judge, setting.device) for key, checkpoint in checkpoints.items()}
    defenses = {key: complete(defense, setting.naive) for key, defense in rule.defenses.items()}
    found = defend(setting, defenses, adaptive)
    rows = [setting.row(key, figures(values, setting)) for key, values in found.values.items()]
    config = {"evaluation": plain(cfg), "training": plain(train_config), "adaptive": checkpoints}
    results = setting.results(rows, detection(found.found_unchanged, setting), config, judge.name, commit)
    table = as_markdown(results)
    files.write(output / "table.md", table)
    files.write(output / "table.csv", files.as_csv(results))
    print(f"\n{table}\ntable {output / 'table.md'}")
    if rule.strip and rule.grid_faces > 0:
        shown = {key: defenses[key] for key in rule.strip}
        strip.publish(output / "strip.png", setting, shown, adaptive, bool(cfg.logger.images))
    path = output / "results.json"
    files.write(path, files.as_json(results))
    print(f"run folder {output}\n{path}", flush=True)
    return path


def as_markdown(results: files.Results) -> str:
    """A row a defense, the paper's figure beside it, then the costs, and how it was measured."""
    paper = published("fiva_table3")
    head = ["defense", *COLUMNS.values(), "RA, paper"]
    body = [
        [
            f"**{row.defense}**",
            *(row.metrics[key].text() for key in COLUMNS),
            short(paper.rows[row.defense]["RA"]) if row.defense in paper.rows else "-",
        ]
        for row in results.rows
    ]
    costs = [key for key in results.rows[0].metrics if key not in COLUMNS]
    rest = [[row.defense, *(row.metrics[key].text() for key in costs)] for row in results.rows]
    lines = [
        *(f"# Defenses of {results.rows[0].method} on {results.rows[0].data}", ""),
        *(f"**{note}**\n" for note in results.notes),
        *files.markdown_table(head, body),
        *("", f"Paper: {paper.source}; {paper.protocol}.", ""),
        f"{measured_how(results)} Brackets: 95 %, bootstrap over identities.",
        *("", "## What a defense costs", ""),
        *files.markdown_table(["defense", *(COSTS.get(key, f"{key} ↓") for key in costs)], rest),
        *("", costs_how(results)),
    ]
    return "\n".join(lines) + "\n"
