"""Table 1 of FIVA: Real, FIVA, FIVA + Sampling, FIVA + ITM (``python evaluate.py experiment=fiva``); RA with an attack.

background people -> thresholds; training people -> anchors; evaluation people -> enrolled, changed, retrieved. The
judge must be another network than the one that conditioned and trained the generator.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from anon.anonymizers.composed import Anonymizer
from anon.attacks.contract import AttackLike, overrides
from anon.attributes.regressor import AttributeRegressor
from anon.errors import UserError
from anon.evaluation import protocol as rules
from anon.evaluation import results as files
from anon.evaluation.bootstrap import Bootstrap
from anon.evaluation.embeddings import embed, kept, key_of, read_batch
from anon.evaluation.figures import Row
from anon.evaluation.grid import write_grid
from anon.evaluation.measure import ENCODER, JUDGE, Embed, Instruments, Method, measure
from anon.evaluation.published import published
from anon.evaluation.score import Gallery, Scene, score
from anon.faces.contract import FaceSet
from anon.generators.contract import GeneratorLike
from anon.identity.contract import JudgeLike, PolicyLike, check_judge
from anon.identity.encoder import Encoder
from anon.identity.policies import Negation, anchor_space, average
from anon.identity.verification import pair_distances
from anon.metrics.attributes import NAMES
from anon.metrics.preservation import Lpips


class Data(Protocol):
    """The data module, as far as an evaluation needs it."""

    name: str

    def faces(self, split: str) -> FaceSet: ...


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
    """Evaluate a generator; prints the table, and the paths of the files with results.json last.

    Args:
        model_generator: trained, in eval mode, on the device that is to be used.
        encoder: the conditioning encoder it was trained with.
        judge: another recognizer.
        data: gives the splits train, background and evaluation.
        cfg: ``protocol``, ``policy`` (itm), ``attack``, ``metrics``, ``seed``, ``logger.images``, ``paths.cache``.
        output: folder for results.json, table.md, table.csv and grid.png.
        train_config: of the training run, kept in the results.
        name: of the method in the rows.
        commit: of the checkout, kept in the results.

    Returns:
        Path of results.json.

    Raises:
        UserError: judge and encoder are one network, too little data for the FAR, or an unfit policy.
    """
    rule: rules.Protocol = instantiate(cfg.protocol)
    notes = judge_notes(encoder, judge, rule)
    device = gather(model_generator, encoder, judge)
    seen = Eyes(encoder, judge, rule, device, embedding_cache(cfg))

    calibrated = {who: seen.calibrate(who, data.faces("background")) for who in (JUDGE, ENCODER)}
    anchors = seen.anchors(data.faces("train"), int(cfg.seed))
    methods = four_rows(name, encoder, model_generator, cfg.policy, anchors.to(device), calibrated[ENCODER].threshold)

    faces = data.faces("evaluation")
    half = rules.halves(faces)
    if len(half.probe) == 0:
        raise UserError("Nobody in the evaluation split has two pictures, so nobody can be enrolled and probed.")
    clips = rules.clip_frames(faces, rule.clip_frames)
    items = torch.cat([half.probe, clips.flatten()]).unique()
    probes, labels = torch.isin(items, half.probe), faces.labels[half.probe]
    few = rules.first_of_each(labels, rule.degraded_probes)
    instruments, missing = instruments_of(cfg, seen, rule, faces, device)
    instruments.attack = adversary(cfg.get("attack"), judge, device)
    galleries = {who: seen.gallery(who, faces, half.enrol, calibrated[who].threshold) for who in (JUDGE, ENCODER)}
    measured = measure(
        methods, faces, items, probes, probes.masked_scatter(probes, few), instruments, rule.batch_size, device
    )
    scene = Scene(
        galleries=galleries,
        labels=labels,
        probes=probes,
        few=few,
        clips=torch.searchsorted(items, clips),
        clip_labels=faces.labels[clips[:, 0]],
        bootstrap=Bootstrap(faces.labels[items], rule.resamples, int(cfg.seed)),
        missing=missing,
    )
    real = measured["Real"]
    rows = [
        Row(method.name, data.name, "evaluation", method.policy, metrics=score(measured[method.name], scene, real))
        for method in methods
    ]
    _, impostor = pair_distances(real.z[JUDGE][probes], labels)
    people = len(galleries[JUDGE].people)
    counts: dict[str, int | float] = {
        "identities": len(labels.unique()),
        "probes": len(labels),
        "enrolled": len(half.enrol),
        "gallery": people,
        "distractors": people - len(labels.unique()),
        "clips": len(clips),
        "impostor_pairs": len(impostor),
        "far_evaluation": float((impostor < calibrated[JUDGE].threshold).double().mean()) if len(impostor) else 0.0,
        "background_pairs": calibrated[JUDGE].impostor_pairs,
        "far_background": calibrated[JUDGE].far,
        "background_eer": calibrated[JUDGE].eer,
        "encoder_threshold": calibrated[ENCODER].threshold,
        "encoder_background_eer": calibrated[ENCODER].eer,
        "tracker_threshold": float(methods[-1].anonymizer.policy.threshold),  # type: ignore[union-attr]
        "anchors": len(anchors),
    }
    config = {"evaluation": plain(cfg), "training": plain(train_config), "encoder": encoder.name}
    threshold = calibrated[JUDGE].threshold
    found = files.Results(int(cfg.seed), rows, judge.name, threshold, rule.far, counts, config, commit, notes)
    return _publish(found, output, methods, faces, half.probe, rule, seen, bool(cfg.logger.images))


def gather(generator: GeneratorLike, *recognizers: object) -> torch.device:
    """The generator's device, to which the recognizers are moved."""
    device = next(iter(getattr(generator, "parameters", list)()), torch.zeros(())).device
    for recognizer in recognizers:
        if isinstance(recognizer, nn.Module):
            recognizer.to(device)
    return device


class Eyes:
    """Both recognizers with their cached embeddings."""

    def __init__(
        self, encoder: Encoder, judge: JudgeLike, rule: rules.Protocol, device: Any, cache: Path | None
    ) -> None:
        self.rule, self.device, self.cache = rule, device, cache
        self.embed: dict[str, Embed] = {JUDGE: judge.embed, ENCODER: lambda images: encoder(images).z}
        networks = {JUDGE: judge, ENCODER: encoder}
        self.key = {
            who: hashlib.sha256(f"{network.fingerprint} {_seen_as(network)}".encode()).hexdigest()  # type: ignore[attr-defined]
            for who, network in networks.items()
        }

    def see(self, who: str, faces: FaceSet, indices: Tensor, what: str) -> Tensor:
        size, device = self.rule.batch_size, self.device
        return kept(
            self.cache,
            key_of(faces, indices, self.key[who]),
            lambda: embed(self.embed[who], faces, indices, what, size, device),
        )

    def calibrate(self, who: str, faces: FaceSet) -> rules.Calibration:
        indices = rules.some_of_each(faces, self.rule.calibration_images)
        z = self.see(who, faces, indices, f"calibrating the {who}")
        return rules.calibrate(z, faces.labels[indices], self.rule.far, f"the {who}")

    def anchors(self, faces: FaceSet, seed: int) -> Tensor:
        indices = rules.some_of_each(faces, self.rule.calibration_images)
        z, labels = self.see(ENCODER, faces, indices, "making anchors"), faces.labels[indices]
        people = len(labels.unique())
        size = min(self.rule.anchors, people * (people - 1) // 2)
        return anchor_space(z, labels, size, torch.Generator().manual_seed(seed))

    def gallery(self, who: str, faces: FaceSet, enrol: Tensor, threshold: float) -> Gallery:
        z, owners = self.see(who, faces, enrol, f"enrolling with the {who}"), faces.labels[enrol]
        return Gallery(*average(z, owners), z, owners, threshold)


def _seen_as(recognizer: object) -> list[str]:
    """All that changes what a network is shown: two settings of one file must not share cached embeddings."""
    inner = getattr(recognizer, "encoder", None)
    names = ("flip", "size", "bgr", "mean", "std", "chips")
    found = [getattr(part, name, None) for part in (recognizer, inner) for name in names]
    return [str(value.flatten().tolist() if isinstance(value, Tensor) else value) for value in found]


def judge_notes(encoder: Encoder, judge: JudgeLike, rule: rules.Protocol) -> list[str]:
    check_judge(judge)
    if judge.metric != "cosine":
        raise UserError(f"Table 1 needs a judge with cosine distances; '{judge.name}' has {judge.metric}.")
    if judge.fingerprint != encoder.fingerprint:
        return []
    if not rule.allow_training_encoder:
        raise UserError(
            f"The judge '{judge.name}' is the encoder that the generator was trained with, which would flatter every "
            "figure; choose another judge=..., or say protocol.allow_training_encoder=true."
        )
    return [f"The judge {judge.name} is the encoder that the generator was trained with: the figures flatter it."]


def four_rows(
    name: str, encoder: Encoder, generator: GeneratorLike, policy: DictConfig, anchors: Tensor, threshold: float
) -> list[Method]:
    """The four rows. ``policy`` is a tracker's configuration, whose own policy is the row Sampling."""
    sampling, tracker = built_policies(policy, anchors, threshold)
    return [
        Method("Real", "none", None),
        Method(name, "negation", Anonymizer(encoder, Negation(), generator), both_signs=True),
        Method(f"{name} + Sampling", "sampling", Anonymizer(encoder, sampling, generator)),
        Method(f"{name} + ITM", "itm", Anonymizer(encoder, tracker, generator)),
    ]


def adversary(
    attack: DictConfig | Mapping[str, Any] | None, judge: JudgeLike, device: Any, *, whole: bool = False
) -> AttackLike | None:
    """The adversary whose success is RA; refused where its own recognizer would judge it.

    ``whole``: all four hooks are used, as by the ladder; elsewhere one that enrols or recognizes for itself is refused.
    """
    if attack is None:
        return None
    found: AttackLike = instantiate(attack)
    alone = isinstance(found, functools.partial) or overrides(found, "gallery") or overrides(found, "judge")
    if alone and not whole:
        raise UserError("An attack with a gallery or a recognizer of its own is measured by experiment=ladder.")
    if getattr(found, "learned_with", None) == judge.fingerprint:
        raise UserError(f"The attack was trained with the judge '{judge.name}', which flatters it; choose another.")
    if isinstance(found, nn.Module):
        found.to(device).eval()
    return found


def built_policies(policy: DictConfig, anchors: Tensor, threshold: float) -> tuple[PolicyLike, PolicyLike]:
    """Sampling and ITM. ``policy`` is a tracker's configuration; its own threshold, if it has one, goes first.

    Raises:
        UserError: another policy.
    """
    if OmegaConf.select(policy, "policy") is None:
        raise UserError("Sampling and ITM are compared; use policy=itm.")
    sampling = instantiate(policy.policy)(anchors=anchors)
    chosen = threshold if policy.threshold is None else float(policy.threshold)
    return sampling, get_class(policy._target_)(sampling, threshold=chosen)


def instruments_of(
    cfg: DictConfig, seen: Eyes, rule: rules.Protocol, faces: FaceSet, device: torch.device
) -> tuple[Instruments, dict[str, str]]:
    """The measures that can be taken here, and why the others cannot."""
    missing: dict[str, str] = {"mask_area": "n/a (no mask)"}
    instruments = Instruments(seen.embed, degradations=tuple(rule.degradations))
    estimator = OmegaConf.select(cfg, "metrics.attributes")
    if estimator is None:
        missing |= dict.fromkeys(NAMES, "needs metrics.attributes")
    else:
        instruments.estimator = instantiate(estimator)
        missing |= {name: f"n/a ({instruments.estimator.name} does not read it)" for name in NAMES}
        if isinstance(instruments.estimator, nn.Module):
            instruments.estimator.to(device).eval()
        if isinstance(instruments.estimator, AttributeRegressor) and not set(NAMES) <= set(faces[0]):
            instruments.estimator = None  # it knows rendered faces only
            missing |= dict.fromkeys(NAMES, "n/a (no ground truth; see attributes@metrics.attributes)")
    lpips = OmegaConf.select(cfg, "metrics.lpips")
    if lpips is None:
        missing["lpips"] = "needs alexnet-owt-7be5be79.pth"
    else:
        instruments.lpips = Lpips(lpips).to(device)
    detector = OmegaConf.select(cfg, "metrics.detector")
    if detector is None:
        missing["detected"] = "needs metrics.detector"
    else:
        instruments.detector = instantiate(detector)
    return instruments, missing


def _publish(
    found: files.Results,
    output: Path,
    methods: list[Method],
    faces: FaceSet,
    probe: Tensor,
    rule: rules.Protocol,
    seen: Eyes,
    images: bool,
) -> Path:
    """Write everything, results.json last, print the table and the paths."""
    table = files.as_markdown(found, published("fiva_table1"))
    files.write(output / "table.md", table)
    files.write(output / "table.csv", files.as_csv(found))
    print(f"\n{table}")
    print(f"table {output / 'table.md'}")
    if rule.grid_faces > 0 and (faces.synthetic or images):
        labels = faces.labels[probe]
        firsts = [int(probe[(labels == label).nonzero()[0, 0]]) for label in labels.unique()[: rule.grid_faces]]
        target = read_batch(faces, firsts)["image"].to(seen.device)
        write_grid(output / "grid.png", methods, target, seen.embed[JUDGE])
        print(f"grid {output / 'grid.png'}")
    elif rule.grid_faces > 0:
        print("grid not written: these faces belong to somebody (logger.images=true writes it)")
    path = output / "results.json"
    files.write(path, files.as_json(found))
    print(f"run folder {output}")
    print(path, flush=True)
    return path


def embedding_cache(cfg: DictConfig) -> Path | None:
    folder = OmegaConf.select(cfg, "paths.cache")
    return None if folder is None else Path(str(folder)).expanduser() / "embeddings"


def plain(cfg: Mapping[str, Any] | DictConfig | None) -> Any:
    return OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg
