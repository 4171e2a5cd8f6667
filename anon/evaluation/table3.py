"""Table 3 of FIVA: what defenses leave of the reconstruction attack (section 3.6, table 3).

    python evaluate.py experiment=fiva checkpoint=<file> protocol=table3 attack=reconstruction attack.checkpoint=<file>

Every probe is anonymized once with the tracker (ITM) and then defended in each way, in the eight bits in which pictures
are published. The *naive* attacker was trained on undefended pairs; an *adaptive* one on pictures with the same defense
(``experiment=reconstruction +defense@attack.defense=...``) and is given by ``protocol.adaptive``. A defense has a cost,
which stands beside it: what it changes in the published face, and what it does to pose, expression and gaze.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn

from anon.attacks.reconstruction import Reconstruction
from anon.defenses.contract import DefenseLike
from anon.defenses.defended import Defended, complete
from anon.defenses.parameters import ParameterNoise
from anon.errors import UserError
from anon.evaluation import protocol as rules
from anon.evaluation import results as files
from anon.evaluation.bootstrap import Bootstrap
from anon.evaluation.embeddings import batches
from anon.evaluation.figures import Figure, Row, short
from anon.evaluation.measure import ENCODER, JUDGE, attribute_errors, known_attributes
from anon.evaluation.published import published
from anon.evaluation.score import Gallery
from anon.evaluation.table1 import (
    Data,
    Eyes,
    adversary,
    embedding_cache,
    four_rows,
    instruments_of,
    judge_notes,
    plain,
)
from anon.faces.contract import FaceSet, to_float, to_uint8
from anon.generators.contract import GeneratorLike
from anon.identity.contract import JudgeLike
from anon.identity.encoder import Encoder
from anon.metrics.attributes import NAMES
from anon.metrics.preservation import ssim
from anon.metrics.retrieval import retrieval_hits

COLUMNS = {
    "ID": "ID ↓",
    "RA": "RA naive ↓",
    "RA_adaptive": "RA adaptive ↓",
    "RA_rank1": "RA rank-1 ↓",
    "ssim": "SSIM ↑",
}


@dataclass(frozen=True)
class DefenseProtocol(rules.Protocol):
    """Table 1's choices as far as they concern the judge, and the defenses.

    Args:
        defenses: by the name of their rows; a gradient defense is a partial, which the attack completes.
        adaptive: checkpoints of attacks trained on pictures that were defended so, by the same names.
        probes: pictures of a person that are attacked, at most.
    """

    defenses: Mapping[str, Any] = field(default_factory=dict)
    adaptive: Mapping[str, str] = field(default_factory=dict)
    probes: int = 8


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
    """Evaluate the defenses of a generator with ITM; arguments, files and last line are those of :func:`table1.run`.

    Returns:
        Path of results.json.

    Raises:
        UserError: no trained attack, an attack that was trained with the judge, ``adaptive`` naming no defense, or too
            little data for the FAR.
    """
    rule = cast(DefenseProtocol, instantiate(cfg.protocol))
    odd = sorted(set(rule.adaptive) - set(rule.defenses))
    if odd:
        raise UserError(f"protocol.adaptive names '{odd[0]}', which is none of: {', '.join(rule.defenses)}.")
    notes = judge_notes(encoder, judge, rule)
    device = next(iter(getattr(model_generator, "parameters", list)()), torch.zeros(())).device
    for module in (encoder, judge):
        if isinstance(module, nn.Module):
            module.to(device)
    naive = adversary(cfg.get("attack"), judge, device)
    if not isinstance(naive, Reconstruction):
        raise UserError("Table 3 needs a trained attack: attack=reconstruction attack.checkpoint=<file>.")
    adaptive = {
        key: cast(Reconstruction, adversary({**plain(cfg.attack), "checkpoint": checkpoint}, judge, device))
        for key, checkpoint in rule.adaptive.items()
    }
    seen = Eyes(encoder, judge, rule, device, embedding_cache(cfg))
    calibrated = {who: seen.calibrate(who, data.faces("background")) for who in (JUDGE, ENCODER)}
    anchors = seen.anchors(data.faces("train"), int(cfg.seed)).to(device)
    method = four_rows(name, encoder, model_generator, cfg.policy, anchors, calibrated[ENCODER].threshold)[-1]
    assert method.anonymizer is not None

    faces = data.faces("evaluation")
    half = rules.halves(faces)
    probe = half.probe[rules.first_of_each(faces.labels[half.probe], rule.probes)]
    labels = faces.labels[probe]
    gallery = seen.gallery(JUDGE, faces, half.enrol, calibrated[JUDGE].threshold)
    defenses = {key: complete(defense, naive) for key, defense in rule.defenses.items()}
    found = defend(method.anonymizer, defenses, naive, adaptive, seen, cfg, faces, probe, int(cfg.seed))
    bootstrap = Bootstrap(labels, rule.resamples, int(cfg.seed))
    rows = [
        Row(
            method.name,
            data.name,
            "evaluation",
            method.policy,
            defense=key,
            attack="reconstruction",
            metrics=_figures(values, labels, gallery, bootstrap),
        )
        for key, values in found.items()
    ]
    people = len(gallery.people)
    counts: dict[str, int | float] = {
        "identities": len(labels.unique()),
        "probes": len(probe),
        "gallery": people,
        "chance": 1 / people,
        "background_pairs": calibrated[JUDGE].impostor_pairs,
        "far_background": calibrated[JUDGE].far,
    }
    config = {"evaluation": plain(cfg), "training": plain(train_config), "encoder": encoder.name}
    threshold = calibrated[JUDGE].threshold
    results = files.Results(int(cfg.seed), rows, judge.name, threshold, rule.far, counts, config, commit, notes)
    table = as_markdown(results)
    files.write(output / "table.md", table)
    files.write(output / "table.csv", files.as_csv(results))
    path = output / "results.json"
    files.write(path, files.as_json(results))
    print(f"\n{table}\ntable {output / 'table.md'}\nrun folder {output}\n{path}", flush=True)
    return path


@torch.no_grad()
def defend(
    anonymizer: nn.Module,
    defenses: Mapping[str, DefenseLike | ParameterNoise],
    naive: Reconstruction,
    adaptive: Mapping[str, Reconstruction],
    seen: Eyes,
    cfg: DictConfig,
    faces: FaceSet,
    probe: Tensor,
    seed: int,
) -> dict[str, dict[str, Tensor]]:
    """By defense: the judge's embeddings ``z ...`` of published and of reconstructed faces, and numbers, per probe."""
    instruments, _ = instruments_of(cfg, seen, seen.rule, faces, seen.device)
    keep: dict[str, defaultdict[str, list[Tensor]]] = {key: defaultdict(list) for key in defenses}
    rng = torch.Generator().manual_seed(seed)
    judge = seen.embed[JUDGE]
    for batch in batches(faces, probe, seen.rule.batch_size, "defending faces"):
        target = batch["image"].to(seen.device)
        truth = known_attributes(batch, seen.device)
        plainly = anonymizer(target, rng=rng)
        for key, defense in defenses.items():
            if isinstance(defense, ParameterNoise):
                published_face = Defended(anonymizer, defense)(target, rng=rng)
            else:
                published_face = defense(plainly, target=target, rng=rng)
            published_face = to_float(to_uint8(published_face)).to(seen.device)
            values = {
                "z published": judge(published_face),
                "z RA": judge(naive.images(published_face)),
                "ssim": ssim(published_face, plainly),
            }
            if key in adaptive:
                values["z RA_adaptive"] = judge(adaptive[key].images(published_face))
            if instruments.estimator is not None:
                values |= attribute_errors(instruments.estimator, published_face, target, truth)
            for what, value in values.items():
                keep[key][what].append(value.float().cpu())
    return {key: {what: torch.cat(parts) for what, parts in values.items()} for key, values in keep.items()}


def _figures(values: Mapping[str, Tensor], labels: Tensor, gallery: Gallery, bootstrap: Bootstrap) -> dict[str, Figure]:
    def share(z: Tensor, limit: float) -> Figure:
        hits = retrieval_hits(z, labels, gallery.averages, gallery.people, limit)
        return bootstrap.mean(hits.double(), labels, share=True)

    figures = {"ID": share(values["z published"], gallery.threshold), "RA": share(values["z RA"], gallery.threshold)}
    figures["RA_rank1"] = share(values["z RA"], float("inf"))
    if "z RA_adaptive" in values:
        figures["RA_adaptive"] = share(values["z RA_adaptive"], gallery.threshold)
    else:
        figures["RA_adaptive"] = Figure.absent("not trained")
    figures["ssim"] = bootstrap.mean(values["ssim"], labels)
    return figures | {f"{key}_error": bootstrap.mean(values[key], labels) for key in NAMES if key in values}


def as_markdown(results: files.Results) -> str:
    """A row a defense, the paper's figure beside it, then the costs, and how it was measured."""
    counts, paper = results.counts, published("fiva_table3")
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
        f"Judge {results.judge}, hit below cosine distance {short(results.threshold)} (FAR {results.far:g}): "
        f"{counts['probes']:,} probes of {counts['identities']:,} people, a gallery of {counts['gallery']:,}, chance "
        f"{counts['chance']:.2g}. SSIM and the errors are of the published face: what a defense costs. Brackets: 95 %, "
        "bootstrap over identities.",
        *("", *files.markdown_table(["defense", *costs], rest)),
    ]
    return "\n".join(lines) + "\n"
