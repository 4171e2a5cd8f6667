"""Recognizers in the harness: what they see is in its store, under their keys."""

from __future__ import annotations

import torch

from anon.evaluation.embeddings import embed
from anon.evaluation.harness.pictures import Originals
from anon.evaluation.harness.readers import as_it_conditions, embeddings, eye
from anon.evaluation.harness.store import Store
from anon.evaluation.harness.subjects import keyed
from anon.faces.contract import in_eight_bits
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from tests.evaluation.tiny_world import People, Projection, encoder, judge


def test_recognizers_see_eight_bits(tmp_path):
    faces, indices = People("train", 3), torch.tensor([0, 3, 5])
    images, pictures = in_eight_bits(faces.images[indices]), Originals(keyed(faces, indices)[0])
    for by, wanted in ((judge(1), judge(1).embed(images)), (as_it_conditions(encoder(0)), encoder(0)(images).z)):
        made, found = (embeddings(Store(tmp_path), pictures, eye(by), 2, torch.device("cpu")) for _ in range(2))
        torch.testing.assert_close(made, wanted)
        assert torch.equal(made, found)


def test_batches_are_put_together_in_order():
    faces, calls = People("train", 3), []

    def recognizer(images):
        calls.append(len(images))
        return images.mean((2, 3))

    indices = torch.tensor([5, 3, 0])
    z = embed(recognizer, faces, indices, "test", size=2)
    assert calls == [2, 1]
    torch.testing.assert_close(z, faces.images[indices].mean((2, 3)))


def test_keys_tell_pictures_and_sets_apart():
    faces, indices = People("train", 3), torch.tensor([0, 1])
    other, renamed = People("train", 3), People("train", 3)
    other.images[1, 0, 3, 3] += 0.01  # one value of one picture
    renamed.names = ["a", "b", "c"]
    sets = [(faces, indices), (faces, indices + 1), (other, indices), (renamed, indices)]
    assert len({keyed(*each)[0].key for each in sets}) == 4
    assert keyed(People("train", 3), indices)[0].key == keyed(faces, indices)[0].key


def test_settings_of_one_file_share_no_embeddings():
    """Mean, deviation and order of the channels are part of the key; weights alone are not enough."""
    options: tuple[dict, ...] = ({}, {"mean": (0.4, 0.5, 0.5)}, {"bgr": True})
    keys = [eye(Judge(Encoder(Projection(1), 16, name="p", **each))).key for each in options]
    assert len(set(keys)) == 3
    assert keys[0] == eye(Judge(Encoder(Projection(1), 16, name="p"))).key
