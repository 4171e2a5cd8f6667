"""The store: what is kept, under which keys, and what becomes of damaged files."""

import os
import stat
import time

import pytest
import torch

from anon.errors import UserError
from anon.evaluation.harness.store import Store, cache_of, key_of
from anon.faces.cache import caching


def counting(value):
    calls = []

    def make():
        calls.append(1)
        return {"z": torch.full((2,), float(value))}

    return make, calls


def test_it_makes_once_and_finds_it_in_another_process(tmp_path):
    make, calls = counting(3)
    first, second = Store(tmp_path), Store(tmp_path)
    assert first.get("z", "key", make)["z"].tolist() == [3.0, 3.0]
    assert second.get("z", "key", make)["z"].tolist() == [3.0, 3.0]
    assert len(calls) == 1 and first.made == {"z": 1} and second.found == {"z": 1}
    first.get("z", "key", make)
    assert not first.found.total()  # its own: nothing of another run was used


def test_only_the_owner_reads_it(tmp_path):
    Store(tmp_path).get("z", "key", counting(1)[0])
    assert stat.S_IMODE((tmp_path / "z" / "key.safetensors").stat().st_mode) == 0o600


def test_a_damaged_file_is_made_again_whatever_the_damage(tmp_path, capsys):
    """Every cut and every flipped byte of a kept file, from its header to its last number; each is told in one line.

    The kind: a file that is read without a question whether it is what was written. Its other instances are rendered
    faces, decoded photographs and packed shards, which have tests of their own.
    """
    make, calls = counting(1)
    Store(tmp_path).get("z", "key", make)
    file = tmp_path / "z" / "key.safetensors"
    whole = file.read_bytes()
    damages = [whole[:length] for length in (*range(0, len(whole), 7), len(whole) - 1)]
    damages += [whole[:i] + bytes([whole[i] ^ bit]) + whole[i + 1 :] for i in range(len(whole)) for bit in (1, 128)]
    capsys.readouterr()
    for number, damage in enumerate([*damages, b"not a file of tensors", whole + b"\0"]):
        file.write_bytes(damage)
        assert Store(tmp_path).get("z", "key", make)["z"].tolist() == [1.0, 1.0]
        assert len(calls) == 2 + number and file.read_bytes() == whole
        assert capsys.readouterr().err == f"'{file}' is damaged and is made again\n"
    assert Store(tmp_path).get("z", "key", make) and capsys.readouterr().err == ""


def test_another_keys_file_is_not_taken(tmp_path):
    Store(tmp_path).get("z", "one", counting(1)[0])
    os.rename(tmp_path / "z" / "one.safetensors", tmp_path / "z" / "other.safetensors")
    assert Store(tmp_path).get("z", "other", counting(2)[0])["z"].tolist() == [2.0, 2.0]


def test_refreshed_things_are_made_once_and_kept(tmp_path):
    make, calls = counting(1)
    Store(tmp_path).get("z", "key", make)
    time.sleep(0.02)
    with caching("refresh"):
        for _ in range(2):
            Store(tmp_path).get("z", "key", make)
    Store(tmp_path).get("z", "key", make)
    assert len(calls) == 2


def test_switched_off_nothing_is_read_or_written(tmp_path):
    kept, calls = cache_of(tmp_path), []
    assert kept is not None
    Store(kept).get("z", "key", counting(1)[0])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with caching("off"):
        store = Store(cache_of(tmp_path))
        for _ in range(2):
            assert store.get("z", "key", lambda: calls.append(1) or {"z": torch.full((2,), 2.0)})["z"][0] == 2.0
    assert len(calls) == 1 and before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_a_failure_leaves_nothing(tmp_path):
    def fail():
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        Store(tmp_path).get("z", "key", fail)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "z").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="cannot be kept in"):
        Store(tmp_path).get("z", "key", counting(1)[0])


def test_without_a_folder_it_remembers(tmp_path):
    make, calls = counting(1)
    store = Store(None)
    store.get("z", "key", make)
    store.get("z", "key", make)
    store.get("other", "key", make)
    assert len(calls) == 2


def test_keys_depend_on_every_value():
    assert key_of(a=1, b=[2]) == key_of(b=[2], a=1)
    assert len({key_of(a=1), key_of(a=2), key_of(b=1), key_of(a="1")}) == 4
