"""Rendered faces as PNG files, for tools that read pictures: what such a tool makes of them is judged like any method.

    python -m anon.faces.synthetic.export faces
    (any tool: faces -> changed, with the same relative paths)
    python evaluate.py suite=table1 originals=faces method=folder method.root=changed

Files are ``<identity>/<number>.png``, aligned crops. Names keep their splits, so that ``originals=faces`` evaluates,
calibrates and attacks with the people with whom ``data=synthetic`` does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from anon import checksums
from anon.commands import Parser, ended, in_utf8, path
from anon.errors import UserError
from anon.faces.splits import SPLITS
from anon.faces.synthetic.dataset import SyntheticFaces
from anon.progress import track

#: People of each split, as ``data=synthetic`` has them.
PEOPLE = {"train": 480, "background": 96, "attacker": 192, "evaluation": 128}
PICTURES = 12


def export(folder: Path, splits: Sequence[str], size: int, people: int | None = None, pictures: int = PICTURES) -> int:
    """Write the stills of the splits' people; returns how many files there are.

    Args:
        people: of each split; None: :data:`PEOPLE`.
        pictures: of each person.

    Raises:
        UserError: the folder cannot be written, or see :class:`SyntheticFaces`.
    """
    count = 0
    for split in splits:
        faces = SyntheticFaces(split, size, PEOPLE[split] if people is None else people, pictures)
        for index in track(range(len(faces)), f"writing {split}", len(faces)):
            name, number = faces.names[int(faces.labels[index])], int(faces.frames[index])
            place = folder / name / f"{number:03d}.png"
            frame = faces.raw_batch([index])["image"][0]
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                with checksums.written_whole(place) as stream:
                    Image.fromarray(frame.numpy()).save(stream, "PNG")
            except OSError as error:
                raise UserError(f"'{folder}' cannot be written ({error.strerror or type(error).__name__}).") from error
        count += len(faces)
    return count


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = Parser(prog="python -m anon.faces.synthetic.export", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=path, help="where the pictures go")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS), help="default: all")
    parser.add_argument("--size", type=int, default=64, help="side in pixels (64)")
    parser.add_argument("--people", type=int, help="of each split; default: as data=synthetic")
    parser.add_argument("--pictures", type=int, default=PICTURES, help=f"of each person ({PICTURES})")
    return ended(lambda: _export(parser.parse_args(arguments)))


def _export(given: object) -> None:
    folder: Path = given.folder  # type: ignore[attr-defined]
    count = export(folder, given.splits, given.size, given.people, given.pictures)  # type: ignore[attr-defined]
    print(f"{count:,} pictures\n{folder}")


if __name__ == "__main__":
    in_utf8()
    sys.exit(main())
