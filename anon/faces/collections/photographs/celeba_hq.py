"""CelebA-HQ as CelebAMask-HQ publishes it: 30,000 photographs of CelebA at 1024 x 1024 (Karras et al., ICLR 2018).

As published::

    CelebA-HQ-img/0.jpg
    CelebA-HQ-to-CelebA-mapping.txt      idx orig_idx orig_file

Who is seen, attributes and the official split are CelebA's, whose annotation files lie in the same folder or in
``celeba``. The photographs are cropped anew, so CelebA's points do not hold for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anon.faces.collections.contract import Item
from anon.faces.collections.listing import Listing, Published, damaged, words
from anon.faces.collections.photographs.celeba import Annotated, attributes_of, read_annotation

_MAPPING = "CelebA-HQ-to-CelebA-mapping.txt"


class CelebAHQ(Published):
    """Item labels: ``attributes`` {name: bool}, ``celeba`` the photograph's name there.

    Args:
        root: the folder CelebAMask-HQ.
        celeba: CelebA's folder; None: its annotation files lie in ``root``.

    Raises:
        UserError: something of the layout is missing.
    """

    name = "celeba_hq"
    title = "CelebA-HQ"
    origin = "get CelebAMask-HQ from its authors (github.com/switchablenorms/CelebAMask-HQ, non-commercial research)"

    def __init__(self, root: str | Path | None, celeba: str | Path | None = None) -> None:
        super().__init__(root)
        self.folder = self.required("CelebA-HQ-img")
        self.mapping = self.required(_MAPPING)
        self.annotation = Annotated(self.root if celeba is None else celeba).annotation_files()

    def items(self) -> Sequence[Item]:
        """By the number of the photograph.

        Raises:
            UserError: damaged annotation, or photographs that CelebA does not have.
        """
        known = read_annotation(*self.annotation)
        original = {}
        for line, row in words(self.mapping, 3, skip=1):
            if not row[0].isdecimal() or row[2] not in known.people:
                raise damaged(self.mapping, line, "is of no photograph of CelebA")
            original[f"{int(row[0])}.jpg"] = row[2]
        files = self.present(original, set(self.files_in(self.folder, r"\d+\.jpg")))

        def make(index: int) -> Item:
            source = original[files[index]]
            labels = {"attributes": attributes_of(known, source), "celeba": source}
            official = known.official.get(source)
            return Item(f"CelebA-HQ-img/{files[index]}", known.people[source], official=official, labels=labels)

        return Listing(len(files), make)
