"""Faces that are anonymized once, published behind several defenses, and attacked: FIVA's section 3.5.

    X_p = defense(X_c) in eight bits,   X_r = R(X_p),   RA = share of the X_r that the judge retrieves

R is the *naive* attacker, trained on undefended pairs, or an *adaptive* one, trained on pictures with such a defense.
Figure 3 (:mod:`anon.evaluation.noise_share`) is made of it; table 3 is a table of the harness.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from anon.anonymizers.composed import Anonymizer
from anon.attacks.reconstruction import Reconstruction
from anon.attacks.victim import title_of
from anon.attributes.contract import READABLE, Estimator
from anon.attributes.distances import distances
from anon.attributes.regressor import AttributeRegressor
from anon.defenses.contract import DefenseLike
from anon.errors import UserError
from anon.evaluation import protocol as rules
from anon.evaluation import results as files
from anon.evaluation.bootstrap import Bootstrap
from anon.evaluation.embeddings import batches
from anon.evaluation.eyes import JUDGE, Embed, Eyes, gather
from anon.evaluation.figures import Figure, Row
from anon.evaluation.gallery import Gallery
from anon.evaluation.harness.readers import Tools, tools_of
from anon.evaluation.harness.store import cache_of
from anon.evaluation.judging import check_cosine, judge_notes
from anon.evaluation.modes import four_rows
from anon.evaluation.provenance import Provenance
from anon.evaluation.trained import adversary, check_victim
from anon.faces.contract import FaceSet, check_made, published
from anon.faces.detection.contract import Detector
from anon.generators.contract import GeneratorLike
from anon.identity.contract import JudgeLike
from anon.identity.encoder import Encoder
from anon.metrics.attributes import NAMES
from anon.metrics.preservation import Lpips, detected, feature_distance, ssim
from anon.metrics.retrieval import retrieval_distances

WAY_OUT = "train one: python train.py experiment=reconstruction attack.victim.checkpoint=<the evaluated checkpoint>"


@dataclass(frozen=True)
class Setting:
    """The anonymizer, who is attacked and by whom, and what looks at the faces."""

    name: str  # of the method
    policy: str
    data: str
    anonymizer: Anonymizer
    naive: Reconstruction  # it learned this anonymizer
    encoder: Encoder  # of the training: its maps give the feature distance
    judge: Embed
    estimator: Estimator | None
    detector: Detector | None
    lpips: nn.Module | None
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
    data: rules.Data,
    cfg: DictConfig,
    rule: rules.Protocol,
    name: str,
    probes: int,
) -> Setting:
    """Calibrate, make the anchors and the tracker, enrol.

    Args:
        model_generator, encoder, judge, data, cfg, name: see :func:`anon.evaluation.noise_share.run`.
        rule: ``cfg.protocol``, built.
        probes: pictures of a person that are attacked, at most.

    Raises:
        UserError: no trained attack, one that was trained with the judge, the judge is the encoder, or too little data.
    """
    check_cosine(judge, "The judge")
    notes = judge_notes(encoder, judge, rule)
    device = gather(model_generator, encoder, judge)
    naive = None if cfg.get("attack") is None else adversary(cfg.attack, judge, device)
    if not isinstance(naive, Reconstruction):
        raise UserError("Defenses are measured with a trained attack: attack=reconstruction attack.checkpoint=<file>.")
    seen = Eyes(encoder, judge, rule, device, cache_of(OmegaConf.select(cfg, "paths.cache")))
    calibrated = seen.calibrate_probes(JUDGE, data.faces("background"), int(cfg.seed)).found
    notes += seen.kinship(encoder, data.faces("background"))
    mode = four_rows(name, encoder, model_generator, cfg.policy, seen.basis(data, int(cfg.seed)), notes)[-1]
    note = check_victim(naive, mode.anonymizer, "attack.checkpoint", WAY_OUT)
    notes += [f"The attack: {note}."] if note else []

    faces = data.faces("evaluation")
    provenance = Provenance(rule)
    for part, title in ((mode.anonymizer, name), (naive, "the attack"), (judge, f"the judge {judge.name}")):
        provenance.check(part, title, faces.names, faces.synthetic, data.name)
    half = rules.halves(faces)
    probe = rules.probes_of(faces, half, probes)
    gallery = seen.gallery(JUDGE, faces, half.enrol, calibrated)
    tools = tools_of(cfg.metrics, device)
    lpips = OmegaConf.select(cfg, "metrics.lpips")
    return Setting(
        name=mode.name,
        policy=mode.policy,
        data=data.name,
        anonymizer=cast(Anonymizer, mode.anonymizer),
        naive=naive,
        encoder=encoder,
        judge=seen.embed[JUDGE],
        estimator=_usable(tools, faces),
        detector=next(iter(tools.detectors.values()), None),
        lpips=None if lpips is None else Lpips(lpips).to(device),
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
            "background_pairs": calibrated.impostor_pairs,
            "far_background": calibrated.far,
            **calibrated.interval(),
        },
        notes=[*notes, *provenance.notes()],
    )


def _usable(tools: Tools, faces: FaceSet) -> Estimator | None:
    """The estimator, unless it knows rendered faces only and these are not such."""
    rendered = isinstance(tools.attributes, AttributeRegressor) and not set(NAMES) <= set(faces[0])
    return None if rendered else tools.attributes


def adapted(
    cfg: DictConfig, checkpoint: str | Path, judge: JudgeLike, device: torch.device, setting: Setting, defense: Any
) -> Reconstruction:
    """The attack of ``cfg.attack`` with another checkpoint: that of an adversary who learned faces behind a defense.

    Args:
        setting: whom it attacks; its notes get what a reader must know.
        defense: one of those it meets, of any strength.

    Raises:
        UserError: it learned another anonymizer, or no defense of this kind.
    """
    found = cast(Reconstruction, adversary({**files.plain(cfg.attack), "checkpoint": str(checkpoint)}, judge, device))
    who = "protocol.adaptive"
    note = check_victim(found, setting.anonymizer, who, WAY_OUT)
    learned = (found.learned_on or {}).get("defense") or {}
    kind = str(learned.get("class")).rpartition(".")[2]
    if found.learned_on is not None and kind != type(defense).__name__:
        raise UserError(
            f"{who} learned no faces behind {type(defense).__name__}, but {title_of(found.learned_on)}; {WAY_OUT}."
        )
    setting.notes.extend([f"The adaptive attack: {note}."] if note else [])
    return found


class Attacked(NamedTuple):
    """What :func:`defend` keeps, per probe and on the CPU."""

    values: dict[str, dict[str, Tensor]]  # by defense: the judge's embeddings as "z ...", and numbers (P,)
    found_unchanged: Tensor | None  # (P,) whether the detector finds the faces as they are


@torch.no_grad()
def defend(setting: Setting, defenses: Mapping[str, DefenseLike], adaptive: Reconstruction | None) -> Attacked:
    """Anonymize, defend and attack every probe, in the eight bits in which pictures are published.

    The picture's costs (SSIM, LPIPS or its stand-in) compare the published face with the undefended one, attributes
    with the truth.
    """
    keep: dict[str, defaultdict[str, list[Tensor]]] = {key: defaultdict(list) for key in defenses}
    unchanged: list[Tensor] = []
    rng = torch.Generator().manual_seed(setting.seed)
    judge, layers = setting.judge, setting.encoder.layers
    for batch in batches(setting.faces, setting.probe, setting.rule.batch_size, "defending faces"):
        target = batch["image"].to(setting.device)
        truth = {name: cast(Tensor, batch[name]).to(setting.device) for name in READABLE if name in batch}  # type: ignore[literal-required]
        plainly = check_made(setting.anonymizer(target, rng=rng), target, "The method")
        maps = setting.encoder(plainly, layers).maps if layers and setting.lpips is None else ()
        if setting.detector is not None:
            unchanged.append(detected(setting.detector, target))
        for key, defense in defenses.items():
            # copies: what works in place changes neither what the next one sees nor the undefended face
            face = published(defense(plainly.clone(), target=target.clone(), rng=rng), target, f"The defense '{key}'")
            values = {
                "z published": judge(face),
                "z RA": judge(check_made(setting.naive.images(face.clone()), face, "The attack")),
                "ssim": ssim(face, plainly),
            }
            if adaptive is not None:
                values["z RA_adaptive"] = judge(check_made(adaptive.images(face.clone()), face, "The adaptive attack"))
            if setting.lpips is not None:
                values["lpips"] = setting.lpips(face, plainly)
            elif layers:
                values["feature_distance"] = feature_distance(setting.encoder(face, layers).maps, maps)
            if setting.detector is not None:
                values["detected"] = detected(setting.detector, face)
            if setting.estimator is not None:
                values |= _attribute_errors(setting.estimator, face, target, truth)
            for what, value in values.items():
                keep[key][what].append(value.float().cpu())
    joined = {key: {what: torch.cat(parts) for what, parts in values.items()} for key, values in keep.items()}
    return Attacked(joined, torch.cat(unchanged) if unchanged else None)


def _attribute_errors(
    estimator: Estimator, changed: Tensor, target: Tensor, truth: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Errors against the data's truth; where it has none in the estimator's form, against the target's reading.

    Published estimators are told where the face lies; the regressor knows the frame that it was trained in.
    """
    points = None if isinstance(estimator, AttributeRegressor) else truth.get("landmarks")
    read = estimator(changed, points)
    known = {name: value for name, value in truth.items() if name in read and read[name].shape == value.shape}
    if len(known) < len(read):
        known = {**estimator(target, points), **known}
    return distances(read, known)


def figures(values: Mapping[str, Tensor], setting: Setting) -> dict[str, Figure]:
    """The figures of one defense, each with its interval over identities."""
    gallery, labels, bootstrap = setting.gallery, setting.labels, setting.bootstrap

    def share(z: Tensor, limit: float, levels: Tensor | None = None) -> Figure:
        distance = retrieval_distances(z, labels, gallery.averages, gallery.people)
        return bootstrap.below(distance, limit, levels, labels)

    found = {"ID": share(values["z published"], gallery.threshold, gallery.levels)}
    for attack in ("RA", "RA_adaptive"):
        z = values.get(f"z {attack}")
        if z is None:
            found |= dict.fromkeys((attack, f"{attack}_rank1"), Figure.absent("not trained"))
            continue
        found[attack] = share(z, gallery.threshold, gallery.levels)
        found[f"{attack}_rank1"] = share(z, float("inf"))
    found["ssim"] = bootstrap.mean(values["ssim"], labels)
    for name in ("lpips", "feature_distance"):
        if name in values:
            found[name] = bootstrap.mean(values[name], labels)
    found["detected"] = detection(values.get("detected"), setting)
    return found | {f"{key}_error": bootstrap.mean(values[key], labels) for key in NAMES if key in values}


def detection(found: Tensor | None, setting: Setting) -> Figure:
    """Share of the faces that the detector finds, or why nobody looked."""
    if found is None:
        return Figure.absent("needs metrics.detectors")
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
