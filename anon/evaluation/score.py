"""From what was measured to the figures of a row, each with its interval and its reason where there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from anon.evaluation.bootstrap import Bootstrap
from anon.evaluation.figures import Figure
from anon.evaluation.measure import ATTACKED, ENCODER, JUDGE, OPPOSITE, Measured
from anon.identity.policies import sharing
from anon.metrics.attributes import NAMES
from anon.metrics.correlation import correlation, pair_sums
from anon.metrics.retrieval import retrieval_hits
from anon.metrics.temporal import temporal_consistency

NO_CLIPS = "n/a (no clips)"


@dataclass(frozen=True)
class Gallery:
    """Who is enrolled with a recognizer: one averaged entry a person, and one for each picture."""

    averages: Tensor  # (G, D)
    people: Tensor  # (G,)
    pictures: Tensor  # (E, D)
    owners: Tensor  # (E,)
    threshold: float


@dataclass(frozen=True)
class Scene:
    """What all rows share.

    ``clips`` (M, N) are places in the measured pictures, ``clip_labels`` (M,) whose they are; ``missing`` says by
    name why a measure could not be taken.
    """

    galleries: dict[str, Gallery]
    labels: Tensor  # (P,) of the probes
    probes: Tensor  # (N,) bool
    few: Tensor  # (P,) bool, the probes that were also degraded
    clips: Tensor
    clip_labels: Tensor
    bootstrap: Bootstrap
    missing: dict[str, str]


def score(measured: Measured, scene: Scene, real: Measured) -> dict[str, Figure]:
    """The figures of one row by name.

    Args:
        measured: of the method.
        scene: galleries, labels and the bootstrap.
        real: of the unchanged faces; the same object for the row Real.
    """
    figures = _recognized(measured.z[JUDGE][scene.probes], scene)
    figures |= _temporal(measured.z[JUDGE], scene)
    figures |= _robust(measured, scene)
    if ATTACKED in measured.z:
        figures |= _attacked(measured.z[ATTACKED], scene)
    if "detected" in measured.values:
        figures["detected"] = _share(measured.values["detected"], scene.labels, scene)
    if measured is real:
        figures |= {f"{name}_error": _mean(measured.values, name, scene) for name in NAMES}
        figures["impostor_correlation"] = _correlation(real, scene)
        return figures
    target = real.z[JUDGE][scene.probes]
    for name in ("difference", "mask_area", "ssim", "lpips"):
        figures[name] = _mean(measured.values, name, scene)
    for name in NAMES:
        figures[f"{name}_error"] = _mean(measured.values, name, scene)
        figures[f"{name}_ratio"] = _ratio(measured.values, real.values, name, scene)
    cosine = (measured.z[JUDGE][scene.probes] * target).sum(1)
    figures["target_distance"] = scene.bootstrap.mean(1.0 - cosine, scene.labels)
    if OPPOSITE in measured.z:
        labels, other = scene.labels[scene.few], (measured.z[OPPOSITE] * target[scene.few]).sum(1)
        figures["cosine"] = scene.bootstrap.mean(cosine[scene.few], labels)
        figures["cosine_opposite"] = scene.bootstrap.mean(other, labels)
    figures["shared_identity"] = _shared(measured.wanted, scene.labels)
    return figures


def _recognized(z: Tensor, scene: Scene) -> dict[str, Figure]:
    gallery = scene.galleries[JUDGE]
    one, each = (gallery.averages, gallery.people), (gallery.pictures, gallery.owners)
    asked = {
        "ID": (one, gallery.threshold, False),
        "negID": (one, gallery.threshold, True),
        "negID_rank1": (one, math.inf, True),
        "ID_rank1": (one, math.inf, False),
        "ID_per_image": (each, gallery.threshold, False),
        "negID_per_image": (each, gallery.threshold, True),
        "negID_rank1_per_image": (each, math.inf, True),
    }
    return {
        name: _share(retrieval_hits(z, scene.labels, *entries, threshold, negate), scene.labels, scene)
        for name, (entries, threshold, negate) in asked.items()
    }


def _attacked(z: Tensor, scene: Scene) -> dict[str, Figure]:
    """RA: ID after the attack, by the judge and its threshold; and without the threshold."""
    gallery = scene.galleries[JUDGE]
    return {
        name: _share(retrieval_hits(z, scene.labels, gallery.averages, gallery.people, limit), scene.labels, scene)
        for name, limit in (("RA", gallery.threshold), ("RA_rank1", math.inf))
    }


def _temporal(z: Tensor, scene: Scene) -> dict[str, Figure]:
    if len(scene.clips) == 0:
        return {"M_tc_mu": Figure.absent(NO_CLIPS), "M_tc_sigma": Figure.absent(NO_CLIPS)}
    mu, sigma = temporal_consistency(z[scene.clips])
    return {
        "M_tc_mu": scene.bootstrap.mean(mu, scene.clip_labels),
        "M_tc_sigma": scene.bootstrap.mean(sigma, scene.clip_labels),
    }


def _robust(measured: Measured, scene: Scene) -> dict[str, Figure]:
    """ID by both recognizers, as the faces are and after each degradation."""
    figures = {}
    for name, z in measured.z.items():
        who, _, degradation = name.partition(" ")
        if who not in scene.galleries or name == JUDGE:
            continue
        gallery = scene.galleries[who]
        labels = scene.labels[scene.few] if degradation else scene.labels
        hits = retrieval_hits(z, labels, gallery.averages, gallery.people, gallery.threshold)
        figures["_".join(["ID", who, *filter(None, [degradation])])] = _share(hits, labels, scene)
    return figures


def _correlation(real: Measured, scene: Scene) -> Figure:
    """Of the two recognizers' impostor scores between the unchanged probes."""
    if len(scene.labels) < 2 or int(scene.labels.min()) == int(scene.labels.max()):
        return Figure.absent("needs two people with probes")
    place = torch.searchsorted(scene.bootstrap.people, scene.labels)
    people, place = place.unique(return_inverse=True)
    sums = pair_sums(real.z[JUDGE][scene.probes], real.z[ENCODER], place)
    value = float(correlation(sums))
    low, high = Bootstrap.interval(correlation(sums, scene.bootstrap.weights[:, people]))
    return Figure(value, low, high, n=int(sums.pairs.sum()) // 2)


def _shared(wanted: Tensor, labels: Tensor) -> Figure:
    """Share of the people whose first probe is given an identity that somebody else is given too (collisions)."""
    first = torch.tensor([int((labels == label).nonzero()[0]) for label in labels.unique()])
    return Figure(sharing(wanted[first]) / len(first), n=len(first))


def _mean(values: dict[str, Tensor], name: str, scene: Scene) -> Figure:
    if name not in values:
        return Figure.absent(scene.missing.get(name, "n/a"))
    return scene.bootstrap.mean(values[name], scene.labels)


def _ratio(values: dict[str, Tensor], real: dict[str, Tensor], name: str, scene: Scene) -> Figure:
    """Error on changed faces over the regressor's own error on the same faces unchanged."""
    if name not in values:
        return Figure.absent(scene.missing.get(name, "n/a"))
    if not bool(real[name].any()):
        return Figure.absent("n/a (compared with the unchanged face)")
    return scene.bootstrap.ratio(values[name], real[name], scene.labels)


def _share(hits: Tensor, labels: Tensor, scene: Scene) -> Figure:
    return scene.bootstrap.mean(hits.double(), labels, share=True)
