"""ITM with a store: one person, one fake identity, over files and days; what is not finished is not kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from anon.errors import UserError
from anon.identity.policies import Negation
from anon.identity.store.file import Store
from anon.identity.store.remembering import Remembering
from anon.identity.store.sealed import Secret
from anon.identity.tracking import IdentityTracker
from tests.identity.store.conftest import ENCODER, KEY, again, people


def at(*degrees: float) -> Tensor:
    angle = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angle.cos(), angle.sin()], 1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path / "people.store", Secret(KEY))
    found.begin(ENCODER, 2, 0.134)  # 30 degrees
    return found


def test_a_person_is_who_it_was_in_the_file_before(store: Store) -> None:
    itm = Remembering(Negation(), store)
    with store:
        store.create()
        itm.begin()
        torch.testing.assert_close(itm(at(0, 20, 90)), -at(0, 0, 90), atol=1e-3, rtol=0)
        assert itm.finish() == {"known": 0, "new": 2}
    other = again(store)
    with other:
        itm = Remembering(Negation(), other)
        itm.begin()
        torch.testing.assert_close(itm(at(-25, 180)), -at(0, 180), atol=1e-3, rtol=0)
        itm(at(-25))
        assert itm.finish() == {"known": 1, "new": 1}
        assert other.rows.filled["files"].tolist() == [2, 1, 1]
        assert other.rows.filled["number"].tolist() == [1, 2, 3]


def test_the_fake_is_the_same_to_the_last_bit_on_another_day(tmp_path: Path) -> None:
    known, given = people(20), []
    for _ in range(2):
        store = Store(tmp_path / "people.store", Secret(KEY))
        if not given:
            store.begin(ENCODER, 16, 0.1)
        with store:
            store.create()
            itm = Remembering(_random, store)
            itm.begin()
            given.append(itm(known))
            itm.finish()
    assert torch.equal(given[0], given[1])


def _random(z: Tensor, **_: object) -> Tensor:
    return torch.nn.functional.normalize(torch.rand(z.shape) - 0.5)


def test_what_a_file_that_fails_brought_is_gone(store: Store) -> None:
    with store:
        store.create()
        itm = Remembering(Negation(), store)
        itm.begin()
        itm(at(0))
        itm.finish()
        itm.begin()
        itm(at(90, 0))  # and then it fails
        itm.begin()
        assert len(store.rows) == 1
        torch.testing.assert_close(itm(at(100)), -at(100), atol=1e-3, rtol=0)
        assert itm.finish() == {"known": 0, "new": 1}
        itm.begin()
        itm(at(200))
    with again(store) as other:
        assert other.rows.filled["number"].tolist() == [1, 2] and other.rows.filled["files"].tolist() == [1, 1]


def test_stopped_and_begun_again_is_as_if_it_never_stopped(tmp_path: Path) -> None:
    z = torch.nn.functional.normalize(torch.randn(60, 4, generator=torch.Generator().manual_seed(0)))

    def run(name: str, breaks: set[int]) -> list[Tensor]:
        path, found, n = tmp_path / name, list[Tensor](), 0
        files = list(z.split(6))
        while n < len(files):
            store = Store(path, Secret(KEY))
            if not path.exists():
                store.begin(ENCODER, 4, 0.3)
            with store:
                store.create()
                itm = Remembering(Negation(), store)
                while n < len(files):
                    itm.begin()
                    given = itm(files[n])
                    if n in breaks:
                        breaks.remove(n)
                        break
                    itm.finish()
                    found.append(given)
                    n += 1
        return found

    assert all(torch.equal(a, b) for a, b in zip(run("a", set()), run("b", {0, 3, 9}), strict=True))


def test_it_is_algorithm_1(tmp_path: Path) -> None:
    """As the tracker in memory, but for rounding."""
    z = torch.nn.functional.normalize(torch.randn(200, 4, generator=torch.Generator().manual_seed(3))).half().float()
    store = Store(tmp_path / "people.store", Secret(KEY))
    store.begin(ENCODER, 4, 0.3)
    with store:
        store.create()
        itm, tracker = Remembering(Negation(), store), IdentityTracker(Negation(), 0.3)
        for part in z.split(17):
            torch.testing.assert_close(itm(part), tracker(part), atol=2e-3, rtol=0)
        assert len(store.rows) == len(tracker) > 5


def test_other_arguments_reach_the_policy_for_new_people_only(store: Store) -> None:
    seen = {}

    def policy(z: Tensor, **given: object) -> Tensor:
        seen.update(given)
        return -z

    itm, rng = Remembering(policy, store), torch.Generator()
    with store:
        store.create()
        itm(at(0, 1, 90), key=torch.tensor([1, 2, 3]), track=torch.tensor([4, 5, 6]), rng=rng)
    assert seen["key"].tolist() == [1, 3] and seen["track"].tolist() == [4, 6] and seen["rng"] is rng


def test_a_store_that_cannot_be_written_keeps_nobody(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store:
        store.create()
        itm = Remembering(Negation(), store)
        itm(at(0))

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(UserError, match=r"cannot be written \(No space left"):
            itm.finish()
        monkeypatch.undo()
    with again(store) as other:
        assert len(other.rows) == 0


def test_a_batch_of_many_is_fine_without_the_index(tmp_path: Path, made: Callable[..., Store]) -> None:
    with again(made("a.store", people(30))) as store:
        itm = Remembering(Negation(), store)
        torch.testing.assert_close(itm(people(30)), -people(30), atol=2e-3, rtol=0)
        assert itm.finish() == {"known": 30, "new": 0}
