"""How much of one recognizer's weights is found in another, whatever stands before or behind them.

Two settings of one file (another mean, blue first) and a layer behind its embedding measure other distances, and are
one network all the same. A matrix or kernel is found where the other network has one of the same size whose rows point
the same way (mean |cosine| above .9): a copy in half precision, one with noise, one with folded batch norms.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import torch
from onnx import ModelProto, TensorProto, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

SAME = 0.5  # share of a network's weights from which on the other holds it
_ALIKE = 0.9  # mean |cosine| of the rows of two tensors
_LEAST = 256  # numbers of a tensor that tells something


def share_of_weights(first: object, second: object) -> float:
    """The share of the smaller network's weights that the other has; 0 where one shows none.

    Args:
        first, second: recognizers: modules, or judges with an ONNX graph.
    """
    shown = [list(_matrices(each)) for each in (first, second)]
    few, many = sorted(shown, key=lambda matrices: sum(each.numel() for each in matrices))
    by_size: dict[int, list[Tensor]] = defaultdict(list)
    for each in many:
        by_size[each.numel()].append(each)
    total = found = 0
    for each in few:
        total += each.numel()
        found += each.numel() * any(_alike(each, other) for other in by_size[each.numel()])
    return found / total if total else 0.0


def _alike(first: Tensor, second: Tensor) -> bool:
    """Of (N, M) and (N, M), or (M, N)."""
    turned = [second] if first.shape == second.shape else []
    turned += [second.T] if first.shape == second.T.shape else []
    return any(float(F.cosine_similarity(first, each).abs().mean()) > _ALIKE for each in turned)


def _matrices(recognizer: object) -> Iterator[Tensor]:
    """(N, M) float32 of every kernel and matrix, one row for each output."""
    for value in _weights(recognizer):
        if value.ndim >= 2 and value.numel() >= _LEAST:
            yield value.detach().cpu().float().flatten(1)


def _weights(recognizer: object) -> Iterator[Tensor]:
    model = getattr(getattr(recognizer, "recognizer", None), "model", None)
    if isinstance(model, ModelProto):
        for constant in model.graph.initializer:
            if constant.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE):
                yield torch.from_numpy(numpy_helper.to_array(constant).copy())
    elif isinstance(recognizer, nn.Module):
        yield from (value for value in recognizer.state_dict().values() if value.is_floating_point())
