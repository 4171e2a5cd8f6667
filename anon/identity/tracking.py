"""ITM, the identity tracking module (FIVA, algorithm 1): one person, one fake identity, over frames and videos.

The nearest stored identity within cosine distance t gives its fake identity; a face that is near nobody is stored with
a new one from the wrapped policy. It is a policy itself, so it makes any embedding-conditioned generator consistent.

It stores embeddings, which are biometric data, and no image: files are readable by their owner alone, and
:meth:`IdentityTracker.forget` removes a person from memory for good (save again to remove it from the file).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from anon import checksums
from anon.errors import UserError
from anon.identity.contract import Draws, Given, PolicyLike
from anon.weights.files import read

BLOCK = 65_536  # stored identities compared at a time
FIRST = 64  # rows of the first allocation; it doubles from there


class IdentityTracker(nn.Module):
    """Algorithm 1 as a policy with a memory.

    Args:
        policy: gives a new person's fake identity.
        threshold: cosine distance t below which (strictly, as printed) two embeddings are one person. A good value is
            the conditioning encoder's threshold at a small FAR on people who are not evaluated: with n people stored, a
            new one is taken for one of them with probability 1 - (1 - FAR)^n.

    The faces of a batch are seen one after the other: two frames of a new person in one batch get one fake identity.
    Of equally near stored identities the oldest wins. The empty store, which algorithm 1 leaves out, stores.
    """

    def __init__(self, policy: PolicyLike, threshold: float) -> None:
        super().__init__()
        if not 0.0 < threshold <= 2.0:
            raise UserError(f"The tracker's threshold is a cosine distance in (0, 2], got {threshold}.")
        self.policy = policy
        self.threshold = float(threshold)
        self._size = 0
        self._known = torch.empty(0, 0)  # (capacity, D), rows beyond _size are zero
        self._fakes = torch.empty(0, 0)

    def __len__(self) -> int:
        return self._size

    @property
    def known(self) -> Tensor:
        """(N, D) stored identities, oldest first."""
        return self._known[: self._size]

    @property
    def fakes(self) -> Tensor:
        """(N, D) their fake identities."""
        return self._fakes[: self._size]

    @torch.no_grad()
    def forward(
        self, z: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """z (B, D) unit norm -> the fake identities (B, D). The other arguments go to the policy, for new people."""
        self._fit(z)
        cosine, place = self.nearest(z)
        place, new = in_order(z, cosine, place, 1.0 - self.threshold, self._size)
        if new:
            rows = torch.tensor(new, device=z.device)
            fresh = self.policy(
                z[rows],
                source=rows_of(source, rows, len(z)),
                key=rows_of(key, rows, len(z)),
                track=rows_of(track, rows, len(z)),
                rng=rng,
            )
            self._append(z[rows], fresh)
        return self._fakes[place]

    def nearest(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine (B,) to the nearest stored identity and its index (B,); -inf and 0 in an empty store."""
        best = z.new_full((len(z),), -torch.inf)
        place = torch.zeros(len(z), dtype=torch.long, device=z.device)
        for start in range(0, self._size, BLOCK):
            value, row = (z @ self._known[start : min(start + BLOCK, self._size)].T).max(1)
            better = value > best
            best = torch.where(better, value, best)
            place = torch.where(better, row + start, place)
        return best, place

    def forget(self, who: int | Tensor) -> bool:
        """Remove one person: the entry with that index, or every entry within the threshold of an embedding (D,).

        Returns:
            Whether anything was removed. Later entries move up, and the freed memory is overwritten.
        """
        keep = torch.ones(self._size, dtype=torch.bool, device=self._known.device)
        if isinstance(who, int):
            if not 0 <= who < self._size:
                return False
            keep[who] = False
        elif self._size:
            keep = self.known @ who.to(self._known) <= 1.0 - self.threshold
        left = int(keep.sum())
        if left == self._size:
            return False
        first = int((~keep).nonzero()[0, 0])
        for store in (self._known, self._fakes):
            end = first
            for start in range(first, self._size, BLOCK):  # move up, a block of memory at a time
                stay = store[start : min(start + BLOCK, self._size)][keep[start : start + BLOCK]]
                store[end : end + len(stay)] = stay
                end += len(stay)
            store[left : self._size].zero_()
        self._size = left
        return True

    def reset(self) -> None:
        """Forget everybody."""
        self._known.zero_()
        self._fakes.zero_()
        self._size = 0
        self._known, self._fakes = self._known[:0, :0], self._fakes[:0, :0]

    def save(self, path: str | Path) -> None:
        """Write the store as safetensors, atomically, readable by its owner alone.

        Raises:
            UserError: the file cannot be written.
        """
        file = Path(path)
        data = save({"known": self.known.cpu().contiguous(), "fakes": self.fakes.cpu().contiguous()})
        try:
            with checksums.written_whole(file, 0o600) as stream:
                stream.write(data)
        except OSError as error:
            raise UserError(f"The tracker cannot write '{file}' ({error.strerror}).") from error

    def load(self, path: str | Path) -> None:
        """Replace the store by a saved one.

        Raises:
            UserError: missing, damaged, or no tracker's file.
        """
        state = read(path)
        problem = self._problem(state)
        if problem:
            raise UserError(f"'{path}' is no identity tracker's file: {problem}.")
        self._take(state["known"], state["fakes"])

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}known"] = self.known.clone()
        destination[f"{prefix}fakes"] = self.fakes.clone()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        state = {name: state_dict.pop(f"{prefix}{name}", None) for name in ("known", "fakes")}
        super()._load_from_state_dict(state_dict, prefix, *rest)
        problem = self._problem(state)
        if problem:
            rest[-1].append(f"identity tracker: {problem}")  # error_msgs
        else:
            self._take(state["known"], state["fakes"])

    @staticmethod
    def _problem(state: Mapping[str, Tensor | None]) -> str | None:
        known, fakes = state.get("known"), state.get("fakes")
        if known is None or fakes is None:
            return "it lacks 'known' or 'fakes'"
        if known.ndim != 2 or known.shape != fakes.shape or not known.is_floating_point():
            return f"shapes {tuple(known.shape)} and {tuple(fakes.shape)}"
        norms = torch.cat([known, fakes]).float().norm(dim=1)
        if not bool(((norms - 1.0).abs() < 1e-2).all()):  # also false for NaN
            return "its rows are not unit vectors"
        return None

    def _take(self, known: Tensor, fakes: Tensor) -> None:
        self._known, self._fakes = known.float().clone(), fakes.float().clone()
        self._size = len(known)

    def _fit(self, z: Tensor) -> None:
        """Move to z's device; a store of another width is an error."""
        if self._size and self._known.shape[1] != z.shape[1]:
            raise UserError(
                f"The tracker holds {self._known.shape[1]}-dimensional identities and the encoder gives {z.shape[1]}: "
                "use the encoder it was filled with, or reset it."
            )
        self._known, self._fakes = self._known.to(z), self._fakes.to(z)

    def _append(self, known: Tensor, fakes: Tensor) -> None:
        size = self._size + len(known)
        if size > len(self._known):
            capacity = max(FIRST, 1 << (size - 1).bit_length())
            for name in ("_known", "_fakes"):
                grown = known.new_zeros(capacity, known.shape[1])
                if self._size:
                    grown[: self._size] = getattr(self, name)[: self._size]
                setattr(self, name, grown)
        self._known[self._size : size] = known
        self._fakes[self._size : size] = fakes
        self._size = size


def in_order(z: Tensor, cosine: Tensor, place: Tensor, accept: float, size: int) -> tuple[Tensor, list[int]]:
    """Faces of a batch seen one after the other: who of them is new, and which entry each one has then.

    Args:
        z: (B, D).
        cosine: (B,) to the nearest of those who are stored.
        place: (B,) index of that one.
        accept: cosine above which two embeddings are one person.
        size: how many are stored.

    Returns:
        The entry (B,) of each face, and the faces that are new people, who get the entries from ``size`` on.
    """
    cosine, place, new = cosine.clone(), place.clone(), list[int]()
    strangers = (cosine <= accept).nonzero()[:, 0]
    while len(strangers):  # once for every new person, not for every face
        first = int(strangers[0])
        later = z[first:] @ z[first]
        closer = later > cosine[first:]
        closer[0] = True
        later[0] = 2.0  # its own entry, whatever the rounding says
        cosine[first:] = torch.where(closer, later, cosine[first:])
        place[first:] = torch.where(closer, size + len(new), place[first:])
        new.append(first)
        strangers = first + 1 + (cosine[first + 1 :] <= accept).nonzero()[:, 0]
    return place, new


def rows_of(values: Tensor | None, rows: Tensor, batch: int) -> Tensor | None:
    """The rows of a per-face argument; one that stands for the whole batch (1, D) stays."""
    return values if values is None or len(values) != batch else values[rows]
