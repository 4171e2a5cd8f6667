"""The ladder of adversaries in one table: who finds anonymized people again, from doing nothing to retraining.

    python evaluate.py experiment=ladder
    python evaluate.py experiment=ladder anonymizer@protocol.victim=blur protocol.adversaries.reconstruction=null \
        +attack@protocol.adversaries.wiener=wiener

(the second against a filter, with the classical recovery that fits it: wiener for blur, depixelate for pixelate,
non_local_means for pixel_noise). Probes are anonymized once, defended in each way and published in eight bits; every
adversary then has them in its own way, by the four hooks of :mod:`anon.attacks`:

    found iff the nearest of judge_a(gallery(enrolled)) to probe(judge_a(images(published))), within the threshold, is
    the right person; judge_a = judge(the judge)

An adversary who enrols other pictures or brings a recognizer compares other distances: its threshold is taken anew, at
the same false accept rate, on background people treated as it treats those whom it enrols. A parrot runs the whole
published software, defense included, on an instance of its own, with its own memory and random numbers; no adversary
has a key. The retrained adversaries learned from pictures with the same defense; the transferred from another method's.
"""

from __future__ import annotations

import copy
import functools
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from anon.anonymizers.composed import Anonymizer
from anon.anonymizers.plugged import as_anonymizer, name_of
from anon.attacks.contract import Attack, AttackLike, overrides
from anon.attacks.reconstruction import Reconstruction
from anon.attacks.victim import title_of
from anon.defenses.contract import DefenseLike
from anon.defenses.defended import Defended, complete
from anon.defenses.parameters import ParameterNoise
from anon.errors import UserError
from anon.evaluation import protocol as rules
from anon.evaluation import results as files
from anon.evaluation.bootstrap import Bootstrap
from anon.evaluation.embeddings import batches, embed, embedded
from anon.evaluation.eyes import JUDGE, Eyes, gather
from anon.evaluation.figures import Figure, Row
from anon.evaluation.gallery import Gallery
from anon.evaluation.harness.store import cache_of
from anon.evaluation.judging import check_adversary, check_cosine, check_recognizes, judge_notes
from anon.evaluation.ladder_table import REAL, RETRAINED, TRANSFERRED, as_markdown
from anon.evaluation.modes import four_rows
from anon.evaluation.provenance import Provenance
from anon.evaluation.thresholds import Calibrated, calibrated_probes
from anon.evaluation.trained import adversary, attack_config, check_folder, check_victim, learned_on, met, newest
from anon.faces.contract import FaceSet, check_made, published
from anon.generators.contract import GeneratorLike
from anon.identity.contract import JudgeLike, check_embeddings
from anon.identity.encoder import Encoder
from anon.metrics.retrieval import retrieval_distances

Defense = DefenseLike | ParameterNoise
Completed = Callable[[int], AttackLike]  # a number that seeds its randomness -> the attack, without memory
_MODES = {
    "Negation": ("", "negation"),
    "AnchorSampling": (" + Sampling", "sampling"),
    "IdentityTracker": (" + ITM", "itm"),
}


@dataclass(frozen=True)
class LadderProtocol(rules.Protocol):
    """What every protocol chooses, as far as it concerns the judge, the anonymizer, its defenses and its adversaries.

    Args:
        victim: configuration of an anonymizer, which may be a function of the data; None: the checkpoint's with ITM.
        defenses: configurations by the name of their rows; None: switched off.
        adversaries: configurations of attacks by the name of their rows; None: switched off. A partial is a parrot.
        retrained: checkpoints of attacks trained on pictures that were defended so, by the defense's name.
        folder: runs of ``attack=ladder``, in which those that ``retrained`` does not name are looked for.
        transferred: checkpoints of attacks that were trained on another anonymizer, by its name.
        probes: pictures of a person that are attacked, at most.
    """

    victim: Any = None
    defenses: Mapping[str, Any] = field(default_factory=dict)
    adversaries: Mapping[str, Any] = field(default_factory=dict)
    retrained: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None
    transferred: Mapping[str, str] = field(default_factory=dict)
    probes: int = 4


class Victim(NamedTuple):
    """The anonymizer as it was built, called by nobody: who anonymizes does it with a copy."""

    pristine: nn.Module
    name: str
    policy: str

    def fresh(self) -> nn.Module:
        """A copy: nothing that it remembers or draws is shared."""
        return copy.deepcopy(self.pristine)


class Armed(NamedTuple):
    """An adversary with its recognizer, those it enrolled, and where it accepts."""

    attack: AttackLike
    recognizer: JudgeLike
    gallery: Gallery
    accepts: Calibrated
    anew: bool  # the threshold is not the judge's


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
    """Evaluate the adversaries; prints the table, and the paths of the files with results.json last.

    Args:
        model_generator: trained, in eval mode, on the device that is to be used.
        encoder: the conditioning encoder it was trained with.
        judge: another recognizer.
        data: gives the splits train, background and evaluation.
        cfg: ``protocol``, ``policy`` (itm), ``seed``, ``paths.cache``.
        output: folder for results.json, table.md and table.csv.
        train_config: of the training run, kept in the results.
        name: of the method in the rows.
        commit: of the checkout, kept in the results.

    Returns:
        Path of results.json.

    Raises:
        UserError: an attack that was trained with the judge, ``retrained`` naming no defense, a recognizer that does
            not compare by cosine, or too little data for the FAR.
    """
    rule = cast(LadderProtocol, instantiate(cfg.protocol))
    check_folder(rule.folder, "ladder")
    odd = sorted(set(rule.retrained) - set(rule.defenses))
    if odd:
        raise UserError(f"protocol.retrained names '{odd[0]}', which is none of: {', '.join(rule.defenses)}.")
    device = gather(model_generator, encoder, judge)
    check_cosine(judge, "The judge")
    seen = Eyes(encoder, judge, rule, device, cache_of(OmegaConf.select(cfg, "paths.cache")))
    notes: list[str] = []
    victim = _victim(rule, model_generator, encoder, name, data, cfg, seen, notes)
    own = encoder if rule.victim is None else getattr(victim.pristine, "encoder", None)
    if own is not None:
        notes += [*judge_notes(own, judge, rule), *seen.kinship(own, data.faces("background"))]

    faces = data.faces("evaluation")
    half = rules.halves(faces)
    probe = rules.probes_of(faces, half, rule.probes)
    labels = faces.labels[probe]
    ground = Ground(judge, own, seen, faces, half.enrol, data.faces("background"), int(cfg.seed))
    attacks, moved, retrained = _attacks(rule, judge, device)
    provenance = Provenance(rule)
    again = {f"{RETRAINED} {key}": attack for key, attack in retrained.items()}
    for title, part in {victim.name: victim.pristine, f"the judge {judge.name}": judge, **attacks, **again}.items():
        provenance.check(part, title, faces.names, faces.synthetic, data.name)
    notes += provenance.notes()
    naive = next((attack for attack in attacks.values() if isinstance(attack, Reconstruction)), None)
    chosen = {key: given for key, given in rule.defenses.items() if given is not None}
    defenses = {key: complete(instantiate(given), naive) for key, given in chosen.items()}
    notes += _whom_they_learned(
        victim.pristine, attacks, moved, {key: (retrained[key], defenses[key]) for key in retrained}
    )
    armed: dict[str, dict[str, Armed]] = {}
    for key, defense in defenses.items():
        own_attacks = attacks | moved | ({RETRAINED: retrained[key]} if key in retrained else {})
        made = {who: _completed(attack, victim, defense, device) for who, attack in own_attacks.items()}
        armed[key] = {REAL: ground.known} | {who: ground.arm(who, make) for who, make in made.items()}
    found = attacked(victim, defenses, armed, seen, faces, probe, int(cfg.seed))

    bootstrap = Bootstrap(labels, rule.resamples, int(cfg.seed))
    rows = []
    for key, by_name in armed.items():
        for who, one in by_name.items():
            method, policy = (REAL, "none") if who == REAL else (victim.name, victim.policy)
            kind = type(one.attack).__name__.lower()
            metrics = _figures(found[key][who], labels, one, bootstrap)
            rows.append(Row(method, data.name, "evaluation", policy, key, kind, who, metrics))
    people, known = len(ground.known.gallery.people), ground.known.accepts.found
    counts: dict[str, int | float] = {
        "identities": len(labels.unique()),
        "probes": len(probe),
        "gallery": people,
        "chance": 1 / people,
        "background_pairs": known.impostor_pairs,
        "far_background": known.far,
        "background_eer": known.eer,
    }
    config = {"evaluation": files.plain(cfg), "training": files.plain(train_config), "encoder": encoder.name}
    results = files.Results(int(cfg.seed), rows, judge.name, known.threshold, rule.far, counts, config, commit, notes)
    table = as_markdown(results)
    files.write(output / "table.md", table)
    files.write(output / "table.csv", files.as_csv(results))
    path = output / "results.json"
    files.write(path, files.as_json(results))
    print(f"\n{table}\ntable {output / 'table.md'}\nrun folder {output}\n{path}", flush=True)
    return path


class Ground:
    """What all adversaries share: the judge, the people to enrol, and the background people for thresholds."""

    def __init__(
        self,
        judge: JudgeLike,
        encoder: Encoder | None,
        seen: Eyes,
        faces: FaceSet,
        enrol: Tensor,
        background: FaceSet,
        seed: int,
    ) -> None:
        self.judge, self.encoder, self.seen, self.seed = judge, encoder, seen, seed
        self.faces, self.enrol, self.background = faces, enrol, background
        roles = rules.calibrating(background, seen.rule.calibration_images)
        self.calibrating = roles.every  # indices
        self.roles = roles.within(self.calibrating)
        accepts = self._calibrated(seen.see(JUDGE, background, self.calibrating), "the judge")
        check_recognizes(accepts.found, judge, seen.rule)
        gallery = seen.gallery(JUDGE, faces, enrol, accepts.found)
        self.known = Armed(Attack(), judge, gallery, accepts, anew=False)  # the adversary who does nothing

    def arm(self, who: str, make: Completed) -> Armed:
        """Enrol, and calibrate with a second instance, which remembers nobody of those who are enrolled."""
        attack, again = make(self.seed + 1), make(self.seed + 2)
        recognizer = attack.judge(self.judge)
        if recognizer is self.judge and not overrides(attack, "gallery"):
            return self.known._replace(attack=attack)
        check_cosine(recognizer, f"The recognizer of '{who}'")
        z = self._embed(again, recognizer, self.background, self.calibrating, f"calibrating {who}")
        accepts = self._calibrated(z, f"the adversary '{who}'")
        if recognizer is not self.judge:

            def plain() -> rules.Calibration:
                z = self._embed(Attack(), recognizer, self.background, self.calibrating, f"checking {who}")
                return self._calibrated(z, f"the adversary '{who}'").found

            check_adversary(recognizer, self.encoder, self.seen.rule, who, accepts.found, plain)
        z = self._embed(attack, recognizer, self.faces, self.enrol, f"enrolling for {who}")
        gallery = Gallery.of(z, self.faces.labels[self.enrol], self.faces.videos[self.enrol], accepts.found)
        return Armed(attack, recognizer, gallery, accepts, anew=True)

    def _calibrated(self, z: Tensor, who: str) -> Calibrated:
        rule, faces, which = self.seen.rule, self.background, self.calibrating
        labels, videos = faces.labels[which], faces.videos[which]
        return calibrated_probes(z, labels, videos, self.roles, rule.far, who, rule.resamples, self.seed)

    def _embed(self, attack: AttackLike, recognizer: JudgeLike, faces: FaceSet, indices: Tensor, what: str) -> Tensor:
        def enrolled(images: Tensor) -> Tensor:
            return embedded(recognizer, published(attack.gallery(images), images, f"The adversary, {what},"))

        return embed(enrolled, faces, indices, what, self.seen.rule.batch_size, self.seen.device)


@torch.no_grad()
def attacked(
    victim: Victim,
    defenses: Mapping[str, Defense],
    armed: Mapping[str, Mapping[str, Armed]],
    seen: Eyes,
    faces: FaceSet,
    probe: Tensor,
    seed: int,
) -> dict[str, dict[str, Tensor]]:
    """What each adversary compares, by defense and adversary: (P, D) after its own recognizer.

    The rows ``Real`` are the judge's view of the faces themselves behind the same defense: what the defense does to
    recognition when nothing is anonymized.
    """
    anonymizer = victim.fresh()
    rng, real_rng = (torch.Generator(seen.device).manual_seed(seed) for _ in range(2))
    keep: dict[str, defaultdict[str, list[Tensor]]] = {key: defaultdict(list) for key in defenses}
    for batch in batches(faces, probe, seen.rule.batch_size, "attacking faces"):
        target = batch["image"].to(seen.device)
        plainly = anonymizer(target, rng=rng)  # below, copies of it: defenses and attacks may work in place
        for key, defense in defenses.items():
            if isinstance(defense, ParameterNoise):
                changed, real = Defended(anonymizer, defense)(target, rng=rng), target
            else:
                changed = defense(plainly.clone(), target=target.clone(), rng=rng)
                real = defense(target.clone(), target=target.clone(), rng=real_rng)
            changed, real = published(changed, target, f"{victim.name} behind {key}"), published(real, target, key)
            for who, one in armed[key].items():
                shown = real if who == REAL else changed
                after = check_made(one.attack.images(shown.clone()), shown, f"The adversary '{who}'")
                z = one.attack.probe(embedded(one.recognizer, after))
                keep[key][who].append(check_embeddings(z, len(after), one.recognizer).float().cpu())
    return {key: {who: torch.cat(parts) for who, parts in by_name.items()} for key, by_name in keep.items()}


def _victim(
    rule: LadderProtocol,
    generator: GeneratorLike,
    encoder: Encoder,
    name: str,
    data: rules.Data,
    cfg: DictConfig,
    seen: Eyes,
    notes: list[str],
) -> Victim:
    if rule.victim is None:
        method = four_rows(name, encoder, generator, cfg.policy, seen.basis(data, int(cfg.seed)), notes)[-1]
        assert method.anonymizer is not None
        return Victim(method.anonymizer, method.name, method.policy)
    made = as_anonymizer(instantiate(rule.victim), "protocol.victim", data).to(seen.device).eval()
    if not isinstance(made, Anonymizer):
        return Victim(made, name_of(made), "none")
    kind = type(made.policy).__name__
    mode, policy = _MODES.get(kind, (f" + {kind}", kind.lower()))
    return Victim(made, f"{type(made.generator).__name__}{mode}", policy)


def _whom_they_learned(
    victim: nn.Module,
    attacks: Mapping[str, AttackLike | functools.partial],
    moved: Mapping[str, AttackLike],
    retrained: Mapping[str, tuple[AttackLike, Defense]],
) -> list[str]:
    """What a reader must know of the trained adversaries.

    Raises:
        UserError: one learned another anonymizer and is not called transferred, or is called so and learned this one.
    """
    notes: list[tuple[str, str | None]] = []
    for who, attack in attacks.items():
        way_out = (
            f"train one on it, give it as protocol.transferred.<whom it learned>, or protocol.adversaries.{who}=null"
        )
        notes.append((who, check_victim(attack, victim, f"protocol.adversaries.{who}", way_out)))
    for key, (attack, defense) in retrained.items():
        way_out = f"train one: python train.py experiment=reconstruction +defense@attack.defense={key}"
        who = f"protocol.retrained.{key}"
        notes.append((f"{RETRAINED}, {key}", check_victim(attack, victim, who, way_out, defense, adaptive=True)))
    for who, attack in moved.items():
        found, (_, record) = met(attack, victim), learned_on(attack)
        if found is not None and found.note is None:
            raise UserError(
                f"The attack '{who}' learned this anonymizer itself; give it as protocol.adversaries.<name>."
            )
        notes.append((who, found.note if record is None and found else f"learned on {title_of(record or {})}"))
    return [f"{who}: {note}." for who, note in notes if note is not None]


def _attacks(
    rule: LadderProtocol, judge: JudgeLike, device: Any
) -> tuple[dict[str, AttackLike | functools.partial], dict[str, AttackLike], dict[str, AttackLike]]:
    """The adversaries of all defenses by name, those who learned another victim, and the retrained ones by defense."""

    def trained(checkpoint: object) -> AttackLike:
        return cast(AttackLike, adversary(attack_config(str(checkpoint)), judge, device))

    fixed = {who: adversary(given, judge, device) for who, given in rule.adversaries.items() if given is not None}
    moved = {f"{TRANSFERRED}{origin}": trained(checkpoint) for origin, checkpoint in rule.transferred.items()}
    checkpoints = {key: rule.retrained.get(key) or newest(rule.folder, key) for key in rule.defenses}
    retrained = {key: trained(checkpoint) for key, checkpoint in checkpoints.items() if checkpoint is not None}
    return fixed, moved, retrained


def _completed(
    attack: AttackLike | functools.partial, victim: Victim, defense: Defense, device: torch.device
) -> Completed:
    """An attack that wants the anonymizer (a parrot) gets the published software, each time a new instance."""

    def make(seed: int) -> AttackLike:
        if not isinstance(attack, functools.partial):
            return attack
        software = Defended(victim.fresh(), defense)
        made: AttackLike = attack(anonymizer=software, rng=torch.Generator(device).manual_seed(seed))
        return made.to(device).eval() if isinstance(made, nn.Module) else made

    return make


def _figures(z: Tensor, labels: Tensor, one: Armed, bootstrap: Bootstrap) -> dict[str, Figure]:
    distance = retrieval_distances(z, labels, one.gallery.averages, one.gallery.people)
    return {
        "found": bootstrap.below(distance, one.gallery.threshold, one.gallery.levels, labels),
        "rank1": bootstrap.below(distance, float("inf"), None, labels),
        "threshold": one.accepts.threshold,
        "eer": one.accepts.eer,
        "recalibrated": Figure(float(one.anew)),
    }
