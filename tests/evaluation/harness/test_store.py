"""The store: what is kept, under which keys, and what damaged files and other code do to them."""

import stat

import pytest
import torch
from torch import nn

from anon.errors import UserError
from anon.evaluation.harness.store import Store, code, key_of, made_of


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


def test_only_the_owner_reads_it(tmp_path):
    Store(tmp_path).get("z", "key", counting(1)[0])
    assert stat.S_IMODE((tmp_path / "z" / "key.safetensors").stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", [b"", b"not a file of tensors", None])
def test_a_damaged_file_is_made_again(tmp_path, damage):
    make, calls = counting(1)
    Store(tmp_path).get("z", "key", make)
    file = tmp_path / "z" / "key.safetensors"
    file.write_bytes(file.read_bytes()[:-3] if damage is None else damage)
    assert Store(tmp_path).get("z", "key", make)["z"].tolist() == [1.0, 1.0]
    assert len(calls) == 2
    assert Store(tmp_path).get("z", "key", make) and len(calls) == 2


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


def test_code_of_one_room_is_not_that_of_another():
    assert code("metrics") != code("identity") and code("metrics") == code("metrics")
    assert code("evaluation/harness/inputs") != code("evaluation/harness/store")


def test_weights_make_another_part():
    torch.manual_seed(0)
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    assert made_of(one) != made_of(other)
    other.load_state_dict(one.state_dict())
    assert made_of(one) == made_of(other) != made_of(nn.Bilinear(2, 1, 1))


def test_keys_depend_on_every_value():
    assert key_of(a=1, b=[2]) == key_of(b=[2], a=1)
    assert len({key_of(a=1), key_of(a=2), key_of(b=1), key_of(a="1")}) == 4
