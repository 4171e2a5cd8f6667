"""The k-Same family: a set of faces is released in which every picture is the mean of k people or more.

    python evaluate.py suite=k_same

    k-Same-Pixel, -Eigen   clusters of k are averaged pixel by pixel, or by their eigenfaces (Newton, Sweeney & Malin,
                           *Preserving privacy by de-identifying face images*, IEEE TKDE 2005)
    k-Same-Select          the same within each group of a label, which stays (Gross, Airoldi, Malin & Sweeney,
                           *Integrating utility into face de-identification*, PET 2005)
    k-Same-Furthest        clusters are paired, each with the furthest, and show its mean (Meng & Sun, MIPRO 2014)
    k-Same-M               shape and texture are averaged, so that no ghosts are left (Gross et al., CVPRW 2006)

The guarantee: whoever sees a released picture names its person with a probability of 1/k at most, whatever the
recognizer, for k people or more have that very picture. It holds for *one* release of *one* set, against somebody who
knows of nobody in it from elsewhere (two releases with other clusters can be intersected: Ganta, Kasiviswanathan &
Smith 2008), and only if a cluster's pictures are of k people, see :mod:`anon.identity.clusters`.

What is clustered is what is released, by definition: here each split of the data is a set of its own, all pictures of
it, those that are enrolled among them. Nothing is learned from one set for another. The method is closed: a picture
that is in no set has no surrogate and is refused, as is a set with fewer than k people.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from anon.anonymizers.spaces import AT_ONCE, Pixels, Space
from anon.errors import Failed, UserError
from anon.faces.contract import FaceSet, People, annotations_of, batch_of, float_batch, in_eight_bits, to_uint8
from anon.faces.decoding import digest
from anon.faces.labels import groups
from anon.faces.splits import EmptySplit, next_set, searched
from anon.identity.clusters import check_enough, check_k, clusters, means, units_of


class Release(NamedTuple):
    """A released set: ``place`` of each original in ``pictures`` (C, 3, H, W), by the original's bytes."""

    place: dict[int, int]
    pictures: Tensor


class KSame:
    """k-Same, a data set at a time; it knows the originals by their bytes, and gives each its cluster's surrogate.

    Args:
        data: its splits are the sets that are released.
        k: people in a cluster at least, 2 or more.
        unit: "person" averages each person's pictures first and clusters people: the bound holds, and all pictures of
            a cluster's people become one. "picture" clusters pictures, as published, for sets with one picture of each
            person; with several, a cluster may hold one person alone, and the bound is lost.
        space: what is averaged, see :mod:`anon.anonymizers.spaces`; None: pixels.
        label: of k-Same-Select: faces of unlike groups of this label are never averaged.
        quantiles: where a label of numbers is cut.
        furthest: clusters are paired, and each shows the other's mean; needs 2k people.

    Raises:
        UserError: settings that are none, fewer people than k in the evaluated set or a group of it, or no such label.
    """

    made_elsewhere = True  # a picture is looked up, and what the set took is not its cost

    _handles = ("_data", "_known", "_waiting")  # of the pictures, which ``_contents`` tells

    def __init__(
        self,
        data: object,
        k: int = 5,
        unit: str = "person",
        space: Space | None = None,
        label: str | None = None,
        quantiles: Sequence[float] = (1 / 3, 2 / 3),
        furthest: bool = False,
    ) -> None:
        check_k(k, unit)
        self.k, self.unit, self.furthest = k, unit, furthest
        self.space: Space = Pixels() if space is None else space
        self.averaged = self.space.name  # so that records of attacks tell one k-Same from another
        self.label, self.quantiles = label, tuple(quantiles)
        self._data = cast(People, data)
        self._waiting = list(searched(data))
        self._known: list[Release] = []
        self._take_in()
        self._contents = self._described()

    def __deepcopy__(self, memo: dict[int, object]) -> KSame:
        """It remembers nobody: what it knows follows from the data."""
        return self

    def __call__(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] of the data, as it has them -> the means of their clusters, the same form.

        Raises:
            Failed: a picture that is in no set, or in one that cannot be released.
        """
        found = [self._picture(face.numpy().tobytes()) for face in to_uint8(images.float()).cpu().contiguous()]
        return torch.stack(found).to(images)

    def _picture(self, content: bytes) -> Tensor:
        mark = digest(content)
        while True:
            for release in self._known:
                if mark in release.place:
                    return release.pictures[release.place[mark]]
            if not self._waiting:
                raise Failed(f"k-Same releases closed sets, and this picture is in none of {self._data.name}.")
            try:
                self._take_in()
            except UserError as error:  # a set that only this picture asks for
                raise Failed(str(error)) from error

    def _take_in(self) -> None:
        """Release the next set; there may be no such split."""
        found = next_set(self._data, self._waiting)
        if found is None:
            return
        split, faces = found
        self._known.append(self._release(faces, f"the set '{split}' of {self._data.name}"))

    def _release(self, faces: FaceSet, who: str) -> Release:
        place, owners = units_of(faces.labels, self.unit)
        parts = self._parts(faces, place, len(owners), who)
        for name, rows in parts.items():
            check_enough(owners[rows], self.k, self.furthest, f"{who}, {name}," if name else who)
        space, marks = copy.deepcopy(self.space), []
        space.prepare(faces)
        sums: Tensor | None = None
        for start in range(0, len(faces), AT_ONCE):
            rows = torch.arange(start, min(start + AT_ONCE, len(faces)))
            sample = float_batch(batch_of(faces, rows.tolist()))
            images = in_eight_bits(sample["image"].float())
            marks += [digest(face.numpy().tobytes()) for face in to_uint8(images).contiguous()]
            encoded = space.encode(images, sample)
            sums = encoded.new_zeros(len(owners), encoded.shape[1]) if sums is None else sums
            sums.index_add_(0, place[rows], encoded)
        assert sums is not None
        vectors = space.fit(sums / torch.bincount(place, minlength=len(owners)).to(sums)[:, None])
        found = clusters(vectors, self.k, self.furthest, list(parts.values()))
        pictures = space.draw(means(vectors, found.of, len(found.shown)))
        shown = found.shown[found.of][place].tolist()
        return Release(dict(zip(reversed(marks), reversed(shown), strict=True)), pictures)

    def _parts(self, faces: FaceSet, place: Tensor, count: int, who: str) -> dict[str, Tensor]:
        """Units (U,) by the group that they are clustered in; one without a name where no label is chosen.

        Raises:
            UserError: no such label, a face of no group, or a person of two.
        """
        if self.label is None:
            return {"": torch.arange(count)}
        known = annotations_of(faces)
        if self.label not in known:
            there = f"it has {', '.join(known)}" if known else "it has none: data.labels=<csv>"
            raise UserError(f"k-Same-Select keeps the label '{self.label}', which {who} does not have; {there}.")
        chosen = groups(known[self.label], self.quantiles)
        member = torch.stack([rows.float() for rows in chosen.values()], 1)  # (N, groups)
        if not bool((member.sum(1) == 1).all()):
            lacking = int((member.sum(1) != 1).sum())
            raise UserError(
                f"{lacking:,} pictures of {who} have no '{self.label}'; leave them out, or take another label."
            )
        share = means(member, place, count)
        if not bool((share.amax(1) > 1 - 1e-6).all()):
            raise UserError(
                f"'{self.label}' differs between pictures of one person in {who}, so no person is in one group: take "
                "anonymizer.unit=picture or another label."
            )
        own = share.argmax(1)
        found = {f"{self.label} {name}": (own == at).nonzero()[:, 0] for at, name in enumerate(chosen)}
        return {name: rows for name, rows in found.items() if len(rows)}

    def _described(self) -> str:
        """What tells two data sets apart: the bytes of the evaluated pictures, and who is in the other sets."""
        digests = hashlib.sha256("\n".join(map(str, sorted(self._known[0].place.items()))).encode())
        digests.update(self._known[0].pictures.contiguous().numpy().tobytes())
        for split in self._waiting:
            try:
                faces = self._data.faces(split)
            except EmptySplit:
                continue
            digests.update("\n".join([split, *faces.names]).encode("utf-8", "backslashreplace"))
            for part in (faces.labels, faces.videos, faces.frames):
                digests.update(part.contiguous().numpy().tobytes())
        return digests.hexdigest()
