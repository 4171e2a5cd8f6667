"""An adversary with a recognizer of its own, for whom people are enrolled as they are.

McPherson, Shokri & Shmatikov 2016 (*Defeating image obfuscation with deep learning*) train one on changed faces. One
that learned people from changed and unchanged pictures alike (``experiment=parrot`` with ``attack.clear`` above 0)
compares the two, and needs no anonymizer when it attacks; with one, it is :class:`anon.attacks.parrot.Parrot`.
"""

from __future__ import annotations

from anon.attacks.contract import Attack
from anon.identity.contract import JudgeLike


class OwnRecognizer(Attack):
    """``judge(encoder) = recognizer``.

    Args:
        recognizer: compares probes with the gallery in the judge's place.
    """

    def __init__(self, recognizer: JudgeLike) -> None:
        super().__init__()
        self.recognizer = recognizer

    def judge(self, encoder: JudgeLike) -> JudgeLike:
        """The adversary's recognizer, whatever the judge is."""
        return self.recognizer
