"""A store on disk: what it gives back, who may open it, and what is there after a crash at any byte."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from anon.errors import UserError
from anon.identity.store import journal, sealed
from anon.identity.store.file import Store
from anon.identity.store.sealed import Box, Head, Secret
from anon.identity.store.sketches import sketch
from tests.identity.store.conftest import DIM, ENCODER, KEY, NOBODY, add, again, people

BEFORE = 4 + sealed.SUM + sealed.NONCE  # bytes of a record before what is sealed

Made = Callable[..., Store]


def numbers(store: Store) -> list[int]:
    with store:
        return store.rows.filled["number"].tolist()


def test_what_is_written_comes_back(made: Made, tmp_path: Path) -> None:
    known = people(3)
    store = again(made("people.store", known))
    with store:
        assert store.about is not None and store.about[:3] == (ENCODER, DIM, 0.134) and store.about.next == 4
        assert store.rows.filled["number"].tolist() == [1, 2, 3] and store.rows.filled["files"].tolist() == [1, 1, 1]
        assert torch.equal(store.rows.known(), known)
        torch.testing.assert_close(store.rows.fakes_at(np.arange(3)), -known, atol=1e-3, rtol=0)
        store.commit(np.array([0, 2]), 107)
    with again(store) as store:
        assert store.rows.filled["files"].tolist() == [2, 1, 2]
        assert store.rows.filled["first"].tolist() == [100] * 3 and store.rows.filled["last"].tolist() == [
            107,
            100,
            107,
        ]
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert [name for name in sorted(os.listdir(tmp_path)) if not name.startswith(".")] == ["people.store"]


def test_without_the_key_it_tells_nothing(made: Made) -> None:
    known = people(3)
    store = made("people.store", known)
    content = store.path.read_bytes()
    for secret in (known[1].half().numpy().tobytes(), known[1].numpy().tobytes(), ENCODER.encode(), KEY, b"threshold"):
        assert secret[:8] not in content
    with pytest.raises(UserError, match="the key is not the one"), again(store, b"another key than that"):
        pass


def test_changed_and_missing_bytes_are_refused_wherever_they_are(made: Made) -> None:
    store = made("people.store", people(2))
    content = store.path.read_bytes()
    for place in range(0, len(content), 2):
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        store.path.write_bytes(changed if place % 6 else content[:place])
        with pytest.raises(UserError), again(store):
            pass
    store.path.write_bytes(content + b"\0")
    with pytest.raises(UserError, match="was changed"), again(store):
        pass
    store.path.write_bytes(content)
    assert numbers(again(store)) == [1, 2]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({8: 2}, "newer version of anon"),
        ({10: 40}, "scrypt"),  # 2 ** 40 x 1 KiB
        ({10: 19}, "scrypt"),
        ({10: 0}, "scrypt"),
        ({11: 255}, "scrypt"),  # r
        ({12: 255}, "scrypt"),  # p
        ({0: 65}, "no file that anon anonymize wrote"),
    ],
)
def test_a_head_that_asks_for_too_much_costs_nothing(
    made: Made, monkeypatch: pytest.MonkeyPatch, change: dict[int, int], told: str
) -> None:
    store = made("people.store", people(2))
    content = bytearray(store.path.read_bytes())
    for place, value in change.items():
        content[place] = value
    store.path.write_bytes(content)
    monkeypatch.setattr(Secret, "box", lambda *_: pytest.fail("a key was made"))
    with pytest.raises(UserError, match=told), again(store):
        pass


def test_a_record_that_says_it_is_huge_is_not_read(made: Made) -> None:
    store = made("people.store", people(2))
    content = bytearray(store.path.read_bytes())
    size = len(Head(0, bytes(16), bytes(16), bytes(16)).packed())
    content[size : size + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    store.path.write_bytes(content)
    with pytest.raises(UserError, match="does not open"), again(store):
        pass


@pytest.mark.parametrize("rows", [10**9, -1, 2.0, None])
def test_what_the_key_s_owner_made_up_is_refused(tmp_path: Path, rows: object) -> None:
    """A store that somebody gives away with its key: sizes are not believed."""
    path, secret, head = tmp_path / "a.store", Secret(KEY), Head(2, bytes(16), bytes(16), bytes(16))
    about = f'{{"encoder": "e", "dim": 4, "threshold": 0.3, "name": "n", "next": 2000000000, "rows": {rows}}}'
    path.write_bytes(head.packed() + secret.box(head).seal(0, about.replace("None", "null").encode()))
    with pytest.raises(UserError, match="does not open"), Store(path, secret):
        pass


@pytest.mark.parametrize("rows", [torch.ones(2, DIM), torch.full((2, DIM), torch.nan)])
def test_rows_that_are_no_embeddings_are_refused(made: Made, rows: Tensor) -> None:
    with pytest.raises(UserError, match="no embeddings"), again(made("a.store", rows)):
        pass


@pytest.fixture
def journalled(made: Made) -> Store:
    """A store of two people, with a journal of two records: a third one, and that the first was met again."""
    store = made("people.store", people(2))
    with store:
        add(store, people(1, seed=1), 101)
        store.commit(np.array([0]), 102)
        for path in (store.path, store.journal.path):
            shutil.copy(path, f"{path}.copy")
    for path in (store.path, store.journal.path):  # as a killed process leaves them
        shutil.move(f"{path}.copy", path)
    return store


def met(store: Store) -> tuple[int, int]:
    with store:
        return len(store.rows), int(store.rows.filled["last"][0])


def test_a_journal_is_read_after_a_crash_and_becomes_part_of_the_file(journalled: Store) -> None:
    assert met(again(journalled)) == (3, 102)
    with again(journalled) as store:
        store.commit(NOBODY, 103)
    assert not store.journal.path.exists() and met(again(journalled)) == (3, 102)
    assert again(journalled).path.stat().st_size > 0


def test_a_journal_cut_at_any_byte_is_the_state_of_a_whole_record(journalled: Store) -> None:
    whole = journalled.journal.path.read_bytes()
    head = len(Head(0, bytes(16), bytes(16), bytes(16)).packed())
    first = head + BEFORE + int.from_bytes(whole[head : head + 4], "little")
    for end in {first - 1, first, first + 4, *range(head, len(whole) + 1, 3), len(whole)}:
        for content in (whole[:end], whole[:end] + bytes(len(whole) - end)):  # room that was made and not filled
            want = (3, 102) if content == whole else (3, 100) if content[:first] == whole[:first] else (2, 100)
            journalled.journal.path.write_bytes(content)
            assert met(again(journalled)) == want
    journalled.journal.path.write_bytes(whole[: first + 9])
    with again(journalled) as store:
        store.commit(np.array([0]), 109)
    assert met(again(journalled)) == (3, 109)


def test_a_changed_byte_of_a_journal_is_refused_or_ends_it(
    journalled: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last record may be what a crash left: then a sentence tells that it is left out."""
    whole = journalled.journal.path.read_bytes()
    head = len(Head(0, bytes(16), bytes(16), bytes(16)).packed())
    second = head + BEFORE + int.from_bytes(whole[head : head + 4], "little")
    for place in (*range(head + 5), *range(head + 5, len(whole), 3)):
        journalled.journal.path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        if place >= second + 4 + sealed.SUM:
            assert met(again(journalled)) == (3, 100)
            assert "ends in an entry that was cut short" in capsys.readouterr().err
            continue
        with pytest.raises(UserError):  # a length, too: one that led behind the end passed for a record cut short
            met(again(journalled))


def test_journals_of_the_generation_before_and_of_others(journalled: Store, made: Made) -> None:
    stale = journalled.journal.path.read_bytes()
    with again(journalled) as store:
        store.commit(np.array([0]), 110)
    journalled.journal.path.write_bytes(stale)  # a crash after the file's new name and before the journal went away
    assert met(again(journalled)) == (3, 110) and not journalled.journal.path.exists()
    for day in (111, 112):
        with again(journalled) as store:
            store.commit(np.array([0]), day)
    journalled.journal.path.write_bytes(stale)
    with pytest.raises(UserError, match="of another store or another day"), again(journalled):
        pass
    journalled.path.unlink()
    with pytest.raises(UserError, match="is gone beside its journal"), again(journalled):
        pass


@pytest.mark.parametrize("dies", ["fsync", "replace"])
def test_killed_while_it_is_written_the_old_state_is_there(made: Made, dies: str) -> None:
    store = made("people.store", people(2))
    child = os.fork()
    if not child:
        with again(store) as other:
            setattr(os, dies, lambda *_: os._exit(9))
            other.forget([1])
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = [path for path in store.path.parent.iterdir() if path.name.endswith(".part")]
    assert len(left) == 1 and numbers(again(store)) == [1, 2]
    assert not left[0].exists()


def test_a_full_disk_is_one_sentence_and_changes_nothing(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    store = made("people.store", people(2))
    with again(store) as other:
        monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(UserError, match="No space left"):
            other.forget([1])
        with pytest.raises(UserError, match="No space left"):
            other.commit(NOBODY, 105)
        monkeypatch.undo()
    assert numbers(again(store)) == [1, 2]


def test_one_process_at_a_time_and_each_sees_what_the_other_did(made: Made) -> None:
    store = made("people.store", people(2))
    mine, other = again(store), again(store)
    with mine:
        with pytest.raises(UserError, match="in use by another process"), other:
            pass
        add(mine, people(1, seed=5))
    assert numbers(other) == [1, 2, 3]
    with other:
        other.forget([1])
    assert numbers(mine) == [2, 3]
    store.path.unlink()
    with pytest.raises(UserError, match="is gone"), mine:
        pass


def test_a_store_that_takes_the_place_of_another_is_refused(made: Made) -> None:
    store = again(made("people.store", people(2)))
    with store:
        pass
    store.path.unlink()
    made("people.store", people(2))
    with pytest.raises(UserError, match="was replaced"), store:
        pass


def test_another_encoder_s_store_is_refused(made: Made) -> None:
    with again(made("people.store", people(2))) as store:
        store.check(ENCODER, DIM)
        with pytest.raises(UserError, match="of another recognizer"):
            store.check("f" * 64, DIM)
        with pytest.raises(UserError, match="of another recognizer"):
            store.check(ENCODER, DIM + 1)


def unsealed(store: Store) -> bytes:
    """Everything that lies in the store's folder, as it is and with all records opened."""
    found, secret = b"", Secret(KEY)
    for path in store.path.parent.iterdir():
        content = path.read_bytes()
        found += content
        kind = content[:8]
        if kind not in (sealed.MAGIC, journal.KIND):
            continue
        with path.open("rb") as stream:
            head, place = Head.read(stream, "it", kind), 0
            box: Box = secret.box(head)
            while stream.tell() < len(content):
                found += box.open(stream, place, len(content) - stream.tell())
                place += 1
    return found


def test_who_is_forgotten_is_in_no_file_any_more(journalled: Store) -> None:
    known, third = people(2), people(1, seed=1)[0]
    needles = [known[0].half().numpy().tobytes(), third.half().numpy().tobytes(), (-third).half().numpy().tobytes()]
    needles += [row.tobytes() for row in sketch(torch.stack([known[0], third]))]
    stays = known[1].half().numpy().tobytes()
    before = unsealed(journalled)
    assert all(needle in before for needle in needles) and stays in before
    with again(journalled) as store:
        with pytest.raises(UserError, match="holds no identity 7"):
            store.forget([1, 7])
        assert len(store.rows) == 3
        store.forget([1, 3])
        cosine, place = store.nearest(torch.stack([known[0], third, known[1]]))
        assert [round(float(value), 3) for value in cosine[2:]] == [1.0] and place[2] == 0
        assert float(cosine[:2].max()) < 1 - 0.134
        memory = store.rows._all.tobytes() + store.nearest._tail.half().numpy().tobytes()
        assert not any(needle in memory for needle in needles) and stays in memory
    after = unsealed(journalled)
    assert not any(needle in after for needle in needles) and stays in after
    with again(journalled) as store:
        add(store, known[:1])
        assert store.rows.filled["number"].tolist() == [2, 4]  # no number is given twice


def test_merged_by_hand(made: Made) -> None:
    def at(*degrees: float) -> Tensor:
        angle = torch.deg2rad(torch.tensor(degrees))
        return torch.stack([angle.cos(), angle.sin()], 1)

    mine, other = made("mine.store", at(0, 90)), made("other.store", at(20, 180, 200))
    with again(other) as opened:
        opened.commit(np.array([0]), 120)
    with again(mine) as one, again(other) as two:
        assert one.merge(two) == (1, 2)
    with again(mine) as one:  # 20 degrees is 0 degrees; 180 and 200 are new, and stay two
        torch.testing.assert_close(one.rows.known(), at(0, 90, 180, 200), atol=1e-3, rtol=0)
        torch.testing.assert_close(one.rows.fakes_at(np.arange(4)), -at(0, 90, 180, 200), atol=1e-3, rtol=0)
        assert one.rows.filled["number"].tolist() == [1, 2, 3, 4] and one.about is not None and one.about.next == 5
        assert one.rows.filled["files"].tolist() == [3, 1, 1, 1] and one.rows.filled["last"].tolist()[0] == 120
    other_encoder = made("else.store", at(0), encoder="f" * 64)
    with again(mine) as one, again(other_encoder) as two, pytest.raises(UserError, match="of another recognizer"):
        one.merge(two)
    assert numbers(again(other)) == [1, 2, 3]
