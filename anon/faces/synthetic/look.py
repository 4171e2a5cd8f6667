"""What a synthetic person looks like: the renderer's identity parameters as a table of numbers.

The shape parameters are as they are drawn. What the painter makes of the uniform draws is in their place: a hair colour
says what three draws together show. Moles and the skin's texture have no place here: they are no single numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anon.faces.synthetic.paint import hair_colour
from anon.faces.synthetic.parameters import BEARD, SHAPE, Columns

#: What the painter shows of the uniform draws.
PAINTED = (
    *("skin", "hair_brightness", "hair_warmth", "iris", "beard", "full_beard"),
    *("bald", "fringe", "long_hair", "masculine"),
)
LOOK = (*SHAPE, *PAINTED)


def look_of(person: Columns) -> Tensor:
    """The look (P, K) of people, columns :data:`LOOK`, each in the renderer's own unit.

    Args:
        person: identity columns of :func:`anon.faces.synthetic.parameters.people`.

    >>> from anon.faces.synthetic.parameters import people
    >>> person = people([3, 4])
    >>> bool((look_of(person)[:, LOOK.index("jaw_width")] == person["jaw_width"]).all())
    True
    """
    hair = hair_colour(person)[:, :, 0, 0]  # (P, 3)
    beard = ((person["masculine"] * person["beard"] - BEARD) * 2.0).clamp(0.0, 0.92)
    bald = (person["bald"] < 0.10 * (0.4 + 1.2 * person["masculine"])).float()
    painted = {
        "skin": person["melanin"],
        "hair_brightness": hair.mean(1),
        "hair_warmth": hair[:, 0] - hair[:, 2],
        "iris": (person["iris_hue"] * (1.2 - person["melanin"])).clamp(0.0, 1.0),
        "beard": beard,
        "full_beard": beard * (person["beard_style"] < 0.45),
        "bald": bald,
        "fringe": (person["fringe"] > 0.8) * (1.0 - bald),
        "long_hair": person["long"],
        "masculine": person["masculine"],
    }
    return torch.stack([*(person[name] for name in SHAPE), *(painted[name] for name in PAINTED)], 1)
