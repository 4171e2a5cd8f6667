"""Recognizers that a pattern does not fool: the pictures that they learn from, and how robust they became.

    min over w of E max over |d| <= radius of L(w, x + d, y)                 (Madry et al., ICLR 2018, eq. 2.1)

An ordinary recognizer is fled most cheaply by a pattern that only a recognizer sees. Gradients of one that was trained
on the worst pictures of a ball are perceptually aligned (Tsipras et al., ICLR 2019; Engstrom et al., arXiv:1906.00945),
so a generator that flees it draws another person.

    python train.py experiment=recognizer_robust
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from anon.errors import UserError
from anon.faces.contract import FaceSet, batch_of
from anon.identity.contract import EncoderLike
from anon.identity.policies import average
from anon.identity.verification import pair_distances, threshold_at_far

#: Images (B, 3, H, W) -> a loss of each, (B,).
Losses = Callable[[Tensor], Tensor]


class WorstPicture:
    """The picture of the largest loss that projected gradient steps find in a ball around each (Madry et al., 2018).

    Args:
        radius: of the ball, in units of the [-1, 1] range: of a picture's L2 norm, or of its largest change. With l2 it
            grows with the picture's side, for one change a pixel: 2.0 at 64 px is 3.5 at 112 px and 8.0 at 256 px.
        steps: gradient steps; each costs a pass and a gradient.
        step: length of each, as a share of the radius.
        norm: "l2", with gradients of unit norm, or "linf", with their signs.
    """

    def __init__(self, radius: float = 2.0, steps: int = 2, step: float = 0.75, norm: str = "l2") -> None:
        if norm not in ("l2", "linf"):
            raise UserError(f"WorstPicture knows the norms l2 and linf, not '{norm}'.")
        self.radius, self.steps, self.step, self.norm = float(radius), int(steps), float(step), norm

    def stronger(self, steps: int = 20) -> WorstPicture:
        """The same ball searched in ``steps`` smaller steps, to measure what was learned; 2.5 radii long in all."""
        return WorstPicture(self.radius, steps, 2.5 / steps, self.norm)

    def __call__(self, losses: Losses, images: Tensor, rng: torch.Generator) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> detached ones in [-1, 1], none further than the radius.

        Args:
            losses: what is ascended; it must give the image a gradient, and no image's may depend on another's.
            rng: of the random start, uniform in the ball, on the images' device.
        """
        images = images.detach()
        change = self._within(self._start(images, rng))
        for _ in range(self.steps):
            with torch.enable_grad():
                at = (images + change).clamp(-1.0, 1.0).requires_grad_()
                (slope,) = torch.autograd.grad(losses(at).sum(), at)
            change = self._within(at.detach() - images + self.radius * self.step * self._direction(slope))
        return (images + change).clamp(-1.0, 1.0)

    def _start(self, images: Tensor, rng: torch.Generator) -> Tensor:
        if self.norm == "linf":
            return self.radius * (2.0 * torch.rand(images.shape, generator=rng, device=images.device) - 1.0)
        count, numbers = len(images), images[0].numel()
        direction = self._direction(torch.randn(images.shape, generator=rng, device=images.device))
        length = torch.rand(count, 1, 1, 1, generator=rng, device=images.device) ** (1.0 / numbers)
        return self.radius * length * direction

    def _direction(self, slope: Tensor) -> Tensor:
        return slope.sign() if self.norm == "linf" else F.normalize(slope.flatten(1)).view_as(slope)

    def _within(self, change: Tensor) -> Tensor:
        if self.norm == "linf":
            return change.clamp(-self.radius, self.radius)
        return change.renorm(2, 0, self.radius)


class NoisyPicture:
    """Each picture with Gaussian noise, from which a smoothed recognizer learns (Cohen et al., ICML 2019, section 3.3).

    Args:
        sigma: standard deviation, in units of the [-1, 1] range.
    """

    def __init__(self, sigma: float = 0.25) -> None:
        self.sigma = float(sigma)

    def __call__(self, losses: Losses, images: Tensor, rng: torch.Generator) -> Tensor:
        """Images (B, 3, H, W) -> the same form, not cut to [-1, 1]; ``losses`` is not asked."""
        return images + self.sigma * torch.randn(images.shape, generator=rng, device=images.device)


def robust_figures(
    encoder: EncoderLike,
    faces: FaceSet,
    attack: WorstPicture,
    far: float = 1e-3,
    people: int = 128,
    batch_size: int = 128,
    seed: int = 0,
) -> dict[str, float]:
    """How often a recognizer still knows a person whose picture was changed to flee it, within a ball.

    The last picture of a person is the probe, the mean of the others the template. The attack descends the probe's
    cosine to its own template. Accuracy after it is empirical: it bounds the true robustness from above.

    Returns:
        ``robust_top1``: share of attacked probes nearest to their own template; ``clean_top1``: of unchanged ones;
        ``robust_tar``, ``clean_tar``: share accepted below the threshold at ``far`` between pictures;
        ``attack_radius``, ``attack_steps``; ``robust_probes``.

    Raises:
        UserError: a person of ``faces`` has one picture only.
    """
    labels = torch.as_tensor(faces.labels)
    kept = labels < people
    rows = kept.nonzero().flatten().tolist()
    images = torch.cat([batch_of(faces, rows[at : at + batch_size])["image"] for at in range(0, len(rows), batch_size)])
    labels = labels[kept]
    last = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        own = (labels == label).nonzero().flatten()
        if len(own) < 2:
            raise UserError("Robustness needs two pictures of every person; this data has a person with one.")
        last[own[-1]] = True
    with torch.no_grad():
        z = torch.cat([encoder(part).z for part in images.split(batch_size)])
    threshold, _ = threshold_at_far(pair_distances(z, labels)[1], far)
    templates, names = average(z[~last], labels[~last])
    truth = torch.searchsorted(names, labels[last])
    rng = torch.Generator(images.device).manual_seed(seed)
    attacked = []
    for part, wanted in zip(images[last].split(batch_size), templates[truth].split(batch_size), strict=True):

        def fled(x: Tensor, wanted: Tensor = wanted) -> Tensor:
            return -(encoder(x).z * wanted).sum(1)

        attacked.append(attack(fled, part, rng))
    with torch.no_grad():
        after = torch.cat([encoder(part).z for part in attacked])
    found: dict[str, float] = {}
    for name, probes in (("clean", z[last]), ("robust", after)):
        cosine = probes @ templates.T  # (P, people)
        found[f"{name}_top1"] = float((cosine.argmax(1) == truth).float().mean())
        found[f"{name}_tar"] = float((1.0 - cosine.gather(1, truth[:, None]) < threshold).float().mean())
    return found | {"attack_radius": attack.radius, "attack_steps": attack.steps, "robust_probes": len(truth)}
