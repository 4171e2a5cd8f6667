"""Recognizers from ONNX files: as a judge through onnxruntime, and converted to torch as a training encoder.

    python -m anon.identity.onnx w600k_r50.onnx        # its layers, to name as IFSR layers

The conversion (onnx2torch) is checked at load: on a fixed random batch both must agree to a cosine of 0.9999 for every
image. Graphs that were exported for one image only take any batch afterwards, and gradients reach the image.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.commands import Parser, ended, in_utf8
from anon.errors import UserError
from anon.identity.contract import check_judge
from anon.identity.encoder import RANDOM, Encoder, prepare
from anon.identity.onnx_conversion import convert, simplify
from anon.identity.onnx_file import ORIGIN, Recognizer, Runtime, read

AGREEMENT = 0.9999


class OnnxJudge:
    """A recognition ONNX file as a judge: onnxruntime on the CPU, cosine distance of the flip-sum.

    Args:
        path: the file, such as ``w600k_r50.onnx`` or ``glintr100.onnx``; users get it themselves.
        flip: add the raw embedding of the mirror image.
        name: how tables call it; the file's name by default.
        mean, std: per channel for images in [0, 1]; by default those that insightface reads off the graph, one number
            for all channels. Models trained with ImageNet's normalization need them here.
        bgr: the network wants blue first.
        size: side of the input in pixels, for graphs that leave it free (112 by default).
        threshold: calibrated cosine distance below which two faces are one person, if known.
        origin: where users get the file, one clause.

    Raises:
        UserError: missing file, not ONNX, or not a recognition model.
    """

    metric = "cosine"

    def __init__(
        self,
        path: str | Path | None,
        flip: bool = True,
        name: str | None = None,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        bgr: bool = False,
        size: int | None = None,
        threshold: float | None = None,
        origin: str = ORIGIN,
    ) -> None:
        self.recognizer = read(path, origin, size)
        self.runtime = Runtime(self.recognizer)
        self.flip, self.bgr, self.threshold = flip, bgr, threshold
        self.name = name or self.recognizer.path.stem
        self.fingerprint, self.dim = self.recognizer.sha256, self.runtime.dim
        self.size = self.recognizer.size
        self.mean = torch.tensor(mean or [self.recognizer.mean] * 3).view(3, 1, 1)
        self.std = torch.tensor(std or [self.recognizer.std] * 3).view(3, 1, 1)
        check_judge(self)

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [-1, 1] -> (B, D) unit norm, on the device of the images."""
        x = prepare(images.float().cpu(), self.size, 2 * self.mean - 1, 2 * self.std, self.bgr)
        raw = self.runtime(x.numpy())
        if self.flip:
            raw = raw + self.runtime(x.flip(-1).numpy())
        return F.normalize(torch.from_numpy(raw)).to(images.device)


class OnnxBackbone(nn.Module):
    """A recognition ONNX file as a torch network: normalized ``(B, 3, size, size)`` -> raw embedding (B, dim).

    Attributes:
        layers: one map per resolution, at most half, quarter and eighth of the input: the last sum of a residual block
            there, or the last node. The default IFSR layers.
        shapes: (C, H, W) of every layer with a map, by its dotted name.

    Raises:
        UserError: what :func:`read` refuses; an operation that has no torch twin; or the twin disagrees.
    """

    def __init__(self, path: str | Path | None, origin: str = ORIGIN, size: int | None = None) -> None:
        super().__init__()
        recognizer = read(path, origin, size)
        self.size, self.fingerprint = recognizer.size, recognizer.sha256
        self.mean, self.std = (recognizer.mean,) * 3, (recognizer.std,) * 3
        probe = _probe(recognizer)
        expected = torch.from_numpy(Runtime(recognizer)(probe))
        self.dim = expected.shape[1]
        simple = simplify(recognizer)
        self.net = convert(simple, recognizer).eval().requires_grad_(False)
        self.shapes: dict[str, tuple[int, ...]] = {}
        found = self._trace(torch.from_numpy(probe), recognizer)
        agreement = float(F.cosine_similarity(found, expected).min()) if found.shape == expected.shape else -1.0
        if not agreement >= AGREEMENT:
            raise UserError(
                f"'{recognizer.path}' converted to torch gives other embeddings than onnxruntime (cosine "
                f"{agreement:.4f}, at least {AGREEMENT} is wanted); use it as a judge only."
            )
        self.layers = self._last_of_each_resolution({f"net.{n.name}" for n in simple.graph.node if n.op_type == "Add"})

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).flatten(1)

    def _trace(self, probe: Tensor, recognizer: Recognizer) -> Tensor:
        """One pass over the probe that notes the shape of every map."""

        def note(name: str):
            def hook(module: nn.Module, args: tuple[object, ...], output: object) -> None:
                if isinstance(output, Tensor) and output.ndim == 4 and len(output) == len(probe):
                    self.shapes[name] = tuple(output.shape[1:])

            return hook

        handles = [layer.register_forward_hook(note(f"net.{name}")) for name, layer in self.net.named_children()]
        try:
            with torch.no_grad():
                return self(probe)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise UserError(
                f"'{recognizer.path}' converted to torch does not take batches; use it as a judge only."
            ) from error
        finally:
            for handle in handles:
                handle.remove()

    def _last_of_each_resolution(self, sums: set[str]) -> tuple[str, ...]:
        chosen = []
        for part in (2, 4, 8):
            largest = self.size // part
            here = [name for name, (*_, side) in self.shapes.items() if largest // 2 < side <= largest]
            chosen += ([name for name in here if name in sums] or here)[-1:]
        return tuple(chosen)


def onnx_encoder(
    weights: str | None,
    name: str = "onnx",
    size: int | None = None,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
    layers: Sequence[str] | None = None,
    origin: str = ORIGIN,
    **rest: Any,
) -> Encoder:
    """The training encoder of an ONNX file; arguments as :class:`Encoder`, what is None is read off the graph.

    Raises:
        UserError: see :class:`OnnxBackbone`; or ``size`` or ``dim`` are not those of the file.
    """
    if weights == RANDOM:
        raise UserError(
            "An ONNX file is its own weights: encoder=onnx has no random start; give encoder.weights=<file>."
        )
    backbone = OnnxBackbone(weights, origin, size)
    layers = backbone.layers if layers is None else layers
    return Encoder(
        backbone, backbone.size, mean or backbone.mean, std or backbone.std, name=name, layers=layers, **rest
    )


def _probe(recognizer: Recognizer) -> np.ndarray:
    """Three random images, the same every time, smooth enough to look like something: normalized (3, 3, S, S)."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(3, 3, 7, 7, generator=rng)
    x = F.interpolate(coarse, (recognizer.size, recognizer.size), mode="bilinear")
    return ((x - recognizer.mean) / recognizer.std).numpy()


def main(arguments: Sequence[str] | None = None) -> int:
    """List the layers of a file: name, channels x height x width, a star at the default IFSR layers.

    Returns:
        The exit code.
    """
    parser = Parser(prog="python -m anon.identity.onnx", description="List the layers of a recognition ONNX file.")
    parser.add_argument("file")
    return ended(lambda: _list_layers(parser.parse_args(arguments).file))


def _list_layers(file: str) -> None:
    backbone = OnnxBackbone(file)
    side, mean, std = backbone.size, backbone.mean[0], backbone.std[0]
    print(f"{backbone.dim} numbers from {side} x {side} pixels; mean {mean:.4g}, std {std:.4g}")
    for name, shape in backbone.shapes.items():
        print(f"{'*' if name in backbone.layers else ' '} {name:60} {' x '.join(map(str, shape))}")


if __name__ == "__main__":
    in_utf8()
    sys.exit(main())
