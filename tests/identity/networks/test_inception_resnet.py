"""InceptionResnetV1 against facts of facenet-pytorch and of the paper, not against this code."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anon.errors import UserError
from anon.identity.encoder import Encoder
from anon.identity.networks.inception_resnet import InceptionResnetV1, block8, block35
from anon.weights.files import load_into

BN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def _conv(cin: int, cout: int, *kernel: int) -> int:
    """Parameters of a convolution without bias and of its batch norm."""
    area = kernel[0] * kernel[-1]
    return cin * cout * area + 2 * cout


def test_parameter_count_is_the_published_one():
    stem = _conv(3, 32, 3) + _conv(32, 32, 3) + _conv(32, 64, 3) + _conv(64, 80, 1) + _conv(80, 192, 3)
    stem += _conv(192, 256, 3)
    b35 = 3 * _conv(256, 32, 1) + 3 * _conv(32, 32, 3) + 96 * 256 + 256
    m6 = _conv(256, 384, 3) + _conv(256, 192, 1) + _conv(192, 192, 3) + _conv(192, 256, 3)
    b17 = 2 * _conv(896, 128, 1) + 2 * _conv(128, 128, 1, 7) + 256 * 896 + 896
    m7 = 3 * _conv(896, 256, 1) + _conv(256, 384, 3) + 3 * _conv(256, 256, 3)
    b8 = 2 * _conv(1792, 192, 1) + 2 * _conv(192, 192, 1, 3) + 384 * 1792 + 1792
    count = stem + 5 * b35 + m6 + 10 * b17 + m7 + 6 * b8 + 1792 * 512 + 2 * 512
    assert count == 23_482_624
    assert count + 512 * 8631 + 8631 == 27_910_327  # the published file of VGGFace2, with its classifier
    with torch.device("meta"):
        assert sum(p.numel() for p in InceptionResnetV1().parameters()) == count


def test_names_and_shapes_are_those_of_the_published_files():
    with torch.device("meta"):
        state = {key: tuple(value.shape) for key, value in InceptionResnetV1().state_dict().items()}
    convs = {"conv2d_1a": (32, 3, 3, 3), "conv2d_4b": (256, 192, 3, 3)}
    convs |= {"repeat_1.4.branch0": (32, 256, 1, 1), "repeat_1.0.branch2.2": (32, 32, 3, 3)}
    convs |= {"mixed_6a.branch0": (384, 256, 3, 3), "mixed_6a.branch1.2": (256, 192, 3, 3)}
    convs |= {"repeat_2.9.branch1.1": (128, 128, 1, 7), "repeat_2.9.branch1.2": (128, 128, 7, 1)}
    convs |= {"mixed_7a.branch0.1": (384, 256, 3, 3), "mixed_7a.branch2.2": (256, 256, 3, 3)}
    convs |= {"repeat_3.4.branch1.1": (192, 192, 1, 3), "block8.branch0": (192, 1792, 1, 1)}
    for name, shape in convs.items():
        assert state[f"{name}.conv.weight"] == shape
        assert all(state[f"{name}.bn.{part}"] == ((shape[0],) if part != BN[-1] else ()) for part in BN)
    joins = {"repeat_1.0": (256, 96), "repeat_2.0": (896, 256), "repeat_3.0": (1792, 384), "block8": (1792, 384)}
    for name, shape in joins.items():
        assert state[f"{name}.conv2d.weight"] == (*shape, 1, 1) and state[f"{name}.conv2d.bias"] == shape[:1]
    assert state["last_linear.weight"] == (512, 1792) and "last_linear.bias" not in state
    assert state["last_bn.weight"] == (512,)
    # 6 + 5·6 + 4 + 10·4 + 7 + 6·4 = 111 convolutions with norms, 21 joins, the linear layer and the last norm
    assert len(state) == 111 * 6 + 21 * 2 + 1 + 5 == 714


def test_residual_scales_and_the_last_block():
    """With zero branches a block is relu(x + scale · bias), and the last one is x + bias."""
    for block, scale, rectified in ((block35(), 0.17, True), (block8(), 0.2, True), (block8(1.0, False), 1.0, False)):
        nn.init.zeros_(block.conv2d.weight)
        nn.init.constant_(block.conv2d.bias, -0.5)
        x = torch.randn(1, block.conv2d.out_channels, 3, 3)
        wanted = x - 0.5 * scale
        torch.testing.assert_close(block.eval()(x), wanted.relu() if rectified else wanted)


def test_batch_norms_have_facenet_s_epsilon():
    assert {layer.eps for layer in InceptionResnetV1().modules() if hasattr(layer, "running_mean")} == {1e-3}


@pytest.mark.parametrize("people", [8631, 10575])
def test_a_file_of_the_published_format_loads_without_its_classifier(tmp_path, people):
    torch.manual_seed(people)
    source = InceptionResnetV1().eval()
    state = {**source.state_dict(), "logits.weight": torch.zeros(people, 512), "logits.bias": torch.zeros(people)}
    torch.save(state, tmp_path / "vggface2.pt")
    encoder = Encoder(InceptionResnetV1(), 160, std=(128 / 255,) * 3, weights=str(tmp_path / "vggface2.pt"))
    images = torch.rand(2, 3, 160, 160) * 2 - 1
    # (x - 127.5) / 128 of the bytes (x + 1) · 127.5 is x · 127.5 / 128
    wanted = torch.nn.functional.normalize(source(images * 127.5 / 128))
    torch.testing.assert_close(encoder(images).z, wanted, atol=1e-5, rtol=1e-4)


def test_other_extra_names_are_still_refused(tmp_path):
    torch.save({**InceptionResnetV1().state_dict(), "head.weight": torch.ones(1)}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"1 unexpected \(head\.weight\)"):
        load_into(InceptionResnetV1(), tmp_path / "a.pt")
