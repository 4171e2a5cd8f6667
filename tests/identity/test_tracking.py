from __future__ import annotations

import stat

import pytest
import torch

from anon.errors import UserError
from anon.identity.policies import AnchorSampling, Negation
from anon.identity.tracking import IdentityTracker


def at(*degrees: float) -> torch.Tensor:
    angle = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angle.cos(), angle.sin()], 1)


def tracker(threshold: float = 0.134) -> IdentityTracker:  # 1 - cos 30° = 0.13397
    return IdentityTracker(Negation(), threshold)


def test_empty_store_stores_the_first_face():
    itm = tracker()
    torch.testing.assert_close(itm(at(0)), -at(0))
    assert len(itm) == 1
    torch.testing.assert_close(itm.known, at(0))


def test_a_face_within_the_threshold_gets_the_stored_fake_and_is_not_stored():
    itm = tracker()
    itm(at(0))
    torch.testing.assert_close(itm(at(29)), -at(0))
    torch.testing.assert_close(itm(at(31)), -at(31))
    assert len(itm) == 2


def test_the_threshold_itself_is_a_stranger():
    itm = IdentityTracker(Negation(), 1.0)
    itm(torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(itm(torch.tensor([[0.0, 1.0]])), torch.tensor([[0.0, -1.0]]))  # distance exactly 1


def test_of_equally_near_people_the_oldest():
    itm = IdentityTracker(Negation(), 0.2)
    itm(torch.tensor([[0.8, 0.6], [0.8, -0.6]]))  # both at cosine 0.8 to x, 0.28 to each other
    assert len(itm) == 2
    itm.threshold = 0.3
    torch.testing.assert_close(itm(torch.tensor([[1.0, 0.0]])), torch.tensor([[-0.8, -0.6]]))


def test_faces_of_one_batch_are_seen_one_after_the_other():
    itm = tracker()
    out = itm(at(0, 20, 50, 45, 340))
    # 20° and 340° are near 0°; 50° is new; 45° is near 50°.
    torch.testing.assert_close(out, -at(0, 0, 50, 50, 0))
    assert len(itm) == 2


def test_batches_do_not_matter():
    torch.manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(200, 4))
    whole, single = tracker(0.3), tracker(0.3)
    batched = whole(z)
    slow, stored = [], []
    for row in z:  # algorithm 1, line by line
        distances = [1 - float(row @ other) for other in stored]
        if not distances or min(distances) >= 0.3:
            stored.append(row)
            slow.append(-row)
        else:
            slow.append(-stored[distances.index(min(distances))])
    torch.testing.assert_close(batched, torch.stack(slow))
    assert len(whole) == len(stored) > 5
    torch.testing.assert_close(torch.cat([single(row[None]) for row in z]), batched)


def test_a_new_person_gets_an_anchor_once():
    itm = IdentityTracker(AnchorSampling(at(45, 135, 225, 315), m=0.05, most=2), 0.134)
    first = itm(at(5))
    torch.testing.assert_close(first, at(90))
    torch.testing.assert_close(itm(at(-10)), first)  # Sampling alone would jump to 270°


def test_other_arguments_reach_the_policy_for_the_new_faces_only():
    seen = {}

    def policy(z, *, source=None, key=None, track=None, rng=None):
        seen.update(source=source, key=key, track=track, rng=rng)
        return -z

    itm = IdentityTracker(policy, 0.134)
    rng = torch.Generator()
    itm(at(0, 1, 90), source=at(7), key=torch.tensor([1, 2, 3]), track=torch.tensor([4, 5, 6]), rng=rng)
    assert seen["key"].tolist() == [1, 3] and seen["track"].tolist() == [4, 6] and seen["rng"] is rng
    torch.testing.assert_close(seen["source"], at(7))


def test_growing_past_the_first_allocation_keeps_everybody():
    itm = IdentityTracker(Negation(), 1e-4)
    z = torch.nn.functional.normalize(torch.randn(300, 16, generator=torch.Generator().manual_seed(0)))
    for part in z.split(17):
        itm(part)
    assert torch.equal(itm.known, z)
    assert torch.equal(itm(z), -z)


def test_forget_by_index_and_by_embedding_leaves_no_trace():
    itm = tracker()
    itm(at(0, 90, 180))
    assert itm.forget(1) and len(itm) == 2
    torch.testing.assert_close(itm.known, at(0, 180))
    assert itm.forget(at(175)[0])
    torch.testing.assert_close(itm.known, at(0))
    assert not itm.forget(at(90)[0]) and not itm.forget(5)
    assert float(itm._known[1:].abs().sum() + itm._fakes[1:].abs().sum()) == 0.0
    itm.reset()
    assert len(itm) == 0 and not itm.forget(at(0)[0])
    torch.testing.assert_close(itm(at(3)), -at(3))


def test_forgetting_many_block_by_block(monkeypatch):
    monkeypatch.setattr("anon.identity.tracking.BLOCK", 3)
    itm = IdentityTracker(Negation(), 1e-4)
    itm(at(*range(0, 40, 2)))  # twenty people, two degrees apart
    itm.threshold = 1 - 0.9925  # seven degrees
    assert itm.forget(at(20)[0])
    torch.testing.assert_close(itm.known, at(*range(0, 13, 2), *range(28, 40, 2)))
    torch.testing.assert_close(itm.fakes, -itm.known)


def test_saved_and_loaded(tmp_path):
    itm, path = tracker(), tmp_path / "store.safetensors"
    itm(at(0, 90))
    itm.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["store.safetensors"]
    other = tracker()
    other.load(path)
    torch.testing.assert_close(other(at(91)), -at(90))
    third = tracker()
    third.load_state_dict(itm.state_dict())
    assert torch.equal(third.known, itm.known) and torch.equal(third.fakes, itm.fakes)


def test_bad_files_and_widths_are_refused(tmp_path):
    from safetensors.torch import save_file

    bad = tmp_path / "bad.safetensors"
    save_file({"known": torch.ones(2, 3), "fakes": torch.ones(2, 3)}, bad)
    with pytest.raises(UserError, match="unit vectors"):
        tracker().load(bad)
    with pytest.raises(UserError):
        tracker().load(tmp_path / "none.safetensors")
    itm = tracker()
    itm(at(0))
    with pytest.raises(UserError, match="2-dimensional"):
        itm(torch.eye(3))
    with pytest.raises(UserError, match="cannot write"):
        itm.save(tmp_path / "no" / "folder")
    with pytest.raises(UserError, match="threshold"):
        tracker(0.0)
