"""Instance normalization (Ulyanov et al., arXiv:1607.08022) and its adaptive form, AdaIN (Huang and Belongie, ICCV
2017, eq. 8), in whatever way is fast for a tensor's layout; all ways give the same numbers.

PyTorch's instance norm loses ``channels_last``, and its group norm keeps it but is slow on a CPU with one channel a
group, in the backward pass above all. There the picture is one row of channels a pixel, and sums run down the columns.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def instance_norm(x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
    """``scale·(x - mean) / sqrt(variance + eps) + shift`` of each picture's channels, computed in at least float32.

    Args:
        x: (B, C, H, W).
        scale, shift: (B, C), or (1, C) for all pictures.

    Returns:
        (B, C, H, W) with x's dtype and layout.
    """
    dtype, channels = x.dtype, x.shape[1]
    kept = torch.promote_types(dtype, torch.float32)  # a CPU's bfloat16 kernel is four times slower besides
    x, scale, shift = x.to(kept), scale.to(kept), shift.to(kept)
    if torch.jit.is_tracing():  # for a file (anon export), which has neither autograd functions nor a batch's number
        out = torch.addcmul(shift[:, :, None, None], F.instance_norm(x, eps=eps), scale[:, :, None, None])
    elif _by_rows(x):
        rows = x.permute(0, 2, 3, 1).flatten(1, 2)  # a view
        found, *_ = _Rows.apply(rows, scale[:, None], shift[:, None], eps)
        out = found.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
    elif len(scale) == 1:
        out = F.group_norm(x, channels, scale[0], shift[0], eps)
    elif x.is_contiguous():  # every channel of every picture is one of a single picture
        one = x.flatten(0, 1)[None]
        out = F.group_norm(one, one.shape[1], scale.flatten(), shift.flatten(), eps).view_as(x)
    else:
        normal = F.group_norm(x, channels, eps=eps)
        out = torch.addcmul(shift[:, :, None, None], normal, scale[:, :, None, None])
    return out.to(dtype)


def _by_rows(x: Tensor) -> bool:
    # A compiler joins the sums itself.
    by_rows = x.is_cpu and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return by_rows and not torch.compiler.is_compiling()


class _Rows(torch.autograd.Function):
    """Rows (B, N, C), scale and shift (B or 1, 1, C) -> normalized rows, centred rows c, 1 / deviation r (B, 1, C).

    The last two are outputs because the backward pass is made of them, and so has a derivative itself, which R1 needs.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, scale: Tensor, shift: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        c = rows - rows.mean(1, keepdim=True)
        r = (c.square().mean(1, keepdim=True) + eps).rsqrt()
        ctx.save_for_backward(c, r, scale)
        ctx.set_materialize_grads(False)
        return torch.addcmul(shift, c, scale * r), c, r

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, g_c: Tensor | None, g_r: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        c, r, scale = ctx.saved_tensors
        d_rows = d_scale = d_shift = None
        if g is not None:
            total, along = g.sum(1, keepdim=True), (g * c).sum(1, keepdim=True)
            d_scale, d_shift = (along * r).sum_to_size(scale.shape), total.sum_to_size(scale.shape)
            g_r = along * scale if g_r is None else torch.addcmul(g_r, along, scale)
            d_rows = torch.addcmul(-total * scale * r / c.shape[1], g, scale * r)
        if g_c is not None:
            d_centred = g_c - g_c.mean(1, keepdim=True)
            d_rows = d_centred if d_rows is None else d_rows + d_centred
        if g_r is not None:
            d_r = -g_r * r**3 / c.shape[1]
            d_rows = c * d_r if d_rows is None else torch.addcmul(d_rows, c, d_r)
        return d_rows, d_scale, d_shift, None


class InstanceNorm(nn.Module):
    """Instance norm with weights, which may be modulated by a style (AdaIN). (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int, eps: float = 1e-3) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """Args: scale, shift: (B, C), applied to the normalized and weighted x; both or neither."""
        if scale is None or shift is None:
            return instance_norm(x, self.weight[None], self.bias[None], self.eps)
        return instance_norm(x, scale * self.weight, torch.addcmul(shift, scale, self.bias), self.eps)
