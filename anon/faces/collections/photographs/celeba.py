"""CelebA: 202,599 photographs of 10,177 people with 40 attributes (Liu et al., ICCV 2015).

As published (``Anno``, ``Eval`` and ``Img`` may be left out, as torchvision does)::

    Img/img_align_celeba/000001.jpg            aligned, 178 x 218; or Img/img_celeba, as found
    Anno/list_attr_celeba.txt                  count, names, then -1 or 1 for each
    Anno/identity_CelebA.txt                   000001.jpg 2880
    Anno/list_landmarks_align_celeba.txt       five points of the aligned photographs; list_landmarks_celeba.txt else
    Eval/list_eval_partition.txt               0 train, 1 val, 2 test; the people are disjoint
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from anon.errors import UserError
from anon.faces.collections.contract import OFFICIAL, Item
from anon.faces.collections.listing import Listing, Points, Published, damaged, lines, numbers, pairs_of, words


class Annotation(NamedTuple):
    """What is known of every photograph, by its name ``000001.jpg``."""

    people: dict[str, str]
    official: dict[str, str]
    attributes: tuple[str, ...]  # names
    flags: dict[str, int]  # bit i: attribute i


class Annotated(Published):
    """A folder with CelebA's annotation files."""

    title = "CelebA"
    origin = "get it from the authors (mmlab.ie.cuhk.edu.hk/projects/CelebA.html, non-commercial research)"

    def annotation_files(self) -> tuple[Path, Path, Path]:
        """identity_CelebA.txt, list_eval_partition.txt and list_attr_celeba.txt.

        Raises:
            UserError: one is missing.
        """
        people = self.required("Anno/identity_CelebA.txt", "identity_CelebA.txt")
        parts = self.required("Eval/list_eval_partition.txt", "list_eval_partition.txt")
        return people, parts, self.required("Anno/list_attr_celeba.txt", "list_attr_celeba.txt")


class CelebA(Annotated):
    """Item labels: ``attributes`` {name: bool}. Identities are CelebA's numbers.

    Args:
        root: the data set's folder.
        images: ``img_align_celeba`` or ``img_celeba``.

    Raises:
        UserError: something of the layout is missing.
    """

    name = "celeba"

    def __init__(self, root: str | Path | None, images: str = "img_align_celeba") -> None:
        if images not in ("img_align_celeba", "img_celeba"):
            raise UserError(f"CelebA has the folders img_align_celeba and img_celeba, not images={images}.")
        super().__init__(root)
        self.folder = self.required(f"Img/{images}", images)
        self.annotation = self.annotation_files()
        table = "list_landmarks_align_celeba.txt" if images == "img_align_celeba" else "list_landmarks_celeba.txt"
        self.landmarks = self.required(f"Anno/{table}", table)

    def items(self) -> Sequence[Item]:
        """By the number of the photograph.

        Raises:
            UserError: damaged annotation.
        """
        known = read_annotation(*self.annotation)
        points = _read_points(self.landmarks)
        files = self.present(known.people, set(self.files_in(self.folder, r"\d{6}\.jpg")))
        inside = self.folder.relative_to(self.root).as_posix()

        def make(index: int) -> Item:
            file = files[index]
            labels = {"attributes": attributes_of(known, file)}
            official = known.official.get(file)
            return Item(f"{inside}/{file}", known.people[file], False, official, None, points.get(file), labels)

        return Listing(len(files), make)


def read_annotation(people: Path, parts: Path, attributes: Path) -> Annotation:
    """The three files, in the order of identity_CelebA.txt.

    Raises:
        UserError: one of them is damaged.
    """
    identities = {file: identity for _, (file, identity) in words(people, 2)}
    official = {}
    for line, (file, number) in words(parts, 2):
        if number not in ("0", "1", "2"):
            raise damaged(parts, line, "has a partition other than 0, 1 and 2")
        official[file] = OFFICIAL[int(number)]
    names = _header(attributes)
    flags = {}
    for line, row in words(attributes, len(names) + 1, skip=2):
        if not set(row[1:]) <= {"1", "-1"}:
            raise damaged(attributes, line, "has an attribute other than -1 and 1")
        flags[row[0]] = sum(1 << bit for bit, value in enumerate(row[1:]) if value == "1")
    return Annotation(identities, official, names, flags)


def attributes_of(known: Annotation, file: str) -> dict[str, bool]:
    """{name: bool} of one photograph; empty where it has none."""
    if file not in known.flags:
        return {}
    return {name: bool(known.flags[file] >> bit & 1) for bit, name in enumerate(known.attributes)}


def _header(path: Path) -> tuple[str, ...]:
    """The names in the second line, below the count."""
    text = lines(path)
    if not next(text, "").strip().isdecimal():
        raise damaged(path, 1, "is not the number of photographs")
    names = tuple(next(text, "").split())
    if not names:
        raise damaged(path, 2, "has no names")
    return names


def _read_points(path: Path) -> dict[str, Points]:
    """lefteye, righteye, nose, leftmouth, rightmouth: left and right as seen in the image."""
    if len(_header(path)) != 10:
        raise damaged(path, 2, "does not name ten coordinates")
    return {row[0]: pairs_of(numbers(row[1:], path, line)) for line, row in words(path, 11, skip=2)}
