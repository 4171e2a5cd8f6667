"""Where a target-oriented generator goes with one condition and with the opposite one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.identity.encoder import Encoder


@torch.no_grad()
def steering(generator: nn.Module, encoder: Encoder, images: Tensor) -> dict[str, Tensor]:
    """Where a generator goes with z and with -z, for targets (B, 3, H, W): tells its ``steers``.

    Returns:
        ``cos_own``, ``cos_opposite``: mean cosine of the target's embedding to that of the blended picture drawn with
        z and with -z (FIVA: the first is far smaller); ``cos_raw``: the first for the raw picture; ``cos_swap``: mean
        cosine of another target's embedding to that of the picture drawn with ``steers`` times it; ``l1``: mean
        absolute difference of blended picture and target; ``mask_area`` where there is a mask.
    """
    z = encoder(images).z
    other = z.roll(len(z) // 2, 0)
    own, opposite = generator(images, z), generator(images, -z)
    swap = generator(images, generator.steers * other)  # type: ignore[operator]
    seen = encoder(torch.cat((own.blend(images), opposite.blend(images), own.image, swap.blend(images)))).z.chunk(4)
    pairs = zip(("cos_own", "cos_opposite", "cos_raw", "cos_swap"), (z, z, z, other), seen, strict=True)
    found = {name: F.cosine_similarity(wanted, z_changed).mean() for name, wanted, z_changed in pairs}
    found["l1"] = F.l1_loss(own.blend(images), images)
    return found if own.mask is None else found | {"mask_area": own.mask.mean()}
