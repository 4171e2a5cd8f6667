"""What the renderer knows of a face beside its truth: skin tone, shape, beard, and glasses, as labels of the pictures.

    skin      :attr:`melanin <anon.faces.synthetic.parameters.UNIFORM>`, 0 the lightest colour of the painter's ramp, 1
              the darkest
    shape     ``masculine``: 0 feminine, 1 masculine; brows, lashes, neck and hair follow it (the bones do not)
    beard     whether the painter draws one: masculine x beard above .33
    glasses   whether glasses or sunglasses are worn in this picture; a mask or a hand before the face is no glasses

They are read from the parameters and from the truth that is kept beside the pictures: nothing is drawn, rendered or
changed for them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anon.faces.contract import Label
from anon.faces.synthetic.parameters import OCCLUDERS, Columns

BEARD = 0.33  # anon.faces.synthetic.paint: the density of a beard is 0 at masculine x beard = .33


def known_labels(person: Columns, owners: Tensor, occluder: Tensor) -> dict[str, Label]:
    """Labels of N pictures.

    Args:
        person: identity columns (P,) of :func:`anon.faces.synthetic.parameters.people`.
        owners: (N,) who of them each picture shows.
        occluder: (N,) what covers the face, indices into :data:`anon.faces.synthetic.parameters.OCCLUDERS`.
    """
    grows = person["masculine"] * person["beard"] > BEARD
    worn = torch.tensor([name in ("glasses", "sunglasses") for name in OCCLUDERS])
    return {
        "skin": Label(person["melanin"][owners]),
        "shape": Label(person["masculine"][owners]),
        "beard": Label(grows[owners].long(), ("no beard", "beard")),
        "glasses": Label(worn[occluder].long(), ("no glasses", "glasses")),
    }
