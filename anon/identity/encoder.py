"""The identity encoder I(.): a frozen recognizer that gives the embedding and the feature maps in one pass.

It takes image batches of the contract at any H x W, frames (:func:`anon.faces.alignment.reframe`) and normalizes them
as its network was trained, and returns ``Embedded(z, maps)``. Its weights never learn, but gradients reach the image,
so it conditions the generator and gives the identity and IFSR losses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.faces.alignment import Framing, reframe
from anon.identity.contract import Embedded
from anon.weights.files import fingerprint, load_into

#: The word for "no weight file, keep the random start", which tests and benchmarks say outright.
RANDOM = "random"


class Encoder(nn.Module):
    """A backbone behind the encoder contract.

    Args:
        backbone: network from a normalized ``(B, 3, size, size)`` batch to raw embeddings (B, D); has ``dim``.
        size: side of its input in pixels, which also says what of a face it wants to see (:class:`Framing`).
        mean, std: of its input, per channel of RGB, for images in [0, 1]; (0.5, 0.5, 0.5) leaves [-1, 1] as it is.
        name: how tables and errors call it.
        weights: a file, ``shipped:<name>``, ``random`` (keep the random start), or None for a backbone that already
            holds its weights.
        layers: the IFSR layers, dotted names of submodules of the backbone whose outputs are the maps.
        bgr: the network wants blue first.
        flip: add the raw embedding of the mirrored image (flip-sum); the maps stay those of the image itself.
        dim: size of the embedding as the configuration states it, for generators to refer to; checked.
        origin: where users get the weights, one clause; given, ``weights=None`` is an error that quotes it.

    Raises:
        UserError: weights missing or unfit, or a ``dim`` or a layer that the backbone does not have.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        size: int,
        mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
        std: tuple[float, float, float] = (0.5, 0.5, 0.5),
        name: str = "encoder",
        weights: str | None = None,
        layers: Sequence[str] = (),
        flip: bool = False,
        origin: str | None = None,
        dim: int | None = None,
        bgr: bool = False,
    ) -> None:
        super().__init__()
        self.name = name
        self.size = size
        self.flip = flip
        self.bgr = bgr
        self.backbone = backbone
        self.dim = int(backbone.dim)  # type: ignore[arg-type]
        if dim is not None and dim != self.dim:
            raise UserError(f"encoder.dim={dim}, but the backbone of '{name}' gives embeddings of {self.dim} numbers.")
        self.layers = tuple(layers)
        self._check(self.layers)
        # For images in [-1, 1]: ((x + 1) / 2 - mean) / std = (x - (2 mean - 1)) / (2 std).
        self.register_buffer("mean", torch.tensor(mean).mul(2).sub(1).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).mul(2).view(3, 1, 1), persistent=False)
        if weights is None and origin is not None:
            raise UserError(
                f"The recognizer '{name}' needs a weight file (encoder.weights=<file>; for a judge "
                f"judge.encoder.weights=<file>): {origin}."
            )
        if weights is not None and weights != RANDOM:
            load_into(backbone, weights)
        self.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.requires_grad_(False)
        self.train(False)

    def forward(self, images: Tensor, layers: Sequence[str] = ()) -> Embedded:
        """Images (B, 3, H, W) in [-1, 1] -> z (B, D) float32 unit norm, and one map per name in ``layers``, in order.

        The maps come from forward hooks of the named submodules; one that runs several times gives its last output.
        """
        x = self.prepare(images)
        with self._grabbing(layers) as grabbed:
            raw = self.backbone(x).float()
        if self.flip:
            raw = raw + self.backbone(x.flip(-1)).float()
        return Embedded(F.normalize(raw), tuple(grabbed[name] for name in layers))

    def maps(self, images: Tensor, layers: Sequence[str]) -> tuple[Tensor, ...]:
        """The maps of ``forward`` alone: the pass ends behind the deepest of ``layers``, which run once each.

        Raises:
            RuntimeError: the backbone's pass does not reach one of them.
        """
        with self._grabbing(layers, stop=True) as grabbed:
            self.backbone(self.prepare(images))
        return tuple(grabbed[name] for name in layers)

    def prepare(self, images: Tensor) -> Tensor:
        """Contract images at any size -> the backbone's own input (B, 3, size, size)."""
        x = prepare(images, self.size, self.mean, self.std, self.bgr)
        # Channels last: the layout in which convolutions are fastest, 1.2 to 1.7 times on a CPU.
        return x.contiguous(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> Encoder:
        """Stays in evaluation mode whatever is asked: its batch norms must not move."""
        return super().train(False)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights: tells whether two encoders are one network, whatever they are called.

        A backbone that is a file of its own (ONNX) has the file's, which is also that of the file as a judge.
        """
        return getattr(self.backbone, "fingerprint", None) or fingerprint(self.backbone)

    @contextmanager
    def _grabbing(self, layers: Sequence[str], stop: bool = False) -> Iterator[dict[str, Tensor]]:
        """Inside, passes of the backbone note the outputs of ``layers``; with ``stop`` they end when all are noted."""
        self._check(layers)
        grabbed: dict[str, Tensor] = {}
        count = len(set(layers)) if stop else None
        hooks = [(self.backbone.get_submodule(name), _grab(grabbed, name, count)) for name in layers]
        handles = [module.register_forward_hook(hook) for module, hook in hooks]
        try:
            yield grabbed
        except _AllGrabbed:
            pass
        finally:
            for handle in handles:
                handle.remove()

    def _check(self, layers: Sequence[str]) -> None:
        for layer in layers:
            try:
                self.backbone.get_submodule(layer)
            except AttributeError:
                choices = ", ".join(name for name, _ in self.backbone.named_modules() if name and name.count(".") < 2)
                raise UserError(f"The recognizer '{self.name}' has no layer '{layer}'; it has: {choices}.") from None


def prepare(images: Tensor, size: int, mean: Tensor, std: Tensor, bgr: bool = False) -> Tensor:
    """Contract images at any size -> (B, 3, size, size), normalized by ``mean`` and ``std`` (3, 1, 1) of [-1, 1]."""
    # Where autocast made a generator's picture bfloat16: torch cannot resize that with antialiasing on a CPU.
    x = (reframe(images.float(), Framing.of(size)) - mean) / std
    return x.flip(1) if bgr else x


class _AllGrabbed(Exception):
    """Ends a pass from within, which works for any backbone: nothing behind the deepest layer is computed."""


def _grab(into: dict[str, Tensor], name: str, enough: int | None) -> Callable[..., None]:
    """A forward hook that keeps the output under a name, and ends the pass once ``enough`` names are there."""

    def hook(module: nn.Module, args: tuple[object, ...], output: Tensor) -> None:
        into[name] = output
        if len(into) == enough:
            raise _AllGrabbed

    return hook
