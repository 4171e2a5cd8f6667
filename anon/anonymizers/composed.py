"""encoder + policy + generator behind one call: ``X_c = blend(generator(X_t, steers * policy(encoder(X_t))))``.

Fails closed: a face that could not be redrawn is an error, never the face that came in.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anon.errors import Failed, UserError
from anon.faces.contract import check_images
from anon.generators.contract import GeneratorLike, Redrawn
from anon.identity.contract import Draws, EncoderLike, Given, PolicyLike
from anon.parallel import LEAST, has_cores, in_parts, remembers_nothing, side_by_side

AT_ONCE = 1 << 17  # pixels that a CPU draws at once: the maps of more do not fit into its caches


class AnonymizationError(Failed):
    """The face could not be changed. Nothing of it may be shown."""


class Anonymizer(nn.Module):
    """A generator made into an anonymizer (:class:`anon.anonymizers.contract.AnonymizerLike`).

    Args:
        encoder: the conditioning encoder that the generator was trained with.
        policy: who the face shall seem to be.
        generator: redraws it; its ``steers`` says whether it becomes (+1) or flees (-1) its condition. Of one that
            inpaints (0) the encoder only tells a tracker who is who, and the policy draws a latent.
    """

    def __init__(self, encoder: EncoderLike, policy: PolicyLike, generator: GeneratorLike) -> None:
        super().__init__()
        self.encoder = encoder
        self.policy = policy
        self.generator = generator

    def forward(
        self, images: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """Faces (B, 3, H, W) in [-1, 1] -> changed faces, the same form.

        Raises:
            ValueError: images that break the contract.
            AnonymizationError: the generator gave something that is not an image.
        """
        return self.redraw(images, source=source, key=key, track=track, rng=rng).blend(images).clamp(-1.0, 1.0)

    def redraw(
        self, images: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Redrawn:
        """Raw image and mask. ``source``: images (B, 3, H, W) or (1, 3, H, W) of other people, for swap policies."""
        check_images(images)
        z_source = None if source is None else self.identify(check_images(source, "source"))
        return self.draw(images, self.policy(self.identify(images), source=z_source, key=key, track=track, rng=rng))

    @property
    def reversible(self) -> bool:
        """Whether the policy can be undone."""
        return callable(getattr(self.policy, "undo", None))

    def recover(self, images: Tensor, key: Given) -> Tensor:
        """Changed faces (B, 3, H, W) with the key that changed them -> as they were, as far as the generator gets.

        With another key it gives somebody else. Nothing here tells which it was.

        Raises:
            UserError: a policy that cannot be undone, or no key.
            AnonymizationError: the generator gave something that is not an image.
        """
        if not self.reversible:
            raise UserError(f"{type(self.policy).__name__} cannot be undone; policy=rotation can, with its key.")
        wanted = self.policy.undo(self.identify(check_images(images)), key)  # type: ignore[attr-defined]
        return self.draw(images, wanted).blend(images).clamp(-1.0, 1.0)

    def identify(self, images: Tensor) -> Tensor:
        """Who the faces (B, 3, H, W) are, (B, D). A policy could make a fake of NaN that looks like any other.

        Raises:
            AnonymizationError: the encoder gave no embeddings.
        """
        z = in_parts(lambda part: self.encoder(part).z, images, by=self.encoder)
        if z.ndim != 2 or len(z) != len(images) or not bool(z.isfinite().all()):
            raise AnonymizationError("The encoder gave no embeddings (NaN, infinite, or of another shape).")
        return z

    def draw(self, images: Tensor, wanted: Tensor) -> Redrawn:
        """Redraw ``images`` (B, 3, H, W) as the wanted identities (B, D), whatever the policy says."""
        if not bool(wanted.isfinite().all()):
            raise AnonymizationError("The wanted identity holds NaN or infinite numbers; the face was not changed.")
        conditions = -wanted if self.generator.steers < 0 else wanted
        images = images.contiguous(memory_format=torch.channels_last)  # faster on a CPU
        few = len(images) if images.is_cuda else max(1, AT_ONCE // (images.shape[-2] * images.shape[-1]))
        parts = list(zip(images.split(few), conditions.split(few), strict=True))
        if few >= 2 * LEAST and has_cores(images) and remembers_nothing(self.generator):
            halves = [zip(*(rows.tensor_split(1 + (len(rows) == few)) for rows in part), strict=True) for part in parts]
            redrawn = side_by_side(self._drawn, [half for pair in halves for half in pair])
        else:  # large maps keep all cores busy
            redrawn = [self._drawn(*part) for part in parts]
        masks = [mask for _, mask in redrawn if mask is not None]
        return Redrawn(torch.cat([image for image, _ in redrawn]), torch.cat(masks) if masks else None)

    def _drawn(self, images: Tensor, conditions: Tensor) -> Redrawn:
        image, mask = self.generator(images, conditions)
        if not _fits(image, images.shape, -1.0, 1.0):
            raise AnonymizationError("The generator gave no image (NaN, another shape, or outside [-1, 1]).")
        if mask is not None and not _fits(mask, images[:, :1].shape, 0.0, 1.0):
            raise AnonymizationError("The generator gave no mask (NaN, another shape, or outside [0, 1]).")
        return Redrawn(image.contiguous().clamp(-1.0, 1.0), None if mask is None else mask.clamp(0.0, 1.0))


def _fits(values: Tensor, shape: torch.Size, low: float, high: float) -> bool:
    """Finite, of that shape and within the bounds, with 0.01 of slack for rounding."""
    return values.shape == shape and bool(((values >= low - 0.01) & (values <= high + 0.01)).all())


class Unchanged(nn.Module):
    """The row Real: the faces as they are."""

    def forward(
        self, images: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """Returns ``images``, checked."""
        return check_images(images)
