"""Recognition ONNX files: as judge and as encoder, against numbers by hand, their PyTorch source, and hostile ones."""

from __future__ import annotations

import copy
import os
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.identity import onnx as module
from anon.identity.contract import EncoderLike, JudgeLike
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.identity.networks.iresnet import IResNet
from anon.identity.onnx import OnnxBackbone, OnnxJudge, onnx_encoder
from anon.identity.onnx_file import read
from tests.identity.onnx_graphs import channel_means, one_node, weights


def _by_hand(images: Tensor) -> Tensor:
    """((x + 1) · 127.5 - 127.5) / 128 = x · 127.5 / 128; its channel means through the weights; both mirror images."""
    return F.normalize((images * 127.5 / 128).mean((2, 3)) @ torch.from_numpy(weights()).T)


@pytest.fixture(scope="module")
def source() -> IResNet:
    """A narrow IResNet whose batch norms have seen data and whose slopes differ."""
    torch.manual_seed(0)
    net = IResNet((1, 2, 1, 1), (8, 12, 16, 24), dim=96)
    for value in net.modules():
        if isinstance(value, nn.PReLU):
            nn.init.uniform_(value.weight, 0.1, 0.4)
        if isinstance(value, nn.BatchNorm2d):
            nn.init.uniform_(value.weight, 0.5, 1.5)
            nn.init.normal_(value.bias, std=0.2)
    with torch.no_grad():
        for _ in range(20):
            net.train()(torch.rand(8, 3, 112, 112) * 2 - 1)
    return net.eval()


@pytest.fixture(scope="module")
def exported(source: IResNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As arcface_torch's torch2onnx.py makes w600k_r50.onnx: one image, opset 11, the batch renamed afterwards."""
    path = tmp_path_factory.mktemp("onnx") / "w600k_small.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            source, (torch.zeros(1, 3, 112, 112),), str(path), input_names=["input.1"], opset_version=11, dynamo=False
        )
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "None"
    onnx.save(model, path)
    return path


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_an_export_of_insightface_s_form_equals_its_source(source, exported, images):
    wanted = Judge(Encoder(source, 112))
    judge, encoder = OnnxJudge(exported), onnx_encoder(str(exported))
    torch.testing.assert_close(judge.embed(images), wanted.embed(images), atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder(images).z, wanted.encoder(images).z, atol=1e-5, rtol=0)
    assert (judge.dim, judge.size, judge.name, judge.metric) == (96, 112, "w600k_small", "cosine")
    assert (encoder.dim, encoder.size) == (96, 112)
    assert isinstance(judge, JudgeLike) and isinstance(encoder, EncoderLike)


def test_its_default_layers_are_the_outputs_of_the_stages(source, exported, images):
    encoder = onnx_encoder(str(exported))
    maps = encoder(images, encoder.layers).maps
    for found, stage in zip(maps, ("layer1", "layer2", "layer3"), strict=True):
        wanted = Encoder(source, 112)(images, (stage,)).maps[0]
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_gradients_reach_the_image_and_are_the_source_s(source, exported, images):
    grads = []
    for encoder in (onnx_encoder(str(exported)), Encoder(source, 112)):
        x = images.clone().requires_grad_()
        encoder(x).z[:, 0].sum().backward()
        grads.append(x.grad)
    assert grads[1].abs().sum() > 0
    torch.testing.assert_close(grads[0], grads[1], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"batch": 1, "reshape": (1, 3)},
        {"batch": 1, "reshape": (1, -1)},
        {"batch": "N", "reshape": (-1, 3)},
        {"batch": "N", "reshape": (0, -1)},
        {"batch": "N", "reshape": (1, 3)},  # renamed only: it takes one image all the same
        {"batch": 4, "reshape": (4, -1)},
        {"batch": 1, "reshape": (1, -1), "listed": False},
        {"batch": "N", "reshape": (-1, 3), "outside": "w.onnx.data"},
    ],
)
def test_mxnet_forms_give_what_the_hand_gives(tmp_path, images, options):
    file = channel_means(tmp_path / "w.onnx", **options)
    judge, encoder = OnnxJudge(file), onnx_encoder(str(file))
    assert judge.mean.tolist() == [[[0.0]]] * 3  # raw bytes: the graph normalizes them itself
    for found in (judge.embed(images), encoder(images).z):
        torch.testing.assert_close(found, _by_hand(images), atol=1e-5, rtol=0)


def test_preprocessing_is_the_encoder_s(tmp_path, images):
    """Other sizes, blue first, another mean: by hand from the channel means of a graph that does not normalize."""
    file = channel_means(tmp_path / "w.onnx", normalizes=False)
    images = F.interpolate(images, 112) * 0 + torch.tensor([0.2, -0.4, 0.6]).view(3, 1, 1)
    z = F.normalize(torch.tensor([[0.6, -0.4, 0.2]]) @ torch.from_numpy(weights()).T).expand(5, -1)
    small = images[..., :40, :50]
    torch.testing.assert_close(OnnxJudge(file, bgr=True).embed(small), z, atol=1e-5, rtol=0)
    torch.testing.assert_close(onnx_encoder(str(file), bgr=True)(small).z, z, atol=1e-5, rtol=0)
    # (0.6, 0.3, 0.8) in [0, 1]: minus (.5, .3, .4), over (.1, .2, .4) = (1, 0, 1)
    z = F.normalize(torch.tensor([[1.0, 0.0, 1.0]]) @ torch.from_numpy(weights()).T).expand(5, -1)
    norm = {"mean": (0.5, 0.3, 0.4), "std": (0.1, 0.2, 0.4)}
    torch.testing.assert_close(OnnxJudge(file, **norm).embed(images), z, atol=1e-5, rtol=0)
    torch.testing.assert_close(onnx_encoder(str(file), **norm)(images).z, z, atol=1e-5, rtol=0)


def test_one_file_is_one_network_in_both_forms(exported, tmp_path):
    encoder, judge = onnx_encoder(str(exported)), OnnxJudge(exported)
    assert encoder.fingerprint == judge.fingerprint == Judge(encoder).fingerprint
    assert OnnxJudge(channel_means(tmp_path / "w.onnx")).fingerprint != judge.fingerprint


def test_survives_copy_and_pickle(exported, images):
    encoder = onnx_encoder(str(exported))
    for twin in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        torch.testing.assert_close(twin(images, encoder.layers), encoder(images, encoder.layers))
        assert twin.fingerprint == encoder.fingerprint


def test_layers_are_listed(exported, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["onnx", str(exported)])
    module.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("96 numbers from 112 x 112 pixels")
    starred = [line.split()[1:] for line in lines if line.startswith("*")]
    assert [row[1:] for row in starred] == [
        ["8", "x", "56", "x", "56"],
        ["12", "x", "28", "x", "28"],
        ["16", "x", "14", "x", "14"],
    ]
    onnx_encoder(str(exported), layers=[line.split()[-6] for line in lines[1:4]])
    with pytest.raises(UserError, match="no layer 'Conv_0'"):
        onnx_encoder(str(exported), layers=["Conv_0"])


def test_a_conversion_that_disagrees_is_refused(exported, monkeypatch):
    convert = module.convert

    def spoilt(*args):
        net = convert(*args)
        for parameter in net.parameters():
            parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
        return net

    monkeypatch.setattr(module, "convert", spoilt)
    with pytest.raises(UserError, match=r"other embeddings than onnxruntime \(cosine 0\..*as a judge only"):
        OnnxBackbone(exported)


def test_an_operation_without_a_twin_is_refused_as_encoder_only(tmp_path):
    file = one_node(tmp_path / "a.onnx", [("x", 1, ["N", 3, 32, 32])], "GlobalLpPool", ["N", 3, 1, 1])
    model = onnx.load(file)
    model.graph.node.append(onnx.helper.make_node("Tile", ["y", "times"], ["z"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.int64([1, 32, 1, 1]), "times"))
    model.graph.output[0].name = "z"
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 96
    onnx.save(model, file)
    assert OnnxJudge(file).dim == 96
    with pytest.raises(UserError, match=r"without a torch twin .*GlobalLpPool"):
        OnnxBackbone(file)


def test_wrong_settings_are_named(exported):
    with pytest.raises(UserError, match=r"dim=512, .* 96 numbers"):
        onnx_encoder(str(exported), dim=512)
    with pytest.raises(UserError, match=r"size=64, .* 112 pixels"):
        onnx_encoder(str(exported), size=64)
    with pytest.raises(UserError, match=r"size=160, .* 112 pixels"):
        OnnxJudge(exported, size=160)
    with pytest.raises(UserError, match="no random start"):
        onnx_encoder("random")
    with pytest.raises(UserError, match="threshold -1"):
        OnnxJudge(exported, threshold=-1)
    for build in (OnnxJudge, onnx_encoder):
        with pytest.raises(UserError, match="needs an ONNX file: take one of insightface"):
            build(None)
        with pytest.raises(UserError, match="never downloaded"):
            build("buffalo_l")


@pytest.mark.parametrize(
    ("inputs", "operation", "output", "reason"),
    [
        ([("x", 1, ["N", 3, 32, 32])], "Flatten", ["N", 3072], None),
        ([("x", 1, ["N", 3, 32, 32])], "Relu", ["N", 3, 32, 32], None),
        ([("x", 1, ["N", 3, 100, 100])], "Flatten", ["N", 30000], "give an output of shape"),
        ([("x", 1, ["N", 3, 32, 32])], "GlobalAveragePool", ["N", 3, 1, 1], "give an output of shape"),
        ([("x", 1, ["N", 3, 32, 32])], "ReduceSum", [], "give an output of shape"),
        ([("x", 1, ["N", 32, 32, 3])], "Flatten", ["N", 3072], "no float32 batch"),
        ([("x", 10, ["N", 3, 32, 32])], "Flatten", ["N", 3072], "no float32 batch"),
        ([("x", 1, ["N", 3072])], "Relu", ["N", 3072], "no float32 batch"),
        ([("x", 1, ["N", 3, 32, 64])], "Flatten", ["N", 6144], "its input is"),
        ([("x", 1, ["N", 3, 100000, 100000])], "GlobalAveragePool", ["N", 3], "its input is"),
        ([("x", 1, [10**6, 3, 32, 32])], "Flatten", ["N", 3072], "its input is"),
        ([("x", 1, ["N", 3, 32, 32]), ("y", 1, ["N", 3, 32, 32])], "Add", ["N", 3, 32, 32], "2 inputs"),
        ([("x", 1, ["N", 3, 32, 32])], "Nonsense", ["N", 3072], "onnxruntime can run"),
    ],
)
def test_other_networks_are_refused(tmp_path, inputs, operation, output, reason):
    output_name = [name if name != "y" else "z" for name, *_ in inputs]
    inputs = [(name, *rest) for name, (_, *rest) in zip(output_name, inputs, strict=True)]
    file = one_node(tmp_path / "a.onnx", inputs, operation, output)
    if reason is None:  # not a refusal: one vector of 3072 numbers for each image
        assert OnnxJudge(file).dim == 3072
        return
    with pytest.raises(UserError, match=reason) as caught:
        OnnxJudge(file)
    assert str(caught.value).count("\n") == 0


def test_what_is_not_onnx_is_refused(tmp_path):
    file = tmp_path / "a.onnx"
    for content in (b"", b"no model", b"<html>404</html>" * 50, bytes(range(256)) * 8):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"not an ONNX model|has 0 bytes"):
            OnnxJudge(file)


def test_truncated_and_damaged_files_never_crash(exported, tmp_path):
    content = exported.read_bytes()
    rng = np.random.default_rng(0)
    for share in (0.01, 0.3, 0.9, 0.999):
        (tmp_path / "a.onnx").write_bytes(content[: int(share * len(content))])
        with pytest.raises(UserError):
            OnnxJudge(tmp_path / "a.onnx")
    for _ in range(40):
        spoilt = bytearray(content)
        for place in rng.integers(0, 3000, 3):  # where the graph is, ahead of most weights
            spoilt[place] = rng.integers(256)
        (tmp_path / "a.onnx").write_bytes(spoilt)
        try:
            OnnxBackbone(tmp_path / "a.onnx")
        except UserError as error:
            assert "\n" not in str(error)


def test_names_that_are_no_text_are_refused(exported, tmp_path):
    (tmp_path / "a.onnx").write_bytes(exported.read_bytes().replace(b"input.1", b"input\xff1"))
    with pytest.raises(UserError, match="is damaged"):
        OnnxBackbone(tmp_path / "a.onnx")


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "sub/../../secret", "", "."])
def test_weights_outside_the_folder_are_refused(tmp_path, location):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_bytes(bytes(10**5))
    file = channel_means(tmp_path / "in/w.onnx", outside="w.data")
    model = onnx.load(file, load_external_data=False)
    for tensor in model.graph.initializer:
        next(entry for entry in tensor.external_data if entry.key == "location").value = location
    file.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"outside its folder|beside it"):
        OnnxJudge(file)


def test_data_files_must_be_there_whole_and_no_links(tmp_path):
    file = channel_means(tmp_path / "w.onnx", outside="w.data")
    data = tmp_path / "w.data"
    first = OnnxJudge(file).fingerprint
    content = bytearray(data.read_bytes())
    data.write_bytes(content[:-8])
    with pytest.raises(UserError, match=r"does not fit .* or is truncated"):
        OnnxJudge(file)
    data.unlink()
    with pytest.raises(UserError, match=r"needs its data file 'w\.data' beside it"):
        OnnxJudge(file)
    (tmp_path / "elsewhere").write_bytes(content)
    os.symlink(tmp_path / "elsewhere", data)
    with pytest.raises(UserError, match=r"is a link"):
        OnnxJudge(file)
    data.unlink()
    content[-1] ^= 1  # the last byte belongs to the weights
    data.write_bytes(content)
    assert OnnxJudge(file).fingerprint != first


@pytest.mark.parametrize("dims", [[2**40], [2**31, 2**31, 2**31], [-1, 4], [10**4, 10**5]])
def test_absurd_sizes_are_refused_before_memory_is_taken(tmp_path, dims):
    model = onnx.load(channel_means(tmp_path / "w.onnx"))
    tensor = TensorProto(name="bomb", data_type=TensorProto.FLOAT, dims=dims, raw_data=b"\0" * 16)
    model.graph.initializer.append(tensor)
    (tmp_path / "w.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"take more than|negative|is damaged"):
        read(tmp_path / "w.onnx")


def test_control_flow_and_nan_are_refused(tmp_path):
    file = channel_means(tmp_path / "w.onnx")
    model = onnx.load(file)
    body = onnx.helper.make_graph([], "body", [], [])
    model.graph.node.append(onnx.helper.make_node("If", ["fc1"], ["never"], then_branch=body, else_branch=body))
    file.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="control flow"):
        OnnxJudge(file)
    model = onnx.load(channel_means(file))
    index = [tensor.name for tensor in model.graph.initializer].index("fc_bias")
    model.graph.initializer[index].CopyFrom(onnx.numpy_helper.from_array(np.full(64, np.nan, np.float32), "fc_bias"))
    file.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="NaN"):
        OnnxJudge(file)


def test_a_graph_that_leaves_the_size_free_is_told(tmp_path):
    model = onnx.load(channel_means(tmp_path / "w.onnx", batch="N", reshape=(-1, 3), normalizes=False))
    for side in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        side.dim_param = "side"
    (tmp_path / "w.onnx").write_bytes(model.SerializeToString())
    assert OnnxJudge(tmp_path / "w.onnx").size == 112
    encoder = onnx_encoder(str(tmp_path / "w.onnx"), size=160, layers=["net.relu0"])
    assert OnnxJudge(tmp_path / "w.onnx", size=160).size == encoder.size == 160
    assert encoder(torch.zeros(1, 3, 64, 64), encoder.layers).maps[0].shape == (1, 3, 160, 160)
