"""The discriminator's published size, and its form."""

from __future__ import annotations

import pytest
import torch

from anon.errors import UserError
from anon.generators.discriminator import Discriminator


def test_published_parameter_count() -> None:
    with torch.device("meta"):
        discriminator = Discriminator(256, base=64)
    assert sum(parameter.numel() for parameter in discriminator.parameters()) == pytest.approx(23.97e6, abs=0.005e6)


@pytest.mark.parametrize("size", [16, 64])
def test_one_logit_a_face(size: int) -> None:
    assert Discriminator(size, base=4)(torch.randn(3, 3, size, size)).shape == (3,)


@pytest.mark.parametrize("size", [8, 48, 112])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(UserError, match=f"not {size}"):
        Discriminator(size)
