"""ITM whose memory is a store: algorithm 1 of FIVA (:mod:`anon.identity.tracking`) over files and days.

What a file brings is kept when the file is done, and forgotten when it fails: stopped and begun again, a folder gets
the fake identities that an unbroken run gives.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn

from anon.identity.contract import Draws, Given, PolicyLike
from anon.identity.store.file import Store
from anon.identity.tracking import in_order, rows_of

DAY = 86_400  # seconds


class Remembering(nn.Module):
    """A policy that knows a store's people, and asks the wrapped policy for new ones.

    Args:
        policy: gives a new person's fake identity.
        store: begun or read; its lock is held while files are anonymized.
    """

    def __init__(self, policy: PolicyLike, store: Store) -> None:
        super().__init__()
        assert store.about is not None
        self.policy, self.store, self.threshold = policy, store, store.about.threshold
        self._met = set[int]()  # places of the people of this file

    def begin(self) -> None:
        """A new file; what one before it brought and :meth:`finish` did not keep is gone."""
        self.store.roll_back()
        self._met.clear()

    def finish(self) -> dict[str, int]:
        """Keep what the file brought.

        Returns:
            How many people it shows that the store knew, and how many are new to it.

        Raises:
            UserError: the store cannot be written.
        """
        kept = self.store.kept
        known = sorted(place for place in self._met if place < kept)
        new = self.store.commit(np.array(known, np.int64), int(time.time() // DAY))
        self._met.clear()
        return {"known": len(known), "new": new}

    @torch.no_grad()
    def forward(
        self, z: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """z (B, D) unit norm -> the fake identities (B, D). The other arguments go to the policy, for new people."""
        assert self.store.about is not None
        z = z.half().float()  # as it is kept
        size = len(self.store.rows)
        cosine, place = self.store.nearest(z)
        place, new = in_order(z, cosine, place, 1.0 - self.threshold, size)
        if new:
            rows = torch.tensor(new, device=z.device)
            given = {"source": source, "key": key, "track": track}
            fresh = self.policy(z[rows], **{name: rows_of(v, rows, len(z)) for name, v in given.items()}, rng=rng)
            first = self.store.about.next + size - self.store.kept
            self.store.rows.new(z[rows], fresh, range(first, first + len(new)), int(time.time() // DAY))
            self.store.nearest.update(size)
        self._met.update(place.tolist())
        return self.store.rows.fakes_at(place.cpu().numpy()).to(z)
