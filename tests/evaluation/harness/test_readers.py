"""Recognizers in the harness: what they see is in its store, under their keys."""

from __future__ import annotations

import pytest
import torch

from anon.attributes.regressor import AttributeRegressor
from anon.evaluation.embeddings import batches
from anon.evaluation.harness.pictures import Originals, as_it_conditions, embeddings, folded, keyed_recognizer
from anon.evaluation.harness.store import Store
from anon.evaluation.harness.subjects import keyed
from anon.faces.contract import in_eight_bits
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.identity.networks.compact import CompactNet
from anon.identity.networks.edgeface import EdgeFace
from anon.identity.networks.inception_resnet import InceptionResnetV1
from anon.identity.networks.iresnet import iresnet_small
from anon.identity.networks.mobilefacenet import MobileFaceNet
from anon.identity.networks.patches import PatchNet
from anon.identity.networks.plain import PlainNet
from tests.evaluation.tiny_world import People, Projection, encoder, judge

NETWORKS = {
    "compact": (CompactNet, 64),
    "iresnet": (iresnet_small, 64),
    "mobilefacenet": (MobileFaceNet, 112),
    "edgeface": (EdgeFace, 112),
    "facenet": (InceptionResnetV1, 160),
    "plain": (PlainNet, 64),
    "patches": (PatchNet, 64),
}


def test_recognizers_see_eight_bits(tmp_path):
    faces, indices = People("train", 3), torch.tensor([0, 3, 5])
    images, pictures = in_eight_bits(faces.images[indices]), Originals(keyed(faces, indices)[0])
    for by, wanted in ((judge(1), judge(1).embed(images)), (as_it_conditions(encoder(0)), encoder(0)(images).z)):
        made, found = (
            embeddings(Store(tmp_path), pictures, keyed_recognizer(by), 2, torch.device("cpu")) for _ in range(2)
        )
        torch.testing.assert_close(made, wanted)
        assert torch.equal(made, found)


@pytest.mark.parametrize("network", NETWORKS)
def test_folded_batch_norms_are_the_same_function(network):
    """Of every network of this package; the one that was given is left alone, and another's weights are another's."""
    network, size = NETWORKS[network]
    network, rng = network(), torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values, low in ((module.running_mean, -0.2), (module.running_var, 0.5), (module.weight.data, 0.8)):
                values.uniform_(low, low + 0.4, generator=rng)
    by = Judge(Encoder(network, size, weights="random"))
    images = torch.rand(2, 3, 64, 64, generator=rng) * 2 - 1
    before = {name: value.clone() for name, value in by.state_dict().items()}
    fast = folded(by, "key")
    assert count(fast) < count(by) or count(by) == 0  # EdgeFace has none
    torch.testing.assert_close(fast.embed(images), by.embed(images), atol=2e-6, rtol=0)
    assert all(torch.equal(before[name], value) for name, value in by.state_dict().items())
    assert folded(by, "key") is fast and folded(by, "other weights") is not fast


def test_an_estimators_network_is_folded_too():
    by = AttributeRegressor(weights="shipped:attributes")
    fast = folded(by, "key")
    assert count(fast) < count(by)
    for name, value in by(people := People("train", 3).images).items():
        torch.testing.assert_close(fast(people)[name], value, atol=1e-4, rtol=1e-5)


def count(module):
    return sum(isinstance(part, torch.nn.BatchNorm2d) for part in module.modules())


def test_batches_come_in_order():
    faces, indices = People("train", 3), torch.tensor([5, 3, 0])
    found = [batch["image"] for batch in batches(faces, indices, 2, "test")]
    assert [len(images) for images in found] == [2, 1]
    torch.testing.assert_close(torch.cat(found), faces.images[indices])


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
    keys = [keyed_recognizer(Judge(Encoder(Projection(1), 16, name="p", **each))).key for each in options]
    assert len(set(keys)) == 3
    assert keys[0] == keyed_recognizer(Judge(Encoder(Projection(1), 16, name="p"))).key
