"""Measure what was trained (recognizer, estimator, swapper, anonymizer, attack) and ship it, with a model card.

usage: anon ship <run folder> <name> [--trust <package> ...]

  <run folder>   of a finished training
  <name>         of the weights, such as synthetic_a
  --trust        packages of your own whose parts the checkpoint may build

Half-precision safetensors; the figures on the card are of those, on evaluation identities that no training has seen.
Exit codes: 0 done, 2 a mistake that you can mend, 130 stopped.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from anon import weights
from anon.apps.checkpoints import Trained, read_checkpoint, restore_generator, restore_module
from anon.apps.config import choices, composed, judges_of
from anon.apps.launch.failures import guarded
from anon.apps.run_folders.folder import LAST
from anon.apps.run_folders.started import start_record
from anon.apps.untrusted import Rendered, faces_of, rendered_of, trusting
from anon.apps.victims import record_of
from anon.attacks.victim import title_of
from anon.attributes.expression import ExpressionEmbedder
from anon.attributes.expression_classes import CLASSES
from anon.attributes.expression_figures import measure, swap_check, synthetic_swaps
from anon.attributes.look import LookRegressor, explained
from anon.attributes.regressor import AttributeRegressor, Attributes, attribute_errors
from anon.commands import Parser, in_utf8, path
from anon.errors import UserError
from anon.evaluation.classified import classifier_figures
from anon.evaluation.denoised import diffusion_losses, triple_losses
from anon.evaluation.document import Document, Line, read
from anon.evaluation.embeddings import batches
from anon.evaluation.harness import run as harness
from anon.evaluation.judges.provenance import listed
from anon.faces.contract import FaceSet
from anon.faces.learned import DOMAINS
from anon.faces.synthetic.dataset import people_of
from anon.faces.synthetic.look import LOOK
from anon.generators.contract import GeneratorLike
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.identity.verification import evaluate_recognizer
from anon.metrics.look import mean_distances
from anon.plain import MAX_YAML, read_json, read_text
from anon.training.attribute_classifier import AttributeClassifierTraining
from anon.training.attributes import AttributeTraining
from anon.training.diffusion import DiffusionTraining
from anon.training.distillation import DistillationTraining
from anon.training.expression import ExpressionTraining
from anon.training.inpainting import InpaintingTraining
from anon.training.look import LookTraining, look_of_people
from anon.training.made_simple import MadeSimpleTraining
from anon.training.recognizer import RecognizerTraining
from anon.training.reconstruction import ReconstructionTraining
from anon.training.reversible import ReversibleTraining
from anon.training.robustness import WorstPicture, robust_figures
from anon.training.target_oriented import TargetOriented
from anon.weights.files import SHIPPED

TABLE1: tuple[str, ...] = ("ID", "purified_ID", "ID_rank1", "negID", "look_moved", "diversity", "hf_ratio")
TABLE1 += ("ssim", "mask_area", "pose_error", "expression_error", "gaze_error")
ATTACKED = ("ID", "RA", "RA_rank1")
SWAPPED: tuple[str, ...] = ("swap_ID", "swap_ID_threshold", "swap_ID_target", "cosine_source", "cosine_target")
SWAPPED += ("pose_error", "expression_error", "gaze_error", "landmarks_error")
RECOVERED: tuple[str, ...] = ("ID", "ID_rank1", "recovery_right_verified", "recovery_right_ssim")
RECOVERED += ("recovery_wrong_verified", "guess_verified", "guess_any", "short_found", "short_key")
RECOVERED += ("known_1", "known_8", "known_32", "known_64", "linked_same", "linked_apart")
BRIEF = ["data.clips.evaluation=0", "suite.grid_faces=0"]  # table 1 alone
BRIEF += ["suite.tables.robustness=null", "suite.tables.identities=null"]
#: What of a training ships.
_PARTS = {RecognizerTraining: "backbone", AttributeTraining: "regressor", AttributeClassifierTraining: "classifier"}
_PARTS |= {ExpressionTraining: "embedder", LookTraining: "regressor", TargetOriented: "averaged"}
_PARTS |= {DiffusionTraining: "diffusion", MadeSimpleTraining: "network"}


def ship(run: Path, name: str) -> Path:
    """Ship what a run trained as ``name``; returns the weight file.

    Raises:
        UserError: the run trained nothing that ships.
    """
    module, config = restore_module(run / LAST)
    part = next((part for kind, part in _PARTS.items() if isinstance(module, kind)), None)
    if part is None:
        raise UserError(f"{run} trained a {type(module).__name__}, which does not ship.")
    network = getattr(module, part).eval()
    for value in (*network.parameters(), *network.buffers()):
        if value.is_floating_point():  # to the precision that ships, so that the card tells of the file
            value.detach().copy_(value.detach().half())
    facts = _facts(run, config, "attacker" if isinstance(module, ReconstructionTraining) else "train")
    measured = rendered_of(config, run / LAST, "evaluation")
    faces = faces_of(config, run / LAST, "evaluation")
    domain = DOMAINS[0 if faces.synthetic else 1]
    notes = [
        "Figures: synthetic evaluation identities, disjoint from the training identities by the hash of their names.",
        "For synthetic faces only: it has never seen a photograph. Licence: MIT, as the code.",
    ]
    built: dict[str, Any] | None = None
    if isinstance(module, RecognizerTraining):
        encoder = Encoder(network, measured.size, name=name)
        figures = evaluate_recognizer(Judge(encoder).embed, faces)
        if isinstance(module.adversarial, WorstPicture):
            figures |= robust_figures(encoder, faces, module.adversarial.stronger())
        how = f"{type(module.head).__name__} head"
        if isinstance(module, DistillationTraining):
            how = f"a student of {module.teacher.name}"
        what = f"face recognizer, {type(network).__name__}, {how}"
    elif isinstance(module, AttributeTraining):
        figures = {key: float(errors.mean()) for key, errors in regressor_errors(network, faces).items()}
        what = "regressor of pose, expression, gaze and five points"
    elif isinstance(module, AttributeClassifierTraining):
        figures = classifier_figures(network, faces)
        what = "classifier of binary attributes, by CelebA's names of what a rendered face shows"
        notes.append("Balanced accuracy: the mean of how often those with and those without it are read rightly.")
    elif isinstance(module, LookTraining):
        figures = look_figures(network, faces)
        what = "regressor of what a rendered person looks like: the renderer's identity parameters"
        notes.append("R2 is of single pictures; a parameter's weight is its R2 on the background people.")
    elif isinstance(module, DiffusionTraining):
        figures = {key: float(losses.mean()) for key, losses in diffusion_losses(network, faces).items()}
        what = "diffusion model of faces, unconditional"
    elif isinstance(module, MadeSimpleTraining):
        figures = {key: float(losses.mean()) for key, losses in triple_losses(network, faces).items()}
        what = "diffusion anonymizer with a degree, of a source and a driving picture (Face Anonymization Made Simple)"
    elif isinstance(module, ExpressionTraining):
        figures, table = measure(network, faces, module.labels)
        figures |= swap_figures(network, measured)
        what = "expression embedder with classifier and valence/arousal head, on synthetic expression classes"
        notes += _expression_notes(table)
    elif isinstance(module, TargetOriented):
        built = {"encoder": OmegaConf.to_container(config["encoder"])}
        built["generator"] = OmegaConf.to_container(config["generator"])
        if len(module.others):
            built["others"] = OmegaConf.to_container(OmegaConf.select(config, "model.others"), resolve=True)
        if isinstance(module, ReconstructionTraining):
            figures = attack_figures(module, run, config)
            built |= {"attack": built.pop("generator"), "victim": record_of(config)}
            what = f"reconstruction attack, {type(network).__name__}, against {title_of(built['victim'] or {})}"
        elif isinstance(module, ReversibleTraining):
            figures = reversible_figures(module)
            what = f"reversible anonymizer, {type(network).__name__}, conditioned on {module.encoder.name}"
        elif isinstance(module, InpaintingTraining):
            figures = anonymizer_figures(module, _experiment(config, run))
            what = f"anonymizer, {type(network).__name__}, which inpaints: it sees no pixel of the face"
        elif module.steers > 0:
            figures = swapper_figures(module, _experiment(config, run))
            what = f"swapper, {type(network).__name__}, conditioned on {module.encoder.name}"
        else:
            figures = anonymizer_figures(module, _experiment(config, run))
            what = f"anonymizer, {type(network).__name__}, conditioned on {module.encoder.name}"
        notes.append("Figures with [low, high] are bootstrap intervals of 95 %, over people.")
    facts = {"what": what, "parameters": f"{sum(value.numel() for value in network.parameters()):,}", **facts}
    people = f"rendered from {measured.first}" if measured.first else None
    written = card(name, facts, figures, notes)
    path = weights.ship(network.state_dict(), name, written, config=built, domain=domain, people=people)
    print("\n".join(f"{key} {value:.4g}" for key, value in figures.items()))
    return path


def swapper_figures(module: TargetOriented, experiment: str) -> dict[str, float]:
    """The swaps (``suite=swap``) on the experiment's default data and judge, with their bounds."""
    found = evaluated(_trained(module), [f"experiment={experiment}", "suite=swap", "suite.grid_faces=0"])
    (line,) = found.lines
    return _counted(found) | bounded(line, (*SWAPPED, *(name for name in line.metrics if name.startswith("FID"))))


def anonymizer_figures(module: TargetOriented, experiment: str) -> dict[str, float]:
    """The generator plain, with Sampling, with ITM and as a swapper on the experiment's default data and judges."""
    measures = "suite.tables.table1.measures=[retrieval,purified,look,identities,spectrum,picture,attributes]"
    found = evaluated(_trained(module), [f"experiment={experiment}", *BRIEF, measures])
    figures = _counted(found)
    for line in found.lines:
        if line.policy in ("plain", "sampling", "itm") and not line.needs:
            figures |= {f"{line.policy}: {key}": value for key, value in bounded(line, TABLE1).items()}
    if module.steers == 0:  # it cannot swap
        return figures
    swaps = ["suite=swap", "suite.grid_faces=0", "suite.tables.table4.measures=[swap]"]
    (line,) = evaluated(_trained(module), [f"experiment={experiment}", *swaps]).lines
    return figures | {f"swap: {key}": value for key, value in bounded(line, SWAPPED).items()}


def reversible_figures(module: TargetOriented) -> dict[str, float]:
    """Right and wrong keys at the angle of ``policy=rotation``, and the attacks on them (``suite=keys``)."""
    grid = "suite.tables.keys.grid=[{methods: [checkpoint], policies: [rotation]}]"
    found = evaluated(_trained(module), ["suite=keys", grid, "suite.tables.rotations=null", "suite.grid_faces=0"])
    (line,) = found.lines
    return _counted(found) | bounded(line, RECOVERED)


def attack_figures(module: ReconstructionTraining, run: Path, config: DictConfig) -> dict[str, float]:
    """ID and RA of whom the attack learned, of a generator under every policy, with their bounds.

    Raises:
        UserError: it learned a generator that its users cannot get, or a method that conf/method does not have.
    """
    name = str((start_record(run).get("choices") or {}).get("method"))
    if name not in choices("method"):
        raise UserError(f"{run} attacks method={name}, which conf/method does not have.")
    generator = OmegaConf.select(config, "method.anonymizer.checkpoint")
    if generator is not None and not str(generator).startswith(SHIPPED):
        raise UserError(f"{run} attacks no shipped generator; train it with checkpoints=shipped.")
    with tempfile.TemporaryDirectory() as folder:
        halved = Path(folder) / "halved.ckpt"
        torch.save(read_checkpoint(run / LAST)[0] | {"state_dict": module.state_dict()}, halved)
        found = evaluated(None if generator is None else restore_generator(generator), attacked(name, str(halved)))
    figures = _counted(found)
    for line in found.lines:
        prefix = "plain" if generator is None and line.method != "real" else line.policy  # a filter has no policy
        figures |= {f"{prefix}: {key}": value for key, value in bounded(line, ATTACKED).items()}
    return figures


def attacked(method: str, checkpoint: str) -> list[str]:
    """The overrides of an evaluation of a method under one trained attack."""
    attack = [f"method={method}", "attack=reconstruction", f"attack.checkpoint={checkpoint}"]
    return ["experiment=fiva", *BRIEF, "suite.tables.table1.measures=[retrieval,attacked]", *attack]


def _trained(module: TargetOriented) -> Trained:
    """What a checkpoint of the module would give."""
    generator = cast(GeneratorLike, module.averaged)
    others = cast("tuple[Encoder, ...]", tuple(module.others))
    return Trained(generator, module.encoder, type(module.generator).__name__, OmegaConf.create(), others)


def evaluated(trained: Trained | None, overrides: list[str]) -> Document:
    """An evaluation of ``checkpoint``, which is what was trained, or the method of the overrides, on default data."""
    config = composed("evaluate", [*overrides, "logger=csv"])
    data, judges = instantiate(config.data), judges_of(config)
    given = None
    if trained is not None:
        given = {"checkpoint": {"title": trained.name, "policies": True, "anonymizer": trained}}
    with tempfile.TemporaryDirectory() as folder:
        return read(harness.run(judges, data, config, Path(folder), methods=given))


def _counted(found: Document) -> dict[str, float]:
    """How many probed and were enrolled, and what chance gives."""
    ((name, people),) = found.people.items()
    counts = {"probes": people.probes, "gallery": people.gallery, "chance": people.chance}
    names = [judge.name for judge in found.panel.get(name) or [found.judges[name]]]
    who = f"judge {names[0]}" if len(names) == 1 else f"the worst of {listed(names)}"
    return {f"{key} ({who})": value for key, value in counts.items()}


def bounded(line: Line, only: tuple[str, ...]) -> dict[str, float]:
    """Some figures of a line, each with its bounds where it has them."""
    figures: dict[str, float] = {}
    for name in only:
        figure = line.metrics.get(name)
        if figure is None or figure.value is None:
            continue
        ends = {"low": figure.low, "high": figure.high}
        figures[name] = figure.value
        figures |= {f"{name}, {end}": value for end, value in ends.items() if value is not None}
    return figures


def _experiment(config: DictConfig, run: Path) -> str:
    """The experiment of a run, which is composed again.

    Raises:
        UserError: conf/ has none of that name; it is never taken for a path.
    """
    name = config.get("experiment")
    if name not in choices("experiment"):
        raise UserError(f"{run} is of experiment={name}, which conf/experiment does not have.")
    return str(name)


def regressor_errors(regressor: AttributeRegressor, faces: FaceSet, batch_size: int = 128) -> dict[str, torch.Tensor]:
    """Errors on unchanged faces, (N,) each: pose and gaze L2 in degrees, expression L2, landmarks in pixels."""
    found: dict[str, list[torch.Tensor]] = {}
    for batch in batches(faces, torch.arange(len(faces)), batch_size, "measuring"):
        truth = Attributes(**{key: batch[key] for key in Attributes.__annotations__})  # type: ignore[literal-required, typeddict-item]
        with torch.no_grad():
            for key, error in attribute_errors(regressor(batch["image"]), truth).items():
                found.setdefault(key, []).append(error)
    return {key: torch.cat(parts) for key, parts in found.items()}


def look_figures(regressor: LookRegressor, faces: FaceSet, batch_size: int = 128) -> dict[str, float]:
    """How well the look is read and tells people: R² of each parameter, EER of its distances, and the floor.

    ``floor``: mean distance of two pictures of one person over that of two people's
    (:mod:`anon.evaluation.measures.look`).
    """
    truth = regressor.standardized(look_of_people(faces))[faces.labels]
    images = (batch["image"] for batch in batches(faces, torch.arange(len(faces)), batch_size, "measuring"))
    with torch.no_grad():
        read = torch.cat([regressor.read(part) for part in images])
    look, found = read * regressor.readable.sqrt(), explained(read, truth)
    known = evaluate_recognizer(regressor, faces, metric="euclidean")
    own, others = mean_distances(look, faces.labels)
    figures = {"R2, mean": float(found.mean()), "EER": known["eer"], "top1": known["top1"]}
    figures["floor"] = float(own.nanmean() / others.nanmean())
    return figures | {f"R2 of {name}": float(value) for name, value in zip(LOOK, found, strict=True)}


def swap_figures(embedder: ExpressionEmbedder, data: Rendered, stills: int = 2) -> dict[str, float]:
    """Paper II's Table 5.2 on perfect synthetic swaps of the evaluation people: mean t2c and s2c, share t2c < s2c.

    Of swaps between different classes and within one, and between different ones where only the expression is the
    target's; the shares of the shipped attribute regressor beside them.
    """
    numbers = people_of("evaluation", data.people, data.first)
    regressor = AttributeRegressor(weights="shipped:attributes")
    each = [synthetic_swaps(numbers, data.size, data.seed, still) for still in range(stills)]
    swaps = {role: {key: torch.cat([part[role][key] for part in each]) for key in each[0][role]} for role in each[0]}
    figures: dict[str, float] = {}
    for role, classes in (("changed", "different"), ("changed", "same"), ("expression only", "different")):
        ours = swap_check(lambda batch: embedder(batch["image"])["expression"], swaps, role)[classes]
        theirs = swap_check(lambda batch: regressor(batch["image"])["expression"], swaps, role)[classes]
        name = f"swap, {classes} class" + (", expression only" if role != "changed" else "")
        figures |= {f"{name}: {key}": value for key, value in ours._asdict().items()}
        figures[f"{name}: share by the attribute regressor"] = theirs.share
    return figures


def _expression_notes(table: torch.Tensor) -> list[str]:
    """What the classes are, and the confusion matrix."""
    names = CLASSES if len(table) == len(CLASSES) else [str(number) for number in range(len(table))]
    rows = [" | ".join([name, *map(str, row)]) for name, row in zip(names, table.tolist(), strict=True)]
    return [
        "",
        "The classes are regions of the renderer's four expression parameters (anon.attributes.expression_classes)",
        "under AffectNet's names, not emotions; faces near a border have none. A swap is a picture rendered with the",
        "source's identity and all else of the target's, as a perfect swapper would make it.",
        "",
        "Confusion matrix, rows the truth:",
        "",
        f"| | {' | '.join(names)} |",
        "|---" * (len(names) + 1) + "|",
        *(f"| {row} |" for row in rows),
    ]


def card(name: str, facts: dict[str, Any], figures: dict[str, float], notes: Sequence[str] = ()) -> str:
    """A model card in Markdown: what the network is and how it was made, then what was measured."""
    lines = [f"# {name}", "", *(f"- {key}: {value}" for key, value in facts.items()), "", "## Measured", ""]
    lines += ["| figure | value |", "|---|---|"]
    lines += [f"| {key} | {value:.4g} |" for key, value in figures.items()]
    lines += ["", *notes]
    return "\n".join(lines).rstrip() + "\n"


def _facts(run: Path, config: DictConfig, split: str) -> dict[str, Any]:
    versions = read_json(run / "versions.json", MAX_YAML)
    if not isinstance(versions, dict) or not {"torch", "commit"} <= versions.keys():
        raise UserError(f"{run / 'versions.json'} does not say which torch and which commit the run was made with.")
    data = rendered_of(config, run / LAST, split)
    lines = read_text(run / "command.txt", MAX_YAML).splitlines()  # the last start, without where its folders were
    words = [word for word in " ".join(lines[-1:]).split()[2:] if not word.startswith(("paths.", "run.", "ckpt_path="))]
    first = f", from person {data.first:,} on, who is in no split of data=synthetic" if data.first else ""
    return {
        "input": f"{data.size} x {data.size}",
        "command": f"`{' '.join(words)}`",
        "data": f"synthetic, split {split}: {data.people:,} people, {data.images} pictures each, seed {data.seed}"
        + first,
        "seed": config.get("seed"),
        "made with": f"torch {versions['torch']}, commit {versions['commit']}",
    }


def main(run: Path, name: str, trust: Sequence[str] = ()) -> None:
    """Ship, and print where."""
    with trusting(trust):
        print(ship(run, name))


def command(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = Parser(prog="anon ship", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=path, help="run folder of a finished training")
    parser.add_argument("name", help="name of the weights, such as synthetic_a")
    parser.add_argument("--trust", nargs="+", default=[], help="packages whose parts the checkpoint may build")
    return guarded(lambda: main(**vars(parser.parse_args(arguments))))


if __name__ == "__main__":
    in_utf8()
    sys.exit(command())
