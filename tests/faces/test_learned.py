"""What a checkpoint keeps of those whom it learned from: enough to know them again, no name, nothing that can lie."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch

from anon.errors import UserError
from anon.faces.learned import BYTES, Learned, learned_of, remember

PEOPLE = ["Anna_B", "José Pérez", "n000001"]


def kept(learned: Learned) -> bytes:
    stream = io.BytesIO()
    torch.save({"learned": learned.plain()}, stream)
    return stream.getvalue()


def test_people_are_known_again_in_any_spelling() -> None:
    content = torch.load(io.BytesIO(kept(Learned.of(PEOPLE, synthetic=False))), weights_only=True)["learned"]
    learned = Learned.from_plain(content, "a.ckpt")
    assert learned.known(["anna b", "Bob", "Jose\u0301_P\u00e9rez", "n000002"]) == ["anna b", "Jose\u0301_P\u00e9rez"]
    assert learned.domains == {"photographs"} and learned.complete and len(learned.people) == 3


def test_no_name_is_kept_and_two_checkpoints_cannot_be_compared() -> None:
    first, second = Learned.of(PEOPLE, synthetic=False), Learned.of(PEOPLE, synthetic=False)
    assert not any(word in kept(first) for name in PEOPLE for word in (name.encode(), name.lower().encode()))
    assert not first.people & second.people and first.salt != second.salt
    assert all(0 <= number < 256**BYTES for number in first.people)


def test_a_training_that_goes_on_keeps_the_people_before() -> None:
    first = Learned.of(["Ann"], synthetic=True)
    both = Learned.of(["Bob"], synthetic=False, before=Learned.from_plain(first.plain(), "a.ckpt"))
    assert both.known(["ann", "bob", "eve"]) == ["ann", "bob"] and both.domains == {"synthetic", "photographs"}
    unknown = Learned(frozenset(["photographs"]), complete=False)
    assert not Learned.of(["Bob"], synthetic=False, before=unknown).complete


def test_two_origins_are_both_kept_or_said_to_be_incomplete() -> None:
    photographs, rendered = Learned.of(["Ann"], synthetic=False), Learned(frozenset(["synthetic"]), group="all of it")
    for both in (photographs.beside(rendered), rendered.beside(photographs)):
        assert both.known(["ann"]) == ["ann"] and both.complete and both.domains == {"synthetic", "photographs"}
    two = photographs.beside(Learned.of(["Bob"], synthetic=False))  # hashes of another salt
    assert two.known(["ann", "bob"]) == ["ann"] and not two.complete


@pytest.mark.parametrize(
    "change",
    [
        {"people": [1, 2]},
        {"people": torch.zeros(2, 2, dtype=torch.int64)},
        {"people": torch.zeros(2)},
        {"people": torch.tensor([-1])},
        {"people": torch.tensor([1 << 60])},
        {"domains": "synthetic"},
        {"domains": ["heaven"]},
        {"domains": [[]]},
        {"salt": "zz"},
        {"salt": 7},
        {"salt": "00" * 99},
        {"complete": "yes"},
    ],
)
def test_what_cannot_be_is_one_sentence(change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^a\.ckpt says of whom it learned what cannot be; it is damaged\.$"):
        Learned.from_plain({**Learned.of(PEOPLE, synthetic=False).plain(), **change}, "a.ckpt")
    for content in (None, [], "text", torch.zeros(3), {}):
        with pytest.raises(UserError, match="cannot be"):
            Learned.from_plain(content, "a.ckpt")


def test_a_note_at_a_network_is_no_weight() -> None:
    network = torch.nn.Linear(2, 2)
    assert learned_of(network, {}) is None
    remember(network, Learned.of(["Ann"], synthetic=True))
    found = learned_of(network, {})
    assert found is not None and found.known(["ann"]) and set(network.state_dict()) == {"weight", "bias"}
