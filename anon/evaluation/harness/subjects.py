"""Who is evaluated on one data set: galleries, probes, clips, sources for swaps, and the pictures themselves by key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from anon.errors import UserError
from anon.evaluation import protocol as rules
from anon.evaluation.embeddings import batches, read_batch
from anon.evaluation.intervals.bootstrap import Bootstrap
from anon.evaluation.judges.pairs import check_pairs
from anon.faces.collections.pairs import Pairs, Roles
from anon.faces.contract import FaceSet, Label, annotations_of, in_eight_bits, is_raw, to_uint8
from anon.faces.splits import person

KNOWN = ("pose", "expression", "gaze", "landmarks", "pulse")  # truths that a data set may have


@dataclass(frozen=True)
class Group:
    """Pictures of a face set with the key of their bytes and of whose they are."""

    faces: FaceSet
    indices: Tensor  # (N,) rising
    key: str

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def labels(self) -> Tensor:
        """(N,) who they are."""
        return self.faces.labels[self.indices]

    @property
    def videos(self) -> Tensor:
        """(N,) their clips, -1 for stills."""
        return self.faces.videos[self.indices]

    @property
    def clips(self) -> Tensor:
        """(N,) a number for each clip of each person, -1 for stills."""
        videos = self.videos
        return torch.where(videos < 0, -1, self.labels * (int(videos.max()) + 1) + videos)

    def frames(self, size: int, what: str) -> Iterator[Tensor]:
        """(B, H, W, 3) uint8 in order, as they lie on the disk where they do; with a bar that says ``what``."""
        raw = self.faces.raw_batch if is_raw(self.faces) else None
        for batch in batches(self.faces, self.indices, size, what, raw):
            image = batch["image"]
            yield image if image.dtype == torch.uint8 else to_uint8(image)


@dataclass(frozen=True)
class Subjects:
    """The evaluation people of one data set.

    ``items`` are the pictures that are changed: the probes and the frames of clips, in the order of the set (frames of
    a clip one after the other, which trackers depend on). ``attacked`` are places of the first probes of each person,
    for what costs most.
    """

    name: str
    items: Group  # N
    probes: Tensor  # (P,) places among the items
    attacked: Tensor  # (F,) places among the items
    clips: Tensor  # (M, n) places among the items, frames in order; none where one picture is enrolled and searched for
    enrolled: Group
    background: Group  # calibrates thresholds
    calibrating: rules.Calibrating  # places among the background's pictures
    anchors: Group  # training people, whose mixtures are fake identities
    sources: Tensor  # (N,) index of a picture of another person for each item
    truth: dict[str, Tensor]  # (N, ...) what the data knows of the items
    bootstrap: Bootstrap
    synthetic: bool
    everyone: bool = False  # all people of the data, and none of them for anything else
    reference: str | None = None  # the other data set that the background and the anchors are of
    pairs: Pairs | None = None  # that the data brings: the judge's thresholds are those of its unchanged ones
    notes: tuple[str, ...] = ()  # what a reader must know of the data set
    annotations: Mapping[str, Label] = field(default_factory=dict)  # named labels, each of the N items
    labels_key: str = ""  # of these

    @property
    def source_labels(self) -> Tensor:
        """(N,) who is swapped in."""
        return self.items.faces.labels[self.sources]


def subjects(
    data: rules.Data,
    rule: rules.Protocol,
    attacked_probes: int,
    seed: int,
    reference: rules.Data | None = None,
    one_picture: bool = False,
) -> Subjects:
    """Choose probes, clips and sources; reads every picture once, for its bytes belong to all keys.

    Args:
        attacked_probes: probes of a person, at most, in what costs most.
        reference: whose background people calibrate, and whose training people are anchors; None: ``data``'s.
        one_picture: one picture of each person is enrolled, and what becomes of the same picture probes.

    Raises:
        UserError: nobody can be enrolled and probed, people are in both data sets, or unfit pairs.
    """
    faces = data.faces("evaluation")
    own, pairs = _brought(data, rule, one_picture)
    half = own or (rules.one_of_each(faces) if one_picture else rules.halves(faces))
    if len(half.probe) == 0:
        raise UserError(
            f"Nobody in the evaluation split of {data.name} has two pictures: enrol one, probe the other. Or say "
            "suite.enrolment=same: one picture of each is enrolled, and searched for with what becomes of it."
        )
    clips = _clips(faces, half.probe, rule.clip_frames)
    if one_picture:
        clips = clips[:0]
    basis = data if reference is None else reference
    items = torch.cat([half.probe, clips.flatten()]).unique() if own is None else own.changed
    probes = torch.searchsorted(items, half.probe)
    chosen = rules.first_of_each(faces.labels[half.probe], attacked_probes)
    group, truth = keyed(faces, items)
    known = basis.faces("background")
    notes = []
    for split, other in (("background", known), ("training", basis.faces("train"))) if reference is not None else ():
        if pairs is None:
            _check_apart(faces, data.name, other, basis.name)
        elif both := in_both(faces, other):
            notes.append(
                f"{both:,} of the {len(faces.names):,} people of the pairs are in {basis.name}'s {split} split."
            )
    roles = rules.calibrating(known, rule.calibration_images, one_picture)
    annotations = {name: kept._replace(values=kept.values[items]) for name, kept in annotations_of(faces).items()}
    return Subjects(
        name=data.name,
        items=group,
        probes=probes,
        attacked=probes[chosen],
        clips=torch.searchsorted(items, clips),
        enrolled=keyed(faces, half.enrol)[0],
        background=keyed(known, roles.every)[0],
        calibrating=roles.within(roles.every),
        anchors=_anchors(basis, rule),
        sources=_sources(faces, items, half.probe if own is None else items, seed),
        truth=truth,
        bootstrap=Bootstrap(faces.labels if pairs is not None else faces.labels[items], rule.resamples, seed),
        synthetic=bool(faces.synthetic),
        everyone=getattr(data, "everyone", False),
        reference=None if reference is None else basis.name,
        pairs=pairs,
        notes=tuple(notes),
        annotations=annotations,
        labels_key=_labels_key(annotations),
    )


def _brought(data: rules.Data, rule: rules.Protocol, one_picture: bool) -> tuple[Roles | None, Pairs | None]:
    """What the data set's own protocol says: ``roles`` of its evaluation faces, and ``pairs`` of them.

    Raises:
        UserError: another enrolment is asked for, or unfit pairs.
    """
    roles, pairs = getattr(data, "roles", None), getattr(data, "pairs", None)
    if roles is not None and one_picture:
        raise UserError(
            f"{data.name} says itself who is enrolled and who probes: suite.enrolment=same does not fit it."
        )
    if pairs is not None:
        check_pairs(pairs, rule.far)
    return roles, pairs


def _labels_key(annotations: Mapping[str, Label]) -> str:
    digest = hashlib.sha256()
    for name, kept in sorted(annotations.items()):
        digest.update(json.dumps([name, kept.classes]).encode())
        digest.update(kept.values.contiguous().numpy().tobytes())
    return digest.hexdigest()[:40]


def _check_apart(faces: FaceSet, name: str, other: FaceSet, reference: str) -> None:
    """Nobody who is evaluated may calibrate or be an anchor."""
    both = in_both(faces, other)
    if both:
        raise UserError(
            f"{both:,} of the {len(faces.names):,} evaluated people of {name} are in suite.reference, "
            f"{reference}, too, so thresholds or anchors would be made of whom they judge; name other data."
        )


def in_both(faces: FaceSet, other: FaceSet) -> int:
    """How many people are in both; names without letters say nothing of who it is."""
    known = set(map(person, other.names))
    return sum(person(each) in known and any(letter.isalpha() for letter in each) for each in faces.names)


def _anchors(data: rules.Data, rule: rules.Protocol) -> Group:
    faces = data.faces("train")
    return keyed(faces, rules.some_of_each(faces, rule.calibration_images))[0]


def _clips(faces: FaceSet, probe: Tensor, count: int) -> Tensor:
    """Frames of the clips that probe; of a prober who has none such, of all clips."""
    clips = rules.clip_frames(faces, count)  # (M, count)
    clips = clips[torch.isin(faces.labels[clips[:, 0]], faces.labels[probe])]
    if len(clips) == 0:
        return clips
    probing = torch.isin(clips, probe).all(1)
    labels = faces.labels[clips[:, 0]]
    return clips[probing | ~torch.isin(labels, labels[probing])]


def keyed(faces: FaceSet, indices: Tensor) -> tuple[Group, dict[str, Tensor]]:
    """The group with the hash of its pictures, truths, names and places, and the truths."""
    digest = hashlib.sha256(json.dumps(faces.names).encode())
    for values in (faces.labels, faces.videos, faces.frames, indices):
        digest.update(values.cpu().contiguous().numpy().tobytes())
    truth: dict[str, list[Tensor]] = {}
    for batch in batches(faces, indices, 256, "reading faces"):
        digest.update(batch["image"].contiguous().numpy().tobytes())
        for name in KNOWN:
            if name in batch:
                truth.setdefault(name, []).append(batch[name])  # type: ignore[literal-required]
                digest.update(truth[name][-1].contiguous().numpy().tobytes())
    joined = {name: torch.cat(parts) for name, parts in truth.items()}
    return Group(faces, indices, digest.hexdigest()[:40]), joined


def whole(faces: FaceSet) -> Group:
    """All pictures of a set."""
    return keyed(faces, torch.arange(len(faces)))[0]


def _sources(faces: FaceSet, items: Tensor, probe: Tensor, seed: int) -> Tensor:
    """A probe picture of the next person in a seeded circle through all, for every item; its pictures in turn.

    Where there is one person only, nobody can be swapped in and every item is its own source.
    """
    people = faces.labels[probe].unique()
    circle = people[torch.randperm(len(people), generator=torch.Generator().manual_seed(seed))]
    donor = torch.zeros(int(faces.labels.max()) + 1, dtype=torch.long)
    donor[circle] = circle.roll(1)
    return _in_turn(faces, probe, donor[faces.labels[items]], rules.turns(faces.labels[items]))


def donated(people: Subjects, donors: Subjects, seed: int) -> Tensor:
    """A probe picture among the donors' faces for every item of other people: the first has the first of a seeded
    order of the donors, the second the second, and so on; a donor's pictures in turn.
    """
    faces, probe = donors.items.faces, donors.items.indices[donors.probes]
    known = faces.labels[probe].unique()
    circle = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(seed))]
    labels = people.items.labels
    return _in_turn(faces, probe, circle[labels.unique(return_inverse=True)[1] % len(circle)], rules.turns(labels))


def paired(people: Subjects, donors: Subjects, partners: Mapping[str, str]) -> Tensor:
    """A probe picture, in turn, of the donor who each item's person is given.

    Args:
        partners: the donor's name by the person's, as :func:`anon.faces.splits.person` compares them.

    Raises:
        UserError: some person has no partner among the donors who can be found again, or is their own.
    """
    faces, probe = donors.items.faces, donors.items.indices[donors.probes]
    known = {person(faces.names[label]): label for label in faces.labels[probe].unique().tolist()}
    labels, own = people.items.labels, people.items.faces.names
    partner = {label: partners.get(person(own[label]), "") for label in labels.unique().tolist()}
    lacking = sum(name not in known or name == person(own[label]) for label, name in partner.items())
    if lacking:
        raise UserError(
            f"suite.swaps names nobody else among the {len(known):,} people of {donors.name} who can be found again "
            f"for {lacking:,} of the {len(partner):,} evaluated people of {people.name}; list them, or leave it out."
        )
    who = torch.tensor([known[partner[label]] for label in labels.tolist()])
    return _in_turn(faces, probe, who, rules.turns(labels))


def _in_turn(faces: FaceSet, probe: Tensor, who: Tensor, turn: Tensor) -> Tensor:
    """A probe picture of each of ``who`` (N,), the ``turn``-th (N,) of that person's, over and over."""
    people = faces.labels[probe].unique()
    order = probe[faces.labels[probe].argsort(stable=True)]  # probes, person by person
    start = torch.searchsorted(faces.labels[order], people)
    count = torch.bincount(torch.searchsorted(people, faces.labels[probe]), minlength=len(people))
    place = torch.searchsorted(people, who)
    return order[start[place] + turn % count[place]]


def images_at(faces: FaceSet, indices: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in [-1, 1] of a face set, in eight bits."""
    return in_eight_bits(read_batch(faces, indices.tolist())["image"])
