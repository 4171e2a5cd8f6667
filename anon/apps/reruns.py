"""A figure of each model card, measured again with what ships now: what ``anon zoo verify`` compares.

A card's kind says which figure: one that is quick, and that a broken network does not meet by chance. ID alone would be
0 of noise, too, so an anonymizer's is SSIM beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from anon.apps.checkpoints import restore_generator
from anon.apps.config import composed, config_dir, own_yaml
from anon.apps.ship import BRIEF, attacked, bounded, evaluated, regressor_errors
from anon.attributes.classifier import AttributeClassifier
from anon.attributes.expression import ExpressionEmbedder
from anon.attributes.expression_classes import labelled
from anon.attributes.look import LookRegressor
from anon.attributes.regressor import AttributeRegressor
from anon.evaluation.classified import readings
from anon.evaluation.denoised import diffusion_losses
from anon.evaluation.document import Document, Line
from anon.evaluation.embeddings import batches
from anon.evaluation.intervals.shares import share_ends
from anon.faces.contract import FaceSet
from anon.generators.diffusion import Denoiser, Diffusion
from anon.identity.judge import Judge
from anon.identity.verification import embed_faces, enrolled, identified
from anon.weights.cards import Card, Figure
from anon.weights.files import SHIPPED

PLAIN = "suite.tables.table1.grid=[{methods:[checkpoint],policies:[plain]}]"


def measured_again(card: Card) -> dict[str, Figure]:
    """One or two figures of a card, by their names on it; none of a kind that nothing here measures."""
    kind = next((kind for kind in _KINDS if card.what.startswith(kind)), None)
    return _KINDS[kind](card) if kind else {}


def _people(card: Card) -> FaceSet:
    """The evaluation people of the data that it learned from."""
    first = (card.people or "rendered from 0").removeprefix("rendered from ")
    return instantiate(composed("evaluate", ["method=blur", "data=synthetic_large", f"data.first={first}"]).data).faces(
        "evaluation"
    )


def _recognized(card: Card) -> dict[str, Figure]:
    """Top-1 of a recognizer."""
    file = config_dir() / "encoder" / f"{card.name}.yaml"
    if not file.is_file():  # one that the user shipped
        return {}
    return _top1(Judge(instantiate(OmegaConf.create(own_yaml(file.read_text(encoding="utf-8"))))).embed, card)


def _top1(embed: Callable[[Tensor], Tensor], card: Card, metric: str = "cosine") -> dict[str, Figure]:
    faces = _people(card)
    with torch.no_grad():
        z = embed_faces(embed, faces)
    gallery, names, probe = enrolled(z, faces.labels, metric)
    hits = identified(gallery, names, z[probe], faces.labels[probe], metric=metric)
    return {"top1": over_people(hits.double(), faces.labels[probe])}


def over_people(values: Tensor, labels: Tensor) -> Figure:
    """The mean of values (N,) of pictures with its 95 % interval; people, who have several each, are the trials."""
    each = torch.stack([values[labels == label].mean() for label in labels.unique()]).double()
    if float(each.min()) >= 0.0 and float(each.max()) <= 1.0:
        return Figure(float(values.mean()), *share_ends(each))
    half = 1.96 * float(each.std()) / len(each) ** 0.5
    return Figure(float(values.mean()), float(values.mean()) - half, float(values.mean()) + half)


def _looked(card: Card) -> dict[str, Figure]:
    return _top1(LookRegressor(weights=SHIPPED + card.name), card, "euclidean")


def _read(card: Card) -> dict[str, Figure]:
    """Mean pose error of an attribute regressor, degrees."""
    faces, regressor = _people(card), AttributeRegressor(weights=SHIPPED + card.name)
    return {"pose": over_people(regressor_errors(regressor, faces)["pose"], faces.labels)}


def _denoised(card: Card) -> dict[str, Figure]:
    """What a diffusion model does not read of the noise."""
    faces = instantiate(composed("evaluate", ["method=blur", "data=synthetic"]).data).faces("evaluation")
    losses = diffusion_losses(Diffusion(Denoiser(), SHIPPED + card.name), faces)
    return {name: over_people(each, faces.labels) for name, each in losses.items()}


def _classified(card: Card) -> dict[str, Figure]:
    """The share of attributes that a classifier reads rightly."""
    faces = instantiate(composed("evaluate", ["method=blur", "data=synthetic"]).data).faces("evaluation")
    names = composed("train", ["experiment=attribute_classifier"]).model.classifier.attributes
    read, truth = readings(AttributeClassifier(list(names), weights=SHIPPED + card.name), faces)
    return {"accuracy": over_people((read == truth).double().mean(1), faces.labels)}


def _expressed(card: Card) -> dict[str, Figure]:
    """Accuracy of an expression embedder on the faces that have a class."""
    faces, embedder = _people(card), ExpressionEmbedder(weights=SHIPPED + card.name)
    labelling = instantiate(composed("train", ["experiment=expression"]).model.labels)
    said, truth = [], []
    for batch in batches(faces, torch.arange(len(faces)), 128, "measuring"):
        with torch.no_grad():
            said.append(embedder.judge(embedder.features(batch["image"]))["logits"].argmax(1))
        truth.append(labelled(dict(batch), labelling, embedder.classes)["expression_class"])  # type: ignore[arg-type]
    known = torch.cat(truth) >= 0
    hits = (torch.cat(said) == torch.cat(truth))[known].double()
    return {"accuracy": over_people(hits, faces.labels[known])}


def _anonymized(card: Card) -> dict[str, Figure]:
    """What a generator leaves of a person and of a picture."""
    measures = "suite.tables.table1.measures=[retrieval,picture]"
    words = ["experiment=fiva", *BRIEF, PLAIN, measures]
    return _figures(bounded(_line(card.name, words), ("ssim", "ID")), "plain: ")


def _swapped(card: Card) -> dict[str, Figure]:
    words = ["experiment=facedancer", "suite=swap", "suite.grid_faces=0", "suite.tables.table4.measures=[swap]"]
    return _figures(bounded(_line(card.name, words), ("swap_ID", "swap_ID_target")))


def _attacked(card: Card) -> dict[str, Figure]:
    """RA of whom the attack learned, as the command on its card says; of a generator without a policy."""
    given = dict(word.strip("\"'").partition("=")[::2] for word in card.command.strip("`").split())
    method = given.get("method", "fiva")
    generator = str(composed("evaluate", [f"method={method}"]).method.anonymizer.get("checkpoint") or "")
    policies = "policies:[plain]," if generator else ""
    grid = f"suite.tables.table1.grid=[{{methods:[checkpoint],{policies}attacks:[given]}}]"
    shipped = restore_generator(SHIPPED + method) if generator else None
    line = _first(evaluated(shipped, [*attacked(method, SHIPPED + card.name), grid]))
    return _figures(bounded(line, ("RA", "RA_rank1")), "plain: ")


def _line(generator: str, words: list[str]) -> Any:
    return _first(evaluated(restore_generator(SHIPPED + generator), words))


def _first(found: Document) -> Line:
    return next(line for line in found.lines if not line.needs and line.method != "real")


def _figures(found: dict[str, float], prefix: str = "") -> dict[str, Figure]:
    names = [name for name in found if not name.endswith((", low", ", high"))]
    ends = {name: (found.get(f"{name}, low"), found.get(f"{name}, high")) for name in names}
    return {prefix + name: Figure(found[name], *ends[name]) for name in names}


_KINDS = {
    "face recognizer": _recognized,
    "regressor of pose": _read,
    "regressor of what": _looked,
    "classifier of binary": _classified,
    "expression embedder": _expressed,
    "anonymizer": _anonymized,
    "swapper": _swapped,
    "reconstruction attack": _attacked,
    "diffusion model": _denoised,
}
