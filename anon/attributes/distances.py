"""How far two readings of one estimator lie apart, for each face: one place for what every table calls an error."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def distances(read: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of every attribute that both have, (B,) each.

    ``pose``, ``gaze``: L2 in degrees; ``expression``: L2 in the estimator's units; ``landmarks``: mean distance in
    pixels; ``action_units``: root mean square over the units; ``age``: years; ``gender``: difference of probabilities.

    >>> import torch
    >>> found = distances({"pose": torch.tensor([[3.0, 4.0, 0.0]]), "age": torch.tensor([30.0])},
    ...                   {"pose": torch.zeros(1, 3), "age": torch.tensor([33.0])})
    >>> {name: float(error) for name, error in found.items()}
    {'pose': 5.0, 'age': 3.0}
    """
    found = {}
    for name in truth:
        if name not in read or read[name].shape != truth[name].shape:
            continue  # not read, or another estimator's vector
        apart = read[name] - truth[name]
        if name == "landmarks":
            found[name] = apart.norm(dim=-1).mean(-1)
        elif name == "action_units":
            found[name] = apart.square().mean(-1).sqrt()
        elif name in ("age", "gender"):
            found[name] = apart.abs()
        elif name in ("pose", "gaze", "expression"):
            found[name] = apart.norm(dim=-1)
    return found
