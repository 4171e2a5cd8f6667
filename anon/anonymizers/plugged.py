"""Any callable as an anonymizer: faces in, faces out, with those keywords of the contract that it takes.

def mirrored(images):                # anonymizer: {_target_: my_package.mirrored, _partial_: true}
    return images.flip(-1)
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from anon.identity.contract import Draws, Given
from anon.plugs import check_call, taken

KEYWORDS = ("source", "key", "track", "rng")
FORM = "anonymizer(images), faces (B, 3, H, W) in [-1, 1] to the same form"


class Plugged(nn.Module):
    """What somebody plugged in, behind every anonymizer's call (:class:`anon.anonymizers.contract.AnonymizerLike`).

    Args:
        plugged: any callable of a batch of faces; a network among others, which goes to the device with this.
    """

    def __init__(self, plugged: Callable[..., Tensor]) -> None:
        super().__init__()
        self.plugged = plugged
        self.takes = taken(plugged, KEYWORDS)

    def forward(
        self, images: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """Faces (B, 3, H, W) in [-1, 1] -> what it makes of them, with the keywords that it takes."""
        given = {"source": source, "key": key, "track": track, "rng": rng}
        return self.plugged(images, **{name: given[name] for name in self.takes})

    def __getattr__(self, name: str) -> Any:
        """Its own methods, such as ``recover``."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            inner = self.__dict__.get("plugged") or self.__dict__.get("_modules", {}).get("plugged")
            if inner is None or name.startswith("__"):
                raise
            return getattr(inner, name)


def as_anonymizer(given: object, who: str, data: object = None) -> nn.Module:
    """What was built of a configuration as an anonymizer: itself, if it is one, else behind the call of one.

    Args:
        data: completes a partial that takes ``data``.

    Raises:
        UserError: it cannot be called with faces alone.
    """
    if isinstance(given, functools.partial) and taken(given, ["data"]):
        given = given(data=data)
    check_call(given, who, FORM, "images")
    assert callable(given)
    if isinstance(given, nn.Module) and taken(given, KEYWORDS) == KEYWORDS:
        return given
    return Plugged(given)


def name_of(anonymizer: object) -> str:
    """The name of its class, or of the function that it is."""
    inner = plain(anonymizer)
    return inner.__name__ if inspect.isroutine(inner) else type(inner).__name__


def plain(anonymizer: object) -> object:
    """What was plugged in."""
    return anonymizer.plugged if isinstance(anonymizer, Plugged) else anonymizer
