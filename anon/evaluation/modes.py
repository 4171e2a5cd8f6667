"""What policies are made of, and the one place where one is built of its configuration (:func:`built_policy`): for the
tables of the harness and for whom an attack learns.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from hydra.utils import get_class
from torch import Tensor

from anon.anonymizers.composed import Anonymizer
from anon.errors import UserError
from anon.evaluation.harness.pictures import (
    KeyedRecognizer,
    Originals,
    as_it_conditions,
    embeddings,
    keyed_recognizer,
)
from anon.evaluation.harness.store import Store
from anon.evaluation.harness.subjects import Group, keyed, whole
from anon.evaluation.protocol import Data, Protocol, anchors, calibrate, chosen_people, some_of_each
from anon.faces.contract import annotations_of
from anon.faces.labels import groups
from anon.identity.clusters import means
from anon.identity.contract import PolicyLike
from anon.identity.encoder import Encoder
from anon.identity.latent import RandomIdentity
from anon.identity.matching import Kinds
from anon.identity.policies import AnchorSampling, Negation, sampling_of
from anon.identity.tracking import IdentityTracker
from anon.plugs import check_has

if TYPE_CHECKING:
    from anon.evaluation.harness.stages import Stages

OUT_OF_REACH = 0.1  # share of the people from which on a reader is told
THIRDS = (1 / 3, 2 / 3)  # where labels of numbers are cut


class Basis(NamedTuple):
    """What policies of one encoder are made of; each is asked for only where a policy needs it.

    ``people`` (N, D) are averages of training people, ``strangers`` (M, D) embeddings of background people,
    ``threshold`` is the cosine distance below which a tracker takes two faces for one person, ``released`` gives the
    embeddings (N, D) of all pictures of a split and whose they are (N,), ``kinds`` which group of a label each of the
    people is in.
    """

    people: Callable[[], Tensor]
    strangers: Callable[[], Tensor]
    threshold: Callable[[], float]
    released: Callable[[str], tuple[Tensor, Tensor]]
    kinds: Callable[[str], Kinds]


def basis_of(data: Data, encoder: Encoder, rule: Protocol, seed: int, store: Store) -> Basis:
    """The same as in an evaluation on ``data``, where policies are made outside of one: for whom an attack learns.

    Args:
        rule: pictures of a person, people and FAR.
        seed: of the choice of people.
        store: keeps the embeddings.
    """
    by, device = keyed_recognizer(as_it_conditions(encoder)), torch.device("cpu")

    def seen(group: Group) -> tuple[Tensor, Tensor]:
        return embeddings(store, Originals(group), by, rule.batch_size, device), group.labels

    def some(split: str) -> Group:
        faces = data.faces(split)
        return keyed(faces, some_of_each(faces, rule.calibration_images))[0]

    return Basis(
        lambda: anchors(*seen(some("train")), rule.anchors, seed),
        lambda: seen(some("background"))[0],
        lambda: calibrate(*seen(some("background")), rule.far, "the encoder").threshold,
        lambda split: seen(whole(data.faces(split))),
        lambda label: kinds(some("train"), label, rule.anchors, seed),
    )


def basis_in(stages: Stages, data: str, by: KeyedRecognizer) -> Basis:
    """That of an evaluation, whose people have been chosen.

    Args:
        data: name of the evaluated data set.
        by: the conditioning encoder.
    """
    people, suite = stages.subjects(data), stages.suite

    def seen(group: Group) -> Tensor:
        return stages.z(Originals(group), by)

    def released(split: str) -> tuple[Tensor, Tensor]:
        made, other = stages.data(data)
        group = whole((made if other is None or split == "evaluation" else other).faces(split))
        return seen(group), group.labels

    return Basis(
        lambda: anchors(seen(people.anchors), people.anchors.labels, suite.anchors, stages.seed).to(stages.device),
        lambda: seen(people.background),
        lambda: stages.calibrations.of_pictures(data, by).threshold,
        released,
        lambda label: kinds(people.anchors, label, suite.anchors, stages.seed),
    )


def kinds(group: Group, name: str, most: int, seed: int) -> Kinds:
    """Which group of a label each person of :func:`anon.evaluation.protocol.anchors` belongs to.

    Args:
        group: pictures of the training people.
        name: of the label; of numbers, the groups are thirds of the people.

    Raises:
        UserError: these data say nothing of the kind.
    """
    known = annotations_of(group.faces)
    if name not in known:
        there = f"they have {', '.join(known)}" if known else "they have none: data.labels=<csv> with rows of them"
        raise UserError(f"policy.matched='{name}' is no label of the training people; {there}.")
    label, labels = known[name], group.labels
    found = groups(label._replace(values=label.values[group.indices]), THIRDS)
    people, place = labels.unique(return_inverse=True)
    votes = torch.stack([means(rows.double()[:, None], place, len(people))[:, 0] for rows in found.values()], 1)
    own = torch.where(votes.amax(1) > 0, votes.argmax(1), -1)  # of pictures that differ, most of them say it
    return Kinds(own[chosen_people(len(people), most, seed)], tuple(found))


def built_policy(chosen: Mapping[str, Any], steers: int, basis: Basis) -> PolicyLike:
    """A policy by its plain configuration; who the anchors are, their side and the tracker's threshold come from here.

    A part with ``_partial_: true`` gets what it takes by the names of :class:`Basis`. ``mirrored: null`` becomes the
    generator's side: one that flees its condition (``steers`` -1) gets the anchor itself. A side or a threshold that
    the configuration names is taken as it is.

    A generator that inpaints (``steers`` 0) draws its people from a latent: whatever policy makes a fake identity
    becomes :class:`anon.identity.latent.RandomIdentity`, so that nothing of the face reaches the network; the tracker
    (ITM) gives a person one latent. What else a policy wants, :func:`without_latent` tells.
    """
    given = dict(chosen)
    kind = get_class(given.pop("_target_"))
    if steers == 0 and not issubclass(kind, IdentityTracker):
        return RandomIdentity(given.get("seed", 0))
    if "policy" in given:
        given["policy"] = built_policy(given["policy"], steers, basis)
    if "threshold" in given and given["threshold"] is None:
        given["threshold"] = basis.threshold()
    if given.pop("_partial_", False):
        takes = inspect.signature(kind).parameters
        if "people" in takes:
            given["people"] = basis.people()
        given |= {name: getattr(basis, name) for name in ("strangers", "released") if name in takes}
        if given.get("matched") is not None:
            given["kinds"] = basis.kinds(given["matched"])
        if "mirrored" in takes and given.get("mirrored") is None:
            given["mirrored"] = steers < 0
    return cast(PolicyLike, kind(**given))


def without_latent(chosen: Mapping[str, Any]) -> str | None:
    """Why a policy has no meaning for a generator that draws its people from a latent; None where it has one.

    The plain mode is a latent for each face, and within the tracker a new person's fake identity is one.
    """
    kind = get_class(chosen["_target_"])
    if issubclass(kind, IdentityTracker):
        inner = get_class(chosen["policy"]["_target_"])
        meant = issubclass(inner, AnchorSampling | RandomIdentity)
    else:
        meant = issubclass(kind, Negation | RandomIdentity)
    return None if meant else f"draws people from a latent, and {kind.__name__} wants somebody"


def posed(base: Any, chosen: Mapping[str, Any] | None, basis: Basis, who: str) -> Anonymizer:
    """The anonymizer of a trained generator with its policy: for tables and for whom an attack learns alike.

    Args:
        base: has the ``encoder`` and the ``generator``.
        chosen: the policy's plain configuration.
        who: of whom a sentence speaks, such as "method.anonymizer".

    Raises:
        UserError: it has no generator, no policy is chosen, or one that asks a latent for somebody.
    """
    check_has(base, who, "generator")
    if chosen is None:
        raise UserError(f"{who} is a generator and needs a policy: policy=itm, in a table's grid policies: [itm].")
    told = without_latent(chosen) if base.generator.steers == 0 else None
    if told is not None:
        raise UserError(f"{who} {told}; take policy=random (one for each face) or policy=itm (a person).")
    return Anonymizer(base.encoder, built_policy(chosen, base.generator.steers, basis), base.generator)


def reach_note(policy: PolicyLike, title: str, basis: Basis) -> str | None:
    """What a reader must know of a sampling: whether the wanted cosine is out of reach for many background people, and
    how well a label that anchors share is read; None where there is nothing to tell.
    """
    sampling = sampling_of(policy)
    if sampling is None:
        return None
    told = []
    z = basis.strangers().to(sampling.people)
    missed = float(sampling.missed(z).double().mean())
    if missed > OUT_OF_REACH:
        cosine = (sampling(z) * z).sum(1)
        told.append(
            f"{title}: the sampling's wanted cosine m={sampling.m:g} is out of reach for {missed:.0%} of the "
            f"background faces, which get the most extreme mix of the {len(sampling.people):,} training people there "
            f"is ({float(cosine.mean()):.2f} ± {float(cosine.std()):.2f} in the place of {sampling.m:g}): use more "
            "people, a higher policy.policy.most, or an m nearer to 0."
        )
    if sampling.reader is not None:
        told.append(
            f"{title}: anchors share the label '{sampling.matched}', which is read off the embedding, rightly of "
            f"{sampling.reader.right:.0%} of the training people when they are left out of the fit."
        )
    return " ".join(told) or None
