"""LFW with the second photograph of each pair anonymized (CIAGAN, Maximov et al., CVPR 2020; FIVA, table 2).

    python evaluate.py experiment=fiva protocol=lfw protocol.collection.root=<lfw> protocol.collection.points=<csv>

No pair is judged by a threshold that it helped to choose: that of a fold is taken at FAR 0.001 over the mismatched
pairs of the *unchanged* photographs of the other folds, which the official list keeps apart by people. Brackets are
95 % over people, with the threshold's own spread. The row Real is the recognizer itself, with insightface's accuracy
and VAL. Anchors and the tracker's threshold come from ``data``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from anon.errors import UserError
from anon.evaluation import protocol as rules
from anon.evaluation import results as files
from anon.evaluation.bootstrap import Bootstrap
from anon.evaluation.eyes import JUDGE, Eyes, gather
from anon.evaluation.figures import Row, short
from anon.evaluation.harness.store import cache_of
from anon.evaluation.judging import check_cosine, check_recognizes, judge_notes
from anon.evaluation.modes import four_rows
from anon.evaluation.pairs import PairSet, Scale, distances, embed_pairs, enrolled, fold_thresholds, score_pairs
from anon.evaluation.provenance import Provenance
from anon.evaluation.published import published
from anon.faces.collections.photographs.lfw import LFW
from anon.faces.detection.contract import Detector
from anon.faces.splits import person
from anon.generators.contract import GeneratorLike
from anon.identity.contract import JudgeLike
from anon.identity.encoder import Encoder
from anon.identity.verification import equal_error_rate

COLUMNS = {"TPR": "TPR ↓", "TPR_own": "TPR, own threshold ↓", "ID": "ID ↓", "accuracy": "accuracy ↓", "VAL": "VAL ↓"}


@dataclass(frozen=True)
class LfwProtocol(rules.Protocol):
    """What every protocol chooses, as far as it concerns recognizers and anchors, and the pairs.

    Args:
        collection: the photographs, their pairs and points.
        view: list of pairs, see :meth:`LFW.pairs`.
        size: side of the aligned faces in pixels.
        detector: finds the faces that have no points.
    """

    collection: LFW | None = None
    view: str = "pairs.txt"
    size: int = 112
    detector: Detector | None = None


def run(
    model_generator: GeneratorLike,
    encoder: Encoder,
    judge: JudgeLike,
    data: rules.Data,
    cfg: DictConfig,
    output: Path,
    train_config: DictConfig | None = None,
    *,
    name: str = "FIVA",
    commit: str | None = None,
) -> Path:
    """Evaluate a generator on pairs; prints the table, and the paths of the files with results.json last.

    Args:
        model_generator: trained, in eval mode, on the device that is to be used.
        encoder: the conditioning encoder it was trained with.
        judge: another recognizer.
        data: gives the splits train and background.
        cfg: ``protocol``, ``policy`` (itm), ``seed``, ``paths.cache``.
        output: folder for results.json, table.md and table.csv.
        train_config: of the training run, kept in the results.
        name: of the method in the rows.
        commit: of the checkout, kept in the results.

    Returns:
        Path of results.json.

    Raises:
        UserError: unfit pairs or photographs, judge and encoder are one network, or too few pairs for the FAR.
    """
    rule = cast(LfwProtocol, instantiate(cfg.protocol))
    if rule.collection is None:
        raise UserError("protocol=lfw needs protocol.collection, the photographs and their pairs.")
    pictures = PairSet(rule.collection, rule.view, rule.size, rule.detector)
    if pictures.folds < 2:
        raise UserError(f"{rule.view} has one set of pairs, and the accuracy needs two folds or more.")
    mismatched = int((~pictures.same).sum())
    learning = mismatched - int(pictures.fold[~pictures.same].bincount(minlength=pictures.folds).max())
    if learning * rule.far < 1:  # said before the long part
        raise UserError(
            f"A threshold at FAR {rule.far:g} needs {math.ceil(1 / rule.far):,} mismatched pairs outside of the fold "
            f"that it judges, and {rule.view} has {learning:,}; raise protocol.far."
        )
    check_cosine(judge, "The judge")
    provenance = Provenance(rule)
    for part, title in ((model_generator, name), (encoder, encoder.name), (judge, f"the judge {judge.name}")):
        provenance.check(part, title, pictures.names, False, "LFW")
    notes = [*judge_notes(encoder, judge, rule), *provenance.notes()]
    device = gather(model_generator, encoder, judge)
    seen = Eyes(encoder, judge, rule, device, cache_of(OmegaConf.select(cfg, "paths.cache")))
    notes += seen.kinship(encoder, data.faces("background"))
    methods = four_rows(name, encoder, model_generator, cfg.policy, seen.basis(data, int(cfg.seed)), notes)
    groups = [set(pictures.people[pictures.fold == number].flatten().tolist()) for number in range(pictures.folds)]
    if sum(map(len, groups)) > len(pictures.names):
        notes.append(f"The folds of {rule.view} share people, so a fold's threshold knows some whom it judges.")
    known = len(set(map(person, data.faces("train").names)) & set(map(person, pictures.names)))
    if known:
        notes.append(f"{known:,} of the {len(pictures.names):,} people of the pairs are in the training split of data.")

    changed = {method.name: method.anonymizer for method in methods}
    z = embed_pairs(pictures, changed, seen.embed[JUDGE], rule.batch_size, device)
    real = z["Real"]
    bootstrap = Bootstrap(pictures.people.flatten(), rule.resamples, int(cfg.seed))
    unchanged = distances(real, real, pictures)
    eer, limit = equal_error_rate(unchanged[pictures.same], unchanged[~pictures.same])
    check_recognizes(rules.Calibration(limit, eer, eer, mismatched), judge, rule)
    scale = Scale(real, fold_thresholds(unchanged, pictures, rule.far, bootstrap), rule.far, bootstrap)
    thresholds = scale.thresholds[0]  # (folds,)
    accepted = unchanged < thresholds[pictures.fold]
    rows = [
        Row(method.name, "lfw", rule.view, method.policy, metrics=score_pairs(z[method.name], pictures, scale))
        for method in methods
    ]
    probes, owners, gallery, people = enrolled(pictures)
    counts: dict[str, int | float] = {
        "pairs": len(pictures.same),
        "genuine": int(pictures.same.sum()),
        "impostor": mismatched,
        "folds": pictures.folds,
        "identities": len(pictures.names),
        "photographs": len(pictures.files),
        "probes": len(probes),
        "probe_identities": len(owners.unique()),
        "enrolled": len(gallery),
        "gallery": len(people.unique()),
        "far_achieved": float(accepted[~pictures.same].double().mean()),
        "threshold_least": float(thresholds.min()),
        "threshold_most": float(thresholds.max()),
        "training_identities": known,
        **{f"points_{where}": count for where, count in pictures.placed.items()},
    }
    config = {"evaluation": files.plain(cfg), "training": files.plain(train_config), "encoder": encoder.name}
    threshold = float(thresholds.mean())
    found = files.Results(int(cfg.seed), rows, judge.name, threshold, rule.far, counts, config, commit, notes)
    return _publish(found, output)


def as_markdown(results: files.Results) -> str:
    """Our rows, the paper's table below them, and how it was measured."""
    counts, paper = results.counts, published("fiva_table2")
    body = [[f"**{row.method}**", *(row.metrics[name].text() for name in COLUMNS)] for row in results.rows]
    blank = ["-"] * (len(COLUMNS) - 1)
    body += [[f"*paper: {method}*", short(printed["ID"]), *blank] for method, printed in paper.rows.items()]
    lines: Sequence[str] = [
        *("# Pairs of LFW, the second photograph of each changed", ""),
        *(f"**{note}**\n" for note in results.notes),
        *files.markdown_table(["", *COLUMNS.values()], body),
        *("", f"Paper: {paper.source}; {paper.protocol}; printed there as ID.", ""),
        f"Judge {results.judge}, pairs below the cosine distance at FAR {results.far:g} on the other folds' mismatched "
        f"pairs of unchanged photographs, {short(results.threshold)} on average ({short(counts['threshold_least'])} to "
        f"{short(counts['threshold_most'])}), FAR {counts['far_achieved']:.2g} on the {counts['impostor']:,} that it "
        "judges; own threshold: the same rate on the other folds' mismatched pairs with the second changed. "
        f"{counts['genuine']:,} matched pairs, {counts['identities']:,} people, {counts['folds']} folds (all of LFW: "
        f"6,000 pairs in 10). ID: {counts['probes']:,} second photographs against {counts['enrolled']:,} enrolled of "
        f"{counts['gallery']:,} people. Brackets: 95 %, over people, the threshold's spread in it. Accuracy and VAL: "
        "insightface's procedure.",
    ]
    return "\n".join(lines) + "\n"


def _publish(found: files.Results, output: Path) -> Path:
    """Write everything, results.json last, print the table and the paths."""
    table = as_markdown(found)
    files.write(output / "table.md", table)
    files.write(output / "table.csv", files.as_csv(found))
    path = output / "results.json"
    files.write(path, files.as_json(found))
    print(f"\n{table}\ntable {output / 'table.md'}\nrun folder {output}")
    print(path, flush=True)
    return path
