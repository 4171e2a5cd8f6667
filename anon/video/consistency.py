"""Does a person stay one person over a track: M_tc (FIVA, eq. 7) of faces as they are written, and as they were.

    python anonymize.py input=clip.mp4 output=out.mp4 judge=<recognizer>     # M_tc in the report, per judge

The embeddings of a track are kept while it lasts, and of a long one no more than :data:`KEPT`, evenly over it.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from anon.metrics.temporal import temporal_consistency

KEPT = 64  # faces of a track at most; 32 or more of a longer one


class Consistency:
    """One judge's M_tc, mean over the tracks of which at least two faces were drawn.

    Args:
        metric: the judge's; see :func:`anon.identity.verification.distance`.
    """

    def __init__(self, metric: str) -> None:
        self.metric, self._ended = metric, list[tuple[int, Tensor]]()
        self._tracks: dict[int, _Kept] = {}

    def add(self, track: int, before: Tensor, after: Tensor) -> None:
        """A face of a track: embeddings (D,) of the original, and of what is written."""
        self._tracks.setdefault(track, _Kept()).add(torch.stack((before, after)))

    def keep(self, tracks: Collection[int]) -> None:
        """What tracks the frame has; all others are over, for no track has a gap."""
        for track in [each for each in self._tracks if each not in tracks]:
            self._ended += self._of(track, self._tracks.pop(track))

    def tracks(self) -> list[tuple[int, Tensor]]:
        """Each track of two faces or more with its figures (4,): mu before and after, sigma before and after."""
        return [*self._ended, *(each for track, kept in self._tracks.items() for each in self._of(track, kept))]

    def plain(self) -> dict[str, float | int]:
        """As JSON: ``mu`` and ``sigma`` of what is written, beside those of the originals; empty without tracks."""
        found = [figures for _, figures in self.tracks()]
        if not found:
            return {}
        values = torch.stack(found).mean(0).tolist()
        names = ("unchanged_mu", "mu", "unchanged_sigma", "sigma")
        return {"tracks": len(found), **{name: round(value, 4) for name, value in zip(names, values, strict=True)}}

    def _of(self, track: int, kept: _Kept) -> list[tuple[int, Tensor]]:
        """A track's number and figures; none of a single face."""
        if len(kept.faces) < 2:
            return []
        return [(track, torch.cat(temporal_consistency(torch.stack(kept.faces, 1), self.metric)))]  # (2, N, D)


class _Kept:
    """Every face of a track, or every second, fourth, ... one."""

    def __init__(self) -> None:
        self.faces, self._seen, self._every = list[Tensor](), 0, 1

    def add(self, face: Tensor) -> None:
        if self._seen % self._every == 0:
            if len(self.faces) == KEPT:
                self.faces, self._every = self.faces[::2], 2 * self._every
            if self._seen % self._every == 0:
                self.faces.append(face)
        self._seen += 1
