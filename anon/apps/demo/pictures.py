"""What the demo does with pictures: they come as bytes and go as bytes, and nothing of them stays.

A picture takes the way of :mod:`anon.apps.anonymize`: what cannot be changed, or is recognized all the same, is
covered. The attack sees the anonymized picture and where its faces are, and no more.
"""

from __future__ import annotations

import base64
import io
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from anon.apps.idle import check_photograph
from anon.apps.python import built
from anon.apps.victims import shipped_on, trained_attack
from anon.attacks.reconstruction import Reconstruction
from anon.errors import UserError
from anon.evaluation.trained import check_victim
from anon.faces.contract import to_uint8
from anon.faces.images import ImageError, Layers, image_of
from anon.faces.learned import DOMAINS
from anon.faces.synthetic.crowds import Walk, crowd_of
from anon.video import photographs
from anon.video.gate import Verdict
from anon.video.paste import crop_of
from anon.video.pipeline import Anonymizing
from anon.video.tracks import Seen, alone

SHIPPED_ATTACK = "shipped:reconstruction"
LARGEST = 16_000_000  # pixels of a picture
FACES = 16  # that are attacked
_ABOUT_PEOPLE = 7_000_000  # from which on people are rendered whom no split has


class Demo(NamedTuple):
    """Pictures in, pictures out.

    ``no_attack``: why there is none, where ``attacker`` is None; else what a reader must know of it, or nothing.
    """

    by: Anonymizing
    title: str
    domain: str
    attacker: Reconstruction | None
    no_attack: str

    def about(self) -> dict[str, Any]:
        """What the page tells of the demo."""
        judges = [{"name": each.judge.name, "threshold": each.threshold} for each in self.by.gate.judging]
        told = {"method": self.title, "domain": self.domain, "judges": judges}
        return {**told, "attack": self.attacker is not None, "about_attack": self.no_attack}

    def sample(self) -> bytes:
        """A rendered person, as PNG; somebody else at every call.

        Raises:
            UserError: the demo is of photographs.
        """
        if self.domain != DOMAINS[0]:
            raise UserError("Rendered people are for anon demo domain=synthetic.")
        number = _ABOUT_PEOPLE + secrets.randbelow(1_000_000)
        walk = Walk(number, 96.0, torch.tensor([[120.0, 84.0]]))
        return _png(crowd_of([walk], height=180, width=240, seed=number % 997).frames[0])

    def anonymize(self, content: bytes) -> dict[str, Any]:
        """The anonymized picture, and what became of each face.

        Raises:
            UserError: no picture that can be used, or one that cannot be anonymized as it is asked for.
        """
        kept: list[tuple[Seen, Verdict]] = []

        def watch(
            number: int, before: Tensor, after: Tensor, faces: Sequence[Seen], verdicts: Sequence[Verdict]
        ) -> None:
            kept.extend(zip(faces, verdicts, strict=True))

        result, tally = self.by.changed(picture_of(content), watch)
        self.by.change.begin()  # forgets who was in it
        faces = [
            {
                "status": verdict.status,
                "reason": verdict.reason,
                "box": [round(float(side)) for side in face.box],
                "judges": [] if verdict.reason is not None else self._told(verdict.distances),
            }
            for face, verdict in kept
        ]
        return {"picture": _shown(result), "label": tally.label(), "faces": faces}

    @torch.no_grad()
    def attack(self, before: bytes, after: bytes) -> dict[str, Any]:
        """What the attack makes of each face of an anonymized picture, and who is recognized then.

        Args:
            before: the picture as it was, which says where faces are and is compared with.
            after: the same, anonymized, in a format that loses nothing.

        Raises:
            UserError: there is no attack, the two are not one picture's, or no face is in it.
        """
        if self.attacker is None:
            raise UserError(self.no_attack)
        original, changed = picture_of(before), picture_of(after)
        if original.shape != changed.shape:
            raise UserError("The two pictures are not of one size, so one is not the other anonymized.")
        crops = self._crops(original, changed)
        if not crops:
            raise UserError("No face with five points was found in the picture, so there is none to attack.")
        was, now = torch.stack(crops).unbind(1)  # (B, 3, S, S) each
        back = self.attacker.images(now).clamp(-1.0, 1.0)
        of_changed, of_back = (self.by.gate.compared(was, each)[0].tolist() for each in (now, back))
        return {
            "faces": [
                {
                    **{name: _shown(to_uint8(each)) for name, each in zip(_ROWS, pictures, strict=True)},
                    "judges_changed": self._told(apart),
                    "judges_attacked": self._told(undone),
                }
                for pictures, apart, undone in zip(zip(was, now, back, strict=True), of_changed, of_back, strict=True)
            ]
        }

    def _crops(self, original: Tensor, changed: Tensor) -> list[Tensor]:
        """(2, 3, S, S) of each face: as it was, and as it is."""
        found, size = list[Tensor](), self.by.change.size
        for face in alone(photographs.detect(self.by.detector, Layers(original, None)))[:FACES]:
            try:
                found.append(torch.stack([crop_of(each, face.points, size) for each in (original, changed)]))
            except ValueError:  # without points
                continue
        return found

    def _told(self, distances: Sequence[float]) -> list[dict[str, Any]]:
        """Of each judge its distance, and whether it takes both for one person."""
        return [
            {
                "name": each.judge.name,
                "distance": round(value, 3) if value == value else None,
                "threshold": round(each.threshold, 3),
                "recognized": not value >= each.threshold,  # a judge that fails recognizes
            }
            for each, value in zip(self.by.gate.judging, distances, strict=True)
        ]


_ROWS = ("original", "changed", "attacked")


def demo_of(settings: Sequence[str], checkpoint: str | None = None) -> Demo:
    """The demo of ``anon demo <settings>``.

    Args:
        checkpoint: of the attack, such as a run folder; None: what ships, where it learned the method.

    Raises:
        UserError: a setting that cannot be, or an attack that learned another method.
    """
    for word in settings:
        if word.lstrip("+~").partition("=")[0] in ("input", "output", "dry_run", "store", "store.file", "recover"):
            raise UserError(f"{word} is none of the demo's: it takes pictures from its page and keeps nothing.")
    check_photograph(settings)
    by = built(*settings)
    domain = str(by.settings["domain"])
    method = by.settings["method"]
    title = str(method.get("title") or method.get("_target_")) if isinstance(method, dict) else str(method)
    attacker, told = _attacker(by, domain, checkpoint)
    return Demo(by, title, domain, attacker, told)


def _attacker(by: Anonymizing, domain: str, checkpoint: str | None) -> tuple[Reconstruction | None, str]:
    """The attack, and what a reader must know of it; None, and why there is none."""
    if checkpoint is None and domain != DOMAINS[0]:
        way = "anon train experiment=reconstruction ..., then anon demo --attack <run folder>"
        return None, f"No attack on photographs ships; train one: {way}."
    attack = trained_attack(checkpoint or shipped_on(by.change.method) or SHIPPED_ATTACK)
    try:
        note = check_victim(attack, by.change.method, "The attack", "name one that did: --attack <checkpoint>")
    except UserError as error:
        if checkpoint is not None:
            raise
        return None, str(error)
    return attack, note or ""


def picture_of(content: bytes) -> Tensor:
    """The picture uint8 (H, W, 3) RGB that bytes are, transparency on black.

    Raises:
        UserError: they are none, or too many pixels.
    """
    try:
        picture = image_of(content)
    except ImageError as error:
        raise UserError(f"This cannot be used as a picture: it is {error}.") from error
    if picture.shape[0] * picture.shape[1] > LARGEST:
        raise UserError(f"The picture has more than {LARGEST // 1_000_000} megapixels; send a smaller one.")
    return picture


def _png(picture: Tensor) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture.numpy()).save(stream, "PNG")
    return stream.getvalue()


def _shown(picture: Tensor) -> str:
    return f"data:image/png;base64,{base64.b64encode(_png(picture)).decode()}"
