"""Judge and encoder outside the harness: what they see is in its store, under its keys."""

from __future__ import annotations

import pytest
import torch

from anon.errors import UserError
from anon.evaluation.embeddings import embed
from anon.evaluation.eyes import ENCODER, JUDGE, Eyes
from anon.evaluation.harness.readers import eye
from anon.evaluation.harness.subjects import keyed
from anon.evaluation.judging import check_cosine, judge_notes
from anon.evaluation.protocol import Calibration, Protocol, some_of_each
from anon.faces.contract import in_eight_bits
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from tests.evaluation.harness.tiny_bench import bench
from tests.evaluation.tiny_world import Data, People, Projection, encoder, judge

RULE = Protocol(far=0.01, anchors=8, batch_size=5)


def eyes(cache=None):
    return Eyes(encoder(0), judge(1), RULE, "cpu", cache)


def test_both_see_eight_bits():
    faces, indices = People("train", 3), torch.tensor([0, 3, 5])
    images = in_eight_bits(faces.images[indices])
    torch.testing.assert_close(eyes().see(JUDGE, faces, indices), judge(1).embed(images))
    torch.testing.assert_close(eyes().see(ENCODER, faces, indices), encoder(0)(images).z)


def test_batches_are_put_together_in_order():
    faces, calls = People("train", 3), []

    def recognizer(images):
        calls.append(len(images))
        return images.mean((2, 3))

    indices = torch.tensor([5, 3, 0])
    z = embed(recognizer, faces, indices, "test", size=2)
    assert calls == [2, 1]
    torch.testing.assert_close(z, faces.images[indices].mean((2, 3)))


def test_what_the_harness_embedded_is_found(tmp_path):
    """Of the same people, by the same recognizers, in the same batches."""
    made = bench(tmp_path, data=Data())
    assert made.calibration("default", made.judge).threshold > 0
    mine = eyes(tmp_path)
    background = Data().faces("background")
    known = made.calibration("default", made.judge)
    assert mine.calibrate_probes(JUDGE, background, 0).found[:4] == known[:4]
    assert mine.store.found == {"embeddings": 1} and not mine.store.made
    assert mine.calibrate(JUDGE, background)[:4] == made.picture_calibration("default", made.judge)[:4]
    people = mine.basis(Data(), seed=0).people()
    assert torch.equal(people, made.workshop.basis("default", encoder(0)).people()) and people.shape == (6, 32)


def test_the_gallery_holds_averages_and_pictures():
    faces = People("evaluation", 4)
    enrol = some_of_each(faces, 2)
    gallery = eyes().gallery(JUDGE, faces, enrol, Calibration(0.4, 0.01, 0.1, 100, levels=(0.3, 0.5)))
    assert gallery.owners.tolist() == [0, 0, 1, 1, 2, 2, 3] and gallery.people.tolist() == [0, 1, 2, 3]
    pair = gallery.pictures[:2].sum(0)
    torch.testing.assert_close(gallery.averages[0], pair / pair.norm())
    assert gallery.threshold == 0.4 and gallery.levels.tolist() == pytest.approx([0.3, 0.5])


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


def test_who_may_judge():
    (note,) = judge_notes(encoder(0), judge(1), RULE)
    assert "are both a Projection" in note
    with pytest.raises(UserError, match=r"that FIVA was trained with.*allow_training_encoder"):
        judge_notes(encoder(0), judge(0), RULE, "FIVA")
    (note,) = judge_notes(encoder(0), judge(0), Protocol(allow_training_encoder=True), "FIVA")
    assert "the figures flatter it" in note
    other = judge(1)
    other.metric = "euclidean"  # type: ignore[misc]
    with pytest.raises(UserError, match="The judge must compare by cosine"):
        check_cosine(other, "The judge")
