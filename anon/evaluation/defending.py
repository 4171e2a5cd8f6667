"""Faces that are anonymized once, published behind several defenses, and attacked: what FIVA's section 3.6 measures.

    X_p = defense(X_c) in eight bits,   X_r = R(X_p),   RA = share of the X_r that the judge retrieves

R is the *naive* attacker, trained on undefended pairs, or an *adaptive* one, trained on pictures with the same defense.
Table 3 (:mod:`anon.evaluation.table3`), figure 3 (:mod:`anon.evaluation.noise_share`) and figure 4
(:mod:`anon.evaluation.strip`) share it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from anon.anonymizers.composed import Anonymizer
from anon.attacks.reconstruction import Reconstruction
from anon.defenses.contract import DefenseLike
from anon.defenses.defended import Defended
from anon.defenses.parameters import ParameterNoise
from anon.errors import UserError
from anon.evaluation import protocol as rules
from anon.evaluation import results as files
from anon.evaluation.bootstrap import Bootstrap
from anon.evaluation.embeddings import batches
from anon.evaluation.figures import Figure, Row
from anon.evaluation.measure import ENCODER, JUDGE, Embed, Instruments, attribute_errors, known_attributes
from anon.evaluation.score import Gallery
from anon.evaluation.table1 import (
    Data,
    Eyes,
    adversary,
    embedding_cache,
    four_rows,
    gather,
    instruments_of,
    judge_notes,
    plain,
)
from anon.faces.contract import FaceSet, in_eight_bits
from anon.generators.contract import GeneratorLike
from anon.identity.contract import JudgeLike
from anon.identity.encoder import Encoder
from anon.metrics.attributes import NAMES
from anon.metrics.preservation import detected, feature_distance, ssim
from anon.metrics.retrieval import retrieval_hits

Defenses = Mapping[str, DefenseLike | ParameterNoise]


@dataclass(frozen=True)
class Setting:
    """The anonymizer, who is attacked and by whom, and what looks at the faces."""

    name: str  # of the method
    policy: str
    data: str
    anonymizer: Anonymizer
    naive: Reconstruction
    encoder: Encoder  # of the training: its maps give the feature distance
    judge: Embed
    instruments: Instruments
    missing: Mapping[str, str]
    faces: FaceSet
    probe: Tensor  # (P,) indices of the attacked pictures
    gallery: Gallery
    bootstrap: Bootstrap
    rule: rules.Protocol
    device: torch.device
    seed: int
    counts: Mapping[str, int | float]
    notes: list[str]

    @property
    def labels(self) -> Tensor:
        """(P,) who the probes are."""
        return self.faces.labels[self.probe]

    def row(self, defense: str, metrics: dict[str, Figure]) -> Row:
        """One line of the results."""
        return Row(self.name, self.data, "evaluation", self.policy, defense, "reconstruction", metrics=metrics)

    def results(
        self, rows: list[Row], unchanged: Figure, config: Mapping[str, Any], judge: str, commit: str | None
    ) -> files.Results:
        """The rows with how they were measured; ``unchanged``: what the detector finds of the faces as they are."""
        counts = dict(self.counts)
        if unchanged.value is not None:
            bounds = {"": unchanged.value, "_low": unchanged.low, "_high": unchanged.high}
            counts |= {f"detected_unchanged{end}": value for end, value in bounds.items() if value is not None}
        far, threshold = self.rule.far, self.gallery.threshold
        config = {**config, "encoder": self.encoder.name}
        return files.Results(self.seed, rows, judge, threshold, far, counts, config, commit, self.notes)


def arrange(
    model_generator: GeneratorLike,
    encoder: Encoder,
    judge: JudgeLike,
    data: Data,
    cfg: DictConfig,
    rule: rules.Protocol,
    name: str,
    probes: int,
) -> Setting:
    """Calibrate, make the anchors and the tracker, enrol; arguments as :func:`anon.evaluation.table1.run`.

    Args:
        rule: ``cfg.protocol``, built.
        probes: pictures of a person that are attacked, at most.

    Raises:
        UserError: no trained attack, one that was trained with the judge, the judge is the encoder, or too little data.
    """
    notes = judge_notes(encoder, judge, rule)
    device = gather(model_generator, encoder, judge)
    naive = adversary(cfg.get("attack"), judge, device)
    if not isinstance(naive, Reconstruction):
        raise UserError("Defenses are measured with a trained attack: attack=reconstruction attack.checkpoint=<file>.")
    seen = Eyes(encoder, judge, rule, device, embedding_cache(cfg))
    calibrated = {who: seen.calibrate(who, data.faces("background")) for who in (JUDGE, ENCODER)}
    anchors = seen.anchors(data.faces("train"), int(cfg.seed)).to(device)
    method = four_rows(name, encoder, model_generator, cfg.policy, anchors, calibrated[ENCODER].threshold)[-1]

    faces = data.faces("evaluation")
    half = rules.halves(faces)
    probe = rules.probes_of(faces, half, probes)
    gallery = seen.gallery(JUDGE, faces, half.enrol, calibrated[JUDGE].threshold)
    instruments, missing = instruments_of(cfg, seen, rule, faces, device)
    return Setting(
        name=method.name,
        policy=method.policy,
        data=data.name,
        anonymizer=cast(Anonymizer, method.anonymizer),
        naive=naive,
        encoder=encoder,
        judge=seen.embed[JUDGE],
        instruments=instruments,
        missing=missing,
        faces=faces,
        probe=probe,
        gallery=gallery,
        bootstrap=Bootstrap(faces.labels[probe], rule.resamples, int(cfg.seed)),
        rule=rule,
        device=device,
        seed=int(cfg.seed),
        counts={
            "identities": len(faces.labels[probe].unique()),
            "probes": len(probe),
            "gallery": len(gallery.people),
            "chance": 1 / len(gallery.people),
            "background_pairs": calibrated[JUDGE].impostor_pairs,
            "far_background": calibrated[JUDGE].far,
        },
        notes=notes,
    )


def adapted(cfg: DictConfig, checkpoint: str | Path, judge: JudgeLike, device: torch.device) -> Reconstruction:
    """The attack of ``cfg.attack`` with another checkpoint: that of an adaptive adversary."""
    return cast(Reconstruction, adversary({**plain(cfg.attack), "checkpoint": str(checkpoint)}, judge, device))


def published_faces(
    anonymizer: nn.Module, defenses: Defenses, target: Tensor, plainly: Tensor, rng: torch.Generator
) -> Iterator[tuple[str, Tensor]]:
    """Each defense's name and its faces (B, 3, H, W), in the eight bits in which pictures are published.

    Args:
        target: the true faces, which the defender owns.
        plainly: the anonymized ones without a defense.
    """
    for key, defense in defenses.items():
        if isinstance(defense, ParameterNoise):
            face = Defended(anonymizer, defense)(target, rng=rng)
        else:
            face = defense(plainly, target=target, rng=rng)
        yield key, in_eight_bits(face)


class Attacked(NamedTuple):
    """What :func:`defend` keeps, per probe and on the CPU."""

    values: dict[str, dict[str, Tensor]]  # by defense: the judge's embeddings as "z ...", and numbers (P,)
    found_unchanged: Tensor | None  # (P,) whether the detector finds the faces as they are


@torch.no_grad()
def defend(setting: Setting, defenses: Defenses, adaptive: Mapping[str, Reconstruction]) -> Attacked:
    """Anonymize, defend and attack every probe.

    The picture's costs (SSIM, LPIPS or its stand-in) compare the published face with the undefended one, attributes
    with the truth.

    Args:
        adaptive: attacks by the name of the defense that they learned from.
    """
    keep: dict[str, defaultdict[str, list[Tensor]]] = {key: defaultdict(list) for key in defenses}
    unchanged: list[Tensor] = []
    rng = torch.Generator().manual_seed(setting.seed)
    tools, judge, layers = setting.instruments, setting.judge, setting.encoder.layers
    for batch in batches(setting.faces, setting.probe, setting.rule.batch_size, "defending faces"):
        target = batch["image"].to(setting.device)
        truth = known_attributes(batch, setting.device)
        plainly = setting.anonymizer(target, rng=rng)
        maps = setting.encoder(plainly, layers).maps if layers and tools.lpips is None else ()
        if tools.detector is not None:
            unchanged.append(detected(tools.detector, target))
        for key, face in published_faces(setting.anonymizer, defenses, target, plainly, rng):
            values = {
                "z published": judge(face),
                "z RA": judge(setting.naive.images(face)),
                "ssim": ssim(face, plainly),
            }
            if key in adaptive:
                values["z RA_adaptive"] = judge(adaptive[key].images(face))
            if tools.lpips is not None:
                values["lpips"] = tools.lpips(face, plainly)
            elif layers:
                values["feature_distance"] = feature_distance(setting.encoder(face, layers).maps, maps)
            if tools.detector is not None:
                values["detected"] = detected(tools.detector, face)
            if tools.estimator is not None:
                values |= attribute_errors(tools.estimator, face, target, truth)
            for what, value in values.items():
                keep[key][what].append(value.float().cpu())
    joined = {key: {what: torch.cat(parts) for what, parts in values.items()} for key, values in keep.items()}
    return Attacked(joined, torch.cat(unchanged) if unchanged else None)


def figures(values: Mapping[str, Tensor], setting: Setting) -> dict[str, Figure]:
    """The figures of one defense, each with its interval over identities."""
    gallery, labels, bootstrap = setting.gallery, setting.labels, setting.bootstrap

    def share(z: Tensor, limit: float) -> Figure:
        hits = retrieval_hits(z, labels, gallery.averages, gallery.people, limit)
        return bootstrap.mean(hits.double(), labels, share=True)

    found = {"ID": share(values["z published"], gallery.threshold)}
    for attack in ("RA", "RA_adaptive"):
        for name, limit in ((attack, gallery.threshold), (f"{attack}_rank1", float("inf"))):
            z = values.get(f"z {attack}")
            found[name] = Figure.absent("not trained") if z is None else share(z, limit)
    found["ssim"] = bootstrap.mean(values["ssim"], labels)
    for name in ("lpips", "feature_distance"):
        if name in values:
            found[name] = bootstrap.mean(values[name], labels)
    found["detected"] = detection(values.get("detected"), setting)
    return found | {f"{key}_error": bootstrap.mean(values[key], labels) for key in NAMES if key in values}


def detection(found: Tensor | None, setting: Setting) -> Figure:
    """Share of the faces that the detector finds, or why nobody looked."""
    if found is None:
        return Figure.absent(setting.missing.get("detected", "n/a"))
    return setting.bootstrap.mean(found.double(), setting.labels, share=True)


def measured_how(results: files.Results) -> str:
    """Judge, probes, gallery and chance in a sentence."""
    counts = results.counts
    return (
        f"Judge {results.judge}, hit below cosine distance {results.threshold:.3f} (FAR {results.far:g}): "
        f"{counts['probes']:,} probes of {counts['identities']:,} people, a gallery of {counts['gallery']:,}, chance "
        f"{counts['chance']:.2g}."
    )


def costs_how(results: files.Results) -> str:
    """What the costs are, in sentences."""
    costs, counts = ["SSIM"], results.counts
    if "lpips" in results.rows[0].metrics:
        costs.append("LPIPS")
    if "feature_distance" in results.rows[0].metrics:
        costs.append(
            f"feature_distance (LPIPS' form on the maps of {results.config['encoder']}, the training encoder, without "
            "learned weights: not comparable with LPIPS)"
        )
    said = f"{' and '.join(costs)}: the published face against the anonymized one before the defense, in full precision"
    said += "; errors: against the truth."
    if "detected_unchanged" in counts:
        low, high = counts.get("detected_unchanged_low"), counts.get("detected_unchanged_high")
        found = Figure(counts["detected_unchanged"], low, high)
        said += f" detected: by a face detector, which finds {found.text()} of the faces as they are."
    return said
