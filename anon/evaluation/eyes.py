"""Judge and conditioning encoder: their embeddings, kept in the harness's store, and what these calibrate."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from anon.evaluation import protocol as rules
from anon.evaluation.embeddings import embedded
from anon.evaluation.gallery import Gallery
from anon.evaluation.harness.pictures import Originals
from anon.evaluation.harness.readers import Eye, as_it_conditions, embeddings, eye
from anon.evaluation.harness.store import Store
from anon.evaluation.harness.subjects import keyed
from anon.evaluation.judging import check_recognizes, kinship_notes
from anon.evaluation.modes import Basis
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
        self.embed: dict[str, Embed] = {
            who: functools.partial(embedded, one.recognizer) for who, one in self.by.items()
        }

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

    def kinship(self, encoder: Encoder, faces: FaceSet, trained: str = "the generator") -> list[str]:
        """:func:`anon.evaluation.judging.kinship_notes` of the judge and an encoder on background ``faces``."""
        indices = rules.some_of_each(faces, self.rule.calibration_images)
        pictures, other = Originals(keyed(faces, indices)[0]), eye(as_it_conditions(encoder))
        z = embeddings(self.store, pictures, other, self.rule.batch_size, self.device)
        judge = self.by[JUDGE].recognizer
        return kinship_notes(judge, self.see(JUDGE, faces, indices), z, faces.labels[indices], trained)

    def calibrate_probes(self, who: str, faces: FaceSet, seed: int) -> Calibrated:
        """The threshold of probes against the enrolled, on people who are evaluated nowhere.

        Raises:
            UserError: see :func:`anon.evaluation.thresholds.calibrated_probes`.
        """
        roles = rules.calibrating(faces, self.rule.calibration_images)
        every = roles.every
        z, labels, videos = self.see(who, faces, every), faces.labels[every], faces.videos[every]
        places, rule = roles.within(every), self.rule
        made = calibrated_probes(z, labels, videos, places, rule.far, f"the {who}", rule.resamples, seed)
        if who == JUDGE:
            check_recognizes(made.found, self.by[JUDGE].recognizer, rule)
        return made

    def anchors(self, faces: FaceSet, seed: int) -> Tensor:
        """(N, D) averages, by the encoder, of the people of ``faces`` whose mixes are fake identities."""
        indices = rules.some_of_each(faces, self.rule.calibration_images)
        return rules.anchors(self.see(ENCODER, faces, indices), faces.labels[indices], self.rule.anchors, seed)

    def basis(self, data: rules.Data, seed: int) -> Basis:
        """What policies of the encoder are made of: training people for anchors, background people for thresholds."""

        def strangers() -> Tensor:
            faces = data.faces("background")
            return self.see(ENCODER, faces, rules.some_of_each(faces, self.rule.calibration_images))

        return Basis(
            lambda: self.anchors(data.faces("train"), seed).to(self.device),
            strangers,
            lambda: self.calibrate(ENCODER, data.faces("background")).threshold,
        )

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
