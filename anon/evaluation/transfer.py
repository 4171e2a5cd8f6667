"""Does an attack on one anonymizer work on another, and does it give fakes away? (FIVA, section 3.6, figure 5)

    python train.py experiment=reconstruction attack=transfer
    python evaluate.py protocol=transfer protocol.folder=runs/transfer
    python evaluate.py protocol=transfer +protocol.attacks.pixelate=<checkpoint> '~protocol.victims.solid'

A reconstruction network R that was trained on method A is shown what method B published. RA is the share of probes that
the judge then finds again. R(x) also tells whether x was changed: R has learned to change what its anonymizer made and
leaves a genuine face nearly as it is, so the judge's distance between x and R(x) is small for genuine faces,

    d(x) = 1 - cos(judge(x), judge(R(x)))        x is called changed where d(x) >= threshold

Probes are genuine faces, and the same ones changed, of people whom no attack has seen, all in the eight bits of
published pictures. No face is written, only figures.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from anon.anonymizers.contract import AnonymizerLike
from anon.anonymizers.plugged import as_anonymizer
from anon.attacks.contract import AttackLike
from anon.attacks.victim import title_of
from anon.errors import UserError
from anon.evaluation import protocol as rules
from anon.evaluation import results as files
from anon.evaluation.bootstrap import Bootstrap
from anon.evaluation.embeddings import batches
from anon.evaluation.eyes import JUDGE, Embed, Eyes
from anon.evaluation.figures import Figure, Row, short
from anon.evaluation.gallery import Gallery
from anon.evaluation.harness.store import cache_of
from anon.evaluation.judging import check_cosine, judge_notes
from anon.evaluation.provenance import Provenance
from anon.evaluation.shares import spread_ends
from anon.evaluation.trained import adversary, attack_config, check_folder, check_victim, learned_on, newest
from anon.faces.contract import FaceSet, check_images, check_made, in_eight_bits, published
from anon.identity.contract import JudgeLike
from anon.identity.encoder import Encoder
from anon.identity.verification import distance
from anon.metrics.detection import THRESHOLD, equal_error, flagged, resampled_detection, resampled_median, roc_auc
from anon.metrics.retrieval import retrieval_distances

GENUINE, NO_ATTACK = "genuine", "none"
MATRICES = {
    "RA": "RA ↓: found again after the attack",
    "RA_rank1": "RA rank-1 ↓: without the threshold",
    "AUC": "AUC of the detector (.5: blind)",
    "EER": "EER of the detector (.5: blind)",
    "flagged": "Share that the detector calls changed",
    "distance": "Median distance between a face and its reconstruction",
}
Distances = Mapping[tuple[str, str], tuple[Tensor, Tensor]]  # by (victim, attack): of genuine and of changed faces


@dataclass(frozen=True)
class TransferProtocol(rules.Protocol):
    """What every protocol chooses, as far as it concerns the judge, and who attacks whom.

    Args:
        victims: anonymizers by name, columns of the matrices; a partial is completed with ``data``.
        attacks: checkpoint, or ``shipped:<name>``, of an attack, by the name of what it was trained on: rows.
        folder: of the runs of ``attack=transfer``; gives the newest attack on each victim that ``attacks`` does not.
        probes: pictures of a person that are attacked, at most.
        threshold: of the detector, cosine distance; the paper's is 0.6.
    """

    needs_generator: ClassVar[bool] = False  # victims name their own checkpoints
    victims: Mapping[str, Any] = field(default_factory=dict)
    attacks: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None
    probes: int = 4
    threshold: float = THRESHOLD


def run(
    judge: JudgeLike,
    data: rules.Data,
    cfg: DictConfig,
    output: Path,
    *,
    device: torch.device | str = "cpu",
    commit: str | None = None,
) -> Path:
    """Every attack against every victim; prints the matrices, and the paths of the files with results.json last.

    Args:
        judge: no recognizer that trained a victim or an attack.
        data: gives the splits train, background and evaluation.
        cfg: ``protocol``, ``seed``, ``paths.cache``.
        output: folder for results.json, table.md, table.csv and histograms.png.

    Returns:
        Path of results.json.

    Raises:
        UserError: no attack or no victim, an attack or a victim that was trained with the judge, nobody to enrol and
            probe, or too little data for the FAR.
    """
    rule = cast(TransferProtocol, instantiate(cfg.protocol))
    found = attack_files(rule)
    check_cosine(judge, "The judge")
    if isinstance(judge, nn.Module):
        judge.to(device)
    attacks = {name: _attack(file, judge, device) for name, file in found.items()}
    victims = {name: _victim(made, data, device) for name, made in rule.victims.items()}
    trained = {name: getattr(victim, "encoder", None) for name, victim in victims.items()}
    encoders = {name: encoder for name, encoder in trained.items() if isinstance(encoder, Encoder)}
    notes = [note for name, encoder in encoders.items() for note in judge_notes(encoder, judge, rule, name)]
    alone = [name for name in victims if name not in attacks]
    if alone:
        notes.append(f"No attack was trained on: {', '.join(alone)}.")
    notes += _whom_they_learned(attacks, victims)

    seen = Eyes(None, judge, rule, device, cache_of(OmegaConf.select(cfg, "paths.cache")))
    calibrated = seen.calibrate_probes(JUDGE, data.faces("background"), int(cfg.seed)).found
    for name, encoder in encoders.items():
        notes += seen.kinship(encoder, data.faces("background"), name)
    faces = data.faces("evaluation")
    provenance = Provenance(rule)
    for title, part in {**victims, **attacks, f"the judge {judge.name}": judge}.items():
        provenance.check(part, title, faces.names, faces.synthetic, data.name)
    notes += provenance.notes()
    half = rules.halves(faces)
    probe = rules.probes_of(faces, half, rule.probes)
    labels = faces.labels[probe]
    gallery = seen.gallery(JUDGE, faces, half.enrol, calibrated)
    z = look(victims, attacks, seen.embed[JUDGE], faces, probe, rule.batch_size, int(cfg.seed), device)
    bootstrap = Bootstrap(labels, rule.resamples, int(cfg.seed))
    distances = {
        (victim, attack): (moved(z, GENUINE, attack), moved(z, victim, attack))
        for victim in victims
        for attack in attacks
    }
    rows = [
        Row(
            victim,
            data.name,
            "evaluation",
            attack=attack,
            metrics=_recognized(z[victim, NO_ATTACK], z[victim, attack], labels, gallery, bootstrap)
            | detected(*distances[victim, attack], labels, bootstrap, rule.threshold),
        )
        for victim, attack in distances
    ]
    people = len(gallery.people)
    counts: dict[str, int | float] = {
        "identities": len(labels.unique()),
        "probes": len(probe),
        "gallery": people,
        "chance": 1 / people,
        "background_pairs": calibrated.impostor_pairs,
        "far_background": calibrated.far,
        **calibrated.interval(),
        "detector_threshold": rule.threshold,
    }
    config = {"evaluation": files.plain(cfg), "attacks": found}
    results = files.Results(
        int(cfg.seed), rows, judge.name, calibrated.threshold, rule.far, counts, config, commit, notes
    )
    return _publish(results, distances, output)


def attack_files(rule: TransferProtocol) -> dict[str, str]:
    """Where the attacks are, by the name of what they were trained on.

    Raises:
        UserError: no victims, no such folder, or no attack in it.
    """
    if not rule.victims:
        raise UserError("protocol.victims names no anonymizer.")
    check_folder(rule.folder, "transfer")
    found = {name: newest(rule.folder, name) for name in rule.victims}
    given = {name: str(file) for name, file in found.items() if file is not None} | dict(rule.attacks)
    if not given:
        raise UserError(
            "There is no attack: train some (python train.py experiment=reconstruction attack=transfer) and give their "
            "protocol.folder=<folder>, or +protocol.attacks.<what it was trained on>=<checkpoint>."
        )
    if GENUINE in rule.victims or NO_ATTACK in given:
        raise UserError(f"protocol.victims and protocol.attacks cannot use the names '{GENUINE}' and '{NO_ATTACK}'.")
    return given


def _attack(file: str, judge: JudgeLike, device: Any) -> AttackLike:
    print(f"attack {file}", flush=True)
    return cast(AttackLike, adversary(attack_config(file), judge, device))


def _whom_they_learned(attacks: Mapping[str, AttackLike], victims: Mapping[str, AnonymizerLike]) -> list[str]:
    """What a reader must know of the attacks.

    Raises:
        UserError: one learned another anonymizer than the one whose name it has.
    """
    notes: list[str] = []
    for name, attack in attacks.items():
        learns, record = learned_on(attack)
        note = f"learned on {title_of(record)}" if record else "whom it learned is unknown" if learns else None
        if name in victims:
            where = f"protocol.attacks.{name}"
            note = check_victim(attack, victims[name], where, "give it the name of what it learned, or train it again")
        notes += [f"The attack {name}: {note}."] if note else []
    return notes


def _victim(made: Any, data: rules.Data, device: Any) -> AnonymizerLike:
    return cast(AnonymizerLike, as_anonymizer(made, "One of protocol.victims", data).to(device).eval())


@torch.no_grad()
def look(
    victims: Mapping[str, AnonymizerLike],
    attacks: Mapping[str, AttackLike],
    judge: Embed,
    faces: FaceSet,
    probe: Tensor,
    batch_size: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> dict[tuple[str, str], Tensor]:
    """The judge's embeddings (P, D) of the probes by (victim or "genuine", attack or "none").

    Each victim changes each probe once, in their order, with randomness of its own.
    """
    keep: defaultdict[tuple[str, str], list[Tensor]] = defaultdict(list)
    rngs = {name: torch.Generator(device).manual_seed(seed) for name in victims}

    for batch in batches(faces, probe, batch_size, "attacking faces"):
        target = in_eight_bits(check_images(batch["image"].to(device)))
        shown = {GENUINE: target}
        shown |= {name: published(victim(target, rng=rngs[name]), target, name) for name, victim in victims.items()}
        for name, images in shown.items():
            keep[name, NO_ATTACK].append(judge(images).float().cpu())
            for attack, undo in attacks.items():
                made = undo.images(images.clone())  # a copy: it may work in place
                keep[name, attack].append(judge(check_made(made, images, f"The attack on {attack}")).float().cpu())
    return {key: torch.cat(parts) for key, parts in keep.items()}


def moved(z: Mapping[tuple[str, str], Tensor], shown: str, attack: str) -> Tensor:
    """Cosine distance (P,) between faces and their reconstructions, exactly 0 where these are equal.

    Of unit vectors 1 - a·b = |a - b|² / 2, and rounding would otherwise decide between faces that R leaves alone.
    """
    return distance(z[shown, NO_ATTACK], z[shown, attack], "euclidean").square() / 2


def _recognized(
    changed: Tensor, attacked: Tensor, labels: Tensor, gallery: Gallery, bootstrap: Bootstrap
) -> dict[str, Figure]:
    """Who is found: among what was published (ID), and among what the attack makes of it."""
    published, undone = (retrieval_distances(z, labels, gallery.averages, gallery.people) for z in (changed, attacked))
    return {
        "ID": bootstrap.below(published, gallery.threshold, gallery.levels, labels),
        "RA": bootstrap.below(undone, gallery.threshold, gallery.levels, labels),
        "RA_rank1": bootstrap.below(undone, float("inf"), None, labels),
    }


def detected(
    genuine: Tensor, changed: Tensor, labels: Tensor, bootstrap: Bootstrap, threshold: float
) -> dict[str, Figure]:
    """The detector's figures from the distances of genuine and changed probes, (P,) each, of people (P,).

    Where the two do not overlap at all a resample cannot, either: AUC and EER have the ends of a share, see
    :func:`anon.evaluation.shares.spread_ends`.
    """
    place = torch.searchsorted(bootstrap.people, labels)
    people, count = len(place.unique()), 2 * len(labels)
    resampled = resampled_detection(genuine, changed, place, place, bootstrap.weights)
    auc, eer = roc_auc(genuine, changed), equal_error(genuine, changed)
    figures = {}
    for name, value, spread in (("AUC", auc, resampled.auc), ("EER", eer, resampled.eer)):
        low, high = spread_ends(value, spread, people)
        figures[name] = Figure(value, low, high, n=count) if people > 1 else Figure(value, n=count)
    for what, values in (("genuine", genuine), ("changed", changed)):
        shares = flagged(values, threshold).double()
        figures[f"flagged_{what}"] = bootstrap.mean(shares, labels, share=True)
        low, high = bootstrap.interval(resampled_median(values, place, bootstrap.weights))
        median = float(values.median())
        figures[f"distance_{what}"] = Figure(median, low, high, n=len(values)) if people > 1 else Figure(median)
    return figures


def as_markdown(results: files.Results) -> str:
    """The matrices: a row an attack, a column a victim, an attack on what it was trained on in bold."""
    counts = results.counts
    victims = list(dict.fromkeys(row.method for row in results.rows))
    attacks = list(dict.fromkeys(row.attack for row in results.rows))
    cell = {(row.method, row.attack): row.metrics for row in results.rows}
    lines = [f"# Attacks on {results.rows[0].data} and whom they work against", ""]
    lines += [f"**{note}**\n" for note in results.notes]
    for key, title in MATRICES.items():
        both = f"{key}_genuine" in results.rows[0].metrics  # genuine faces have a figure of their own
        body = [] if key != "RA" else [["no attack: ID", *(cell[name, attacks[0]]["ID"].text() for name in victims)]]
        for attack in attacks:
            texts = [cell[victims[0], attack][f"{key}_genuine"].text()] if both else []
            for victim in victims:
                text = cell[victim, attack][f"{key}_changed" if both else key].text()
                texts.append(f"**{text}**" if victim == attack else text)
            body.append([attack, *texts])
        head = ["trained on ↓ applied to →", *([GENUINE] if both else []), *victims]
        lines += [f"## {title}", "", *files.markdown_table(head, body), ""]
    lines.append(
        f"Judge {results.judge}; found again: the nearest of {counts['gallery']:,} enrolled people, below cosine "
        f"distance {short(results.threshold)} (FAR {results.far:g} on background people; chance {counts['chance']:.2g} "
        f"without it). {counts['probes']:,} probes of {counts['identities']:,} people whom no attack has seen, each "
        "genuine and changed. The detector calls a face changed where the judge's distance between it and its "
        f"reconstruction is {short(float(counts['detector_threshold']))} or more. Brackets: 95 %, bootstrap over "
        "identities. Bold: an attack on what it was trained on."
    )
    return "\n".join(lines) + "\n"


def histograms(distances: Distances, results: files.Results) -> bytes:
    """Figure 5 for every attack (rows) and victim (columns), as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Sheet

    victims = list(dict.fromkeys(victim for victim, _ in distances))
    attacks = list(dict.fromkeys(attack for _, attack in distances))
    auc = {(row.method, row.attack): row.metrics["AUC"].value for row in results.rows}
    threshold = float(results.counts["detector_threshold"])
    top = max(float(part.max()) for pair in distances.values() for part in pair)
    edges = torch.linspace(0.0, max(top, 1.2 * threshold), 41).tolist()
    sheet = Sheet(figsize=(0.6 + 2.5 * len(victims), 0.6 + 1.9 * len(attacks)), layout="constrained")
    FigureCanvasAgg(sheet)
    grid = sheet.subplots(len(attacks), len(victims), sharex=True, squeeze=False)
    for (victim, attack), (genuine, changed) in distances.items():
        axes = grid[attacks.index(attack), victims.index(victim)]
        for values, name in ((genuine, GENUINE), (changed, "changed")):
            part = 1.0 / len(values)
            axes.hist(values.clamp_min(0.0).tolist(), edges, weights=[part] * len(values), alpha=0.6, label=name)
        axes.axvline(threshold, color="black", linestyle="--", linewidth=1)
        axes.set_title(f"{victim}, AUC {short(auc[victim, attack] or 0.0)}", fontsize=9)
        axes.set_yticks([])
    for row, attack in enumerate(attacks):
        grid[row, 0].set_ylabel(f"R of {attack}")
    grid[0, 0].legend(fontsize=8)
    sheet.supxlabel("cosine distance between a face and its reconstruction", fontsize=9)
    buffer = io.BytesIO()
    sheet.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _publish(found: files.Results, distances: Distances, output: Path) -> Path:
    """Write everything, results.json last, print the matrices and the paths."""
    table = as_markdown(found)
    files.write(output / "table.md", table)
    files.write(output / "table.csv", files.as_csv(found))
    files.write(output / "histograms.png", histograms(distances, found))
    path = output / "results.json"
    files.write(path, files.as_json(found))
    print(f"\n{table}\ntable {output / 'table.md'}\nhistograms {output / 'histograms.png'}")
    print(f"run folder {output}\n{path}", flush=True)
    return path
