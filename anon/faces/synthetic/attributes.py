"""Binary attributes of rendered faces, under the names of CelebA's columns, so that one configuration fits both.

Each says what is seen, read from the renderer's parameters; nothing is drawn for it. Of the thirteen that Cao et al.
protect (*Hiding among your neighbors*, BMSB 2022) a rendered face has twelve: nobody's age is rendered (``Young``).
"""

from __future__ import annotations

import torch
from torch import Tensor

from anon.faces.contract import Label
from anon.faces.synthetic.paint import hair_colour
from anon.faces.synthetic.parameters import BEARD, EXPRESSION, OCCLUDERS, Columns

PALE = 0.3  # melanin, below it
OPEN = 0.25  # of a mouth, above it
BUSHY = 0.028  # thickness times density of brows, above it
DARK, FAIR = 0.15, 0.3  # mean colour of hair: black below, blond from there on, brown between


def celeba_labels(person: Columns, owners: Tensor, occluder: Tensor, expression: Tensor) -> dict[str, Label]:
    """Two-class labels of N pictures; class 1 has it.

    ``Male``: the renderer's ``masculine`` is above a half, which brows, beard, lashes and neck follow. Whoever grows a
    beard has a mustache, for all three styles of it have one. Grey, red and no hair are none of the three colours.

    Args:
        person: identity columns (P,) of :func:`anon.faces.synthetic.parameters.people`.
        owners: (N,) who of them each picture shows.
        occluder: (N,) what covers the face, indices into :data:`OCCLUDERS`.
        expression: (N, 4) as in :class:`anon.faces.contract.Sample`.
    """
    bald = person["bald"] < 0.10 * (0.4 + 1.2 * person["masculine"])
    shade = hair_colour(person)[:, :, 0, 0].mean(1)  # (P,)
    plain = ~bald & (person["hair_hue"] >= 0.12) & (person["hair_hue"] <= 0.9)
    brows = person["brow_thick"] * (0.75 + 0.5 * person["masculine"]) * person["brow_density"].clamp(0.25, 0.95)
    grows = person["masculine"] * person["beard"] > BEARD
    of_people = {
        "Bald": bald,
        "Bangs": (person["fringe"] > 0.8) & ~bald,
        "Black_Hair": plain & (shade < DARK),
        "Blond_Hair": plain & (shade >= FAIR),
        "Brown_Hair": plain & (shade >= DARK) & (shade < FAIR),
        "Bushy_Eyebrows": brows > BUSHY,
        "Male": person["masculine"] > 0.5,
        "Mustache": grows,
        "No_Beard": ~grows,
        "Pale_Skin": person["melanin"] < PALE,
    }
    worn = torch.tensor([name in ("glasses", "sunglasses") for name in OCCLUDERS])
    seen = {name: has[owners] for name, has in of_people.items()}
    seen["Eyeglasses"] = worn[occluder]
    seen["Mouth_Slightly_Open"] = expression[:, EXPRESSION.index("mouth")] > OPEN
    return {name: Label(has.long(), ("no", "yes")) for name, has in sorted(seen.items())}
