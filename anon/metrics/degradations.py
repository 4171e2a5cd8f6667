"""What happens to pictures on the way: a real JPEG, a smaller copy. A hidden face must stay hidden after them.

An anonymizer may fool a recognizer with a pattern instead of another face; compression and resizing wipe patterns out.
"""

from __future__ import annotations

import re

from torch import Tensor

from anon.defenses.processing import jpeg, resized
from anon.errors import UserError


def degrade(images: Tensor, names: str) -> Tensor:
    """Apply steps named like ``jpeg75``, ``resize0.5`` or ``resize0.5+jpeg75``, left to right.

    Raises:
        UserError: a step that there is not.
    """
    for step in names.split("+"):
        match = re.fullmatch(r"(jpeg|resize)(\d+(?:\.\d+)?)", step)
        if match is None:
            raise UserError(f"Unknown degradation '{step}'; write jpeg<quality> or resize<factor>, joined by '+'.")
        images = jpeg(images, int(float(match[2]))) if match[1] == "jpeg" else resized(images, float(match[2]))
    return images
