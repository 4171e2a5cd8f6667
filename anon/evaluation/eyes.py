"""Judge and conditioning encoder: their embeddings, kept in the harness's store, and what these calibrate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from anon.evaluation import protocol as rules
from anon.evaluation.gallery import Gallery
from anon.evaluation.harness.pictures import Originals
from anon.evaluation.harness.readers import Eye, as_it_conditions, embeddings, eye
from anon.evaluation.harness.store import Store
from anon.evaluation.harness.subjects import keyed
from anon.evaluation.thresholds import Calibrated, calibrated_probes
from anon.faces.contract import FaceSet
from anon.generators.contract import GeneratorLike
from anon.identity.contract import JudgeLike
from anon.identity.encoder import Encoder

Embed = Callable[[Tensor], Tensor]
JUDGE, ENCODER = "judge", "encoder"


class Eyes:
    """Both recognizers by name: :data:`JUDGE` and :data:`ENCODER`.

    Args:
        encoder: that conditions a generator; None where nobody asks for it.
        judge: another recognizer.
        rule: FAR, pictures a person and batch size.
        device: of the networks.
        cache: folder of the store; None keeps embeddings for this process.
    """

    def __init__(
        self,
        encoder: Encoder | None,
        judge: JudgeLike,
        rule: rules.Protocol,
        device: torch.device | str,
        cache: Path | None,
    ) -> None:
        self.rule, self.device, self.store = rule, torch.device(device), Store(cache)
        self.by: dict[str, Eye] = {JUDGE: eye(judge)}
        if encoder is not None:
            self.by[ENCODER] = eye(as_it_conditions(encoder))
        self.embed: dict[str, Embed] = {who: one.recognizer.embed for who, one in self.by.items()}

    def see(self, who: str, faces: FaceSet, indices: Tensor) -> Tensor:
        """(N, D) embeddings of these pictures, in eight bits."""
        pictures = Originals(keyed(faces, indices)[0])
        return embeddings(self.store, pictures, self.by[who], self.rule.batch_size, self.device)

    def calibrate(self, who: str, faces: FaceSet) -> rules.Calibration:
        """The threshold of pictures against each other (trackers), on people who are evaluated nowhere.

        Raises:
            UserError: see :func:`anon.evaluation.protocol.calibrate`.
        """
        indices = rules.some_of_each(faces, self.rule.calibration_images)
        return rules.calibrate(self.see(who, faces, indices), faces.labels[indices], self.rule.far, f"the {who}")

    def calibrate_probes(self, who: str, faces: FaceSet, seed: int) -> Calibrated:
        """The threshold of probes against the enrolled, on people who are evaluated nowhere.

        Raises:
            UserError: see :func:`anon.evaluation.thresholds.calibrated_probes`.
        """
        roles = rules.calibrating(faces, self.rule.calibration_images)
        every = roles.every
        z, labels, videos = self.see(who, faces, every), faces.labels[every], faces.videos[every]
        places, rule = roles.within(every), self.rule
        return calibrated_probes(z, labels, videos, places, rule.far, f"the {who}", rule.resamples, seed)

    def anchors(self, faces: FaceSet, seed: int) -> Tensor:
        """(K, D) fake identities: mixtures of the people of ``faces`` as the encoder sees them."""
        indices = rules.some_of_each(faces, self.rule.calibration_images)
        return rules.anchors(self.see(ENCODER, faces, indices), faces.labels[indices], self.rule.anchors, seed)

    def gallery(self, who: str, faces: FaceSet, enrol: Tensor, found: rules.Calibration) -> Gallery:
        """The enrolled pictures with these indices."""
        return Gallery.of(self.see(who, faces, enrol), faces.labels[enrol], faces.videos[enrol], found)


def gather(generator: GeneratorLike, *recognizers: object) -> torch.device:
    """The generator's device, to which the recognizers are moved."""
    device = next(iter(getattr(generator, "parameters", list)()), torch.zeros(())).device
    for recognizer in recognizers:
        if isinstance(recognizer, nn.Module):
            recognizer.to(device)
    return device
