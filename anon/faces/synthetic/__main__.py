"""Write a contact sheet of synthetic faces: ``python -m anon.faces.synthetic docs/synthetic-faces.png``.

Upper half: sixteen people, two pictures each; lower half: one person a row, one attribute varied at a time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from anon import checksums
from anon.commands import Parser, ended, in_utf8, path
from anon.errors import UserError
from anon.faces.synthetic import parameters
from anon.faces.synthetic.render import render

COLUMNS = 8
#: What each row of the lower half varies, from its first value to its last.
SWEEPS = {
    "yaw": (-40.0, 40.0),
    "pitch": (-20.0, 20.0),
    "mouth": (0.0, 1.0),
    "smile": (-1.0, 1.0),
    "gaze_x": (-22.0, 22.0),
    "light_azimuth": (0.0, 1.0),
}


def sheet(size: int = 128) -> Tensor:
    """The contact sheet (H, W, 3) uint8."""
    rows = []
    for first in range(0, 32, COLUMNS):
        pictures = range(first, first + COLUMNS)
        people = [picture // 2 for picture in pictures]
        rows.append(
            render(parameters.people(people), parameters.stills(people, list(pictures), occluders=0.25), size).images
        )
    for person, (name, (low, high)) in enumerate(SWEEPS.items(), start=20):
        mood = parameters.stills([person] * COLUMNS, [0] * COLUMNS, occluders=0.0)
        mood |= {still: torch.zeros(COLUMNS) for still in ("yaw", "pitch", "roll", "blink", "mouth", "noise")}
        mood |= {name: torch.linspace(low, high, COLUMNS)}
        rows.append(render(parameters.people([person] * COLUMNS), mood, size).images)
    return torch.cat([row.transpose(0, 1).reshape(size, COLUMNS * size, 3) for row in rows])


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = Parser(prog="python -m anon.faces.synthetic", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=path, nargs="?", default=Path("synthetic-faces.png"), help="the picture, a PNG")
    return ended(lambda: _write(parser.parse_args(arguments).file))


def _write(file: Path) -> None:
    if file.suffix.lower() != ".png":
        raise UserError(f"'{file}' is no name of a picture here; it ends with .png.")
    try:
        with checksums.written_whole(file) as stream:
            Image.fromarray(sheet().numpy()).save(stream, "PNG", optimize=True)
    except OSError as error:
        raise UserError(f"'{file}' cannot be written ({error.strerror or type(error).__name__}).") from error
    print(file)


if __name__ == "__main__":
    in_utf8()
    sys.exit(main())
