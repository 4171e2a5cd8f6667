"""Fake identities that keep a label, read off the embedding."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from anon.errors import UserError
from anon.identity.matching import Kinds, LabelReader
from anon.identity.policies import AnchorSampling


def people(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Half of them lean one way on the first axis, half the other; 16 dimensions."""
    rng = torch.Generator().manual_seed(seed)
    own = torch.arange(count) % 2
    z = torch.randn(count, 16, generator=rng)
    z[:, 0] = (2.0 * own - 1) * 2 + 0.3 * z[:, 0]
    return F.normalize(z), own


def test_anchors_mix_people_of_the_faces_own_group_alone() -> None:
    z, own = people(200, 0)
    faces, groups = people(40, 1)
    kinds = Kinds(own, ("left", "right"))
    matched = AnchorSampling(z, m=0.0, matched="side", kinds=kinds)
    assert matched.reader is not None and matched.reader.right > 0.95
    assert torch.equal(matched.reader(faces), groups)
    side = matched(faces)[:, 0] > 0
    assert torch.equal(side.long(), groups)  # every mix is of one side
    free = AnchorSampling(z, m=-0.5)(faces)[:, 0] > 0
    assert not torch.equal(free.long(), groups)  # without it a far anchor is of the other side
    mirrored = AnchorSampling(z, m=-0.5, mirrored=True, matched="side", kinds=kinds)
    assert torch.equal((-mirrored(faces)[:, 0] > 0).long(), groups)  # the mix that FIVA is given


def test_what_is_right_is_of_people_left_out() -> None:
    """Labels that embeddings say nothing of are read as often as by chance, however well they can be fitted."""
    z, _ = people(40, 0)
    drawn = torch.randint(2, (40,), generator=torch.Generator().manual_seed(3))
    assert LabelReader(z, Kinds(drawn, ("a", "b")), "chance").right < 0.75


def test_left_out_one_by_one_by_hand() -> None:
    """The closed form is that of fits without each person, of which it has the ridge of the least error."""
    z, own = people(12, 0)
    reader = LabelReader(z, Kinds(own, ("a", "b")), "side")
    rows = torch.arange(12)
    x, y = F.pad(z.double(), (0, 1), value=1.0), F.one_hot(own, 2).double()
    scale = torch.linalg.svdvals(x).square().mean()
    errors = {}
    for power in range(-5, 3):
        ridge = 10.0**power * scale * torch.eye(17, dtype=torch.float64)
        found = [
            x[row] @ torch.linalg.solve(x[rows != row].T @ x[rows != row] + ridge, x[rows != row].T @ y[rows != row])
            for row in rows.tolist()
        ]
        right = float((torch.stack(found).argmax(1) == own).double().mean())
        errors[float((torch.stack(found) - y).square().mean())] = right, ridge
    right, ridge = errors[min(errors)]
    assert reader.right == pytest.approx(right)
    expected = torch.linalg.solve(x.T @ x + ridge, x.T @ y).float()
    torch.testing.assert_close(reader.weight, expected, atol=1e-4, rtol=1e-4)


def test_unknown_people_are_in_no_mix_and_small_groups_are_refused() -> None:
    z, own = people(30, 0)
    own = own.clone()
    own[:10] = -1
    policy = AnchorSampling(z, m=0.0, most=2, matched="side", kinds=Kinds(own, ("left", "right")))
    used = torch.cat([policy.people[policy.reader.of == group] for group in (0, 1)])  # type: ignore[union-attr]
    assert len(used) == 20
    own[own == 1] = -1
    own[12] = 1
    with pytest.raises(UserError, match="two training people of each group to mix, and 'right' has fewer"):
        AnchorSampling(z, matched="side", kinds=Kinds(own, ("left", "right")))
    with pytest.raises(UserError, match="need its name"):
        AnchorSampling(z, matched="side")
