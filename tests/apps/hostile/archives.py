"""Files of weights that bite before their configuration is read; each function makes one."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from tests.apps.hostile.configurations import Bite, Case
from tests.apps.hostile.doors import write_checkpoint
from tests.apps.tiny import Tiny

TEXT = "model: {_target_: anon.generators.fiva.FIVA}\n"


def content(**further: Any) -> dict[str, Any]:
    return {"state_dict": {"first.weight": torch.zeros(1)}, "global_step": 3, "config": TEXT, **further}


def zip_of(folder: Path, members: Iterable[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(folder / "sent.ckpt", "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return folder / "sent.ckpt"


def with_pickle(folder: Path, data: bytes) -> Path:
    """A zip of PyTorch's with this pickle for its content."""
    return zip_of(folder, [("a/data.pkl", data), ("a/byteorder", b"little"), ("a/version", b"3\n")])


def pickled_class(folder: Path, canary: Path) -> Path:
    return with_pickle(folder, pickle.dumps(Bite(canary), protocol=2))


def legacy_pickle(folder: Path, canary: Path) -> Path:
    torch.save(Bite(canary), folder / "sent.ckpt", _use_new_zipfile_serialization=False)
    return folder / "sent.ckpt"


def zip_that_unpacks_to_gigabytes(folder: Path, canary: Path) -> Path:
    """Zeros of 256 MB, compressed to a thousandth; with more of them the file is as small."""
    torch.save(content(more=torch.zeros(1)), folder / "small.ckpt")
    with zipfile.ZipFile(folder / "small.ckpt") as small:
        members = [(name, small.read(name)) for name in small.namelist()]
    with zipfile.ZipFile(folder / "sent.ckpt", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in members:
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
                for _ in range(256 if name.endswith("/data/1") else 0):
                    member.write(bytes(2**20))
    return folder / "sent.ckpt"


def zip_whose_members_overlap(folder: Path, canary: Path) -> Path:
    """A thousand entries of the directory that share the same million bytes."""
    file = zip_of(folder, [("a/data.pkl", pickle.dumps({}, protocol=2)), ("a/data/0", bytes(10**6))])
    whole = file.read_bytes()
    start = whole.rfind(b"PK\x05\x06")
    offset = struct.unpack("<I", whole[start + 16 : start + 20])[0]
    entry = whole[whole.rfind(b"PK\x01\x02") : start]
    head = whole[:start] + entry * 1000
    length, count = len(head) - offset, 1002
    file.write_bytes(head + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, length, offset, 0))
    return file


def torchscript(folder: Path, canary: Path) -> Path:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(folder / "sent.ckpt"))
    return folder / "sent.ckpt"


def tar_that_climbs(folder: Path, canary: Path) -> Path:
    """The oldest form, which unpacks to disk, with a name that leaves the folder."""
    with tarfile.open(folder / "sent.ckpt", "w") as archive:
        for name in ("storages", "tensors", "pickle", f"../../../../../..{canary}"):
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"evil"))
    return folder / "sent.ckpt"


def buffer_without_end(folder: Path, canary: Path) -> Path:
    """``bytearray(8 GB)``, which weights_only allows."""
    return with_pickle(folder, b"\x80\x02cbuiltins\nbytearray\n\x8a\x08" + struct.pack("<q", 2**33) + b"\x85R.")


def dicts_without_end(folder: Path, canary: Path) -> Path:
    """Nine million of a byte each; a minute and more."""
    return with_pickle(folder, b"\x80\x02" + b"}" * 9_000_000 + b".")


def hash_without_end(folder: Path, canary: Path) -> Path:
    """A key of a dict that is a tuple of tuples with 2^60 leaves."""
    levels = b"".join(b"q" + bytes([level]) + b"h" + bytes([level]) + b"\x86" for level in range(60))
    return with_pickle(folder, b"\x80\x02}K\x01\x85" + levels + b"K\x01s.")


def tensor_larger_than_its_bytes(folder: Path, canary: Path) -> Path:
    """One number that claims to be 4 TB."""
    torch.save(content(optimizer_states=[torch.zeros(1).expand(10**6, 10**6)]), folder / "sent.ckpt")
    return folder / "sent.ckpt"


def sparse_weights(folder: Path, canary: Path) -> Path:
    return write_checkpoint(folder, TEXT, {"first.weight": torch.zeros(3, 3).to_sparse()})


def weights_without_values(folder: Path, canary: Path) -> Path:
    return write_checkpoint(folder, TEXT, {"first.weight": torch.zeros(10**7, 10**6, device="meta")})


def weights_that_are_text(folder: Path, canary: Path) -> Path:
    return write_checkpoint(folder, TEXT, {"first.weight": "evil", 3: []})


def half_a_file(folder: Path, canary: Path) -> Path:
    file = write_checkpoint(folder, TEXT)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return file


def pipe(folder: Path, canary: Path) -> Path:
    """Opening it for reading would wait for ever."""
    os.mkfifo(folder / "sent.ckpt")
    return folder / "sent.ckpt"


def device(folder: Path, canary: Path) -> Path:
    (folder / "sent.ckpt").symlink_to("/dev/zero")
    return folder / "sent.ckpt"


def config_that_is_a_pipe(folder: Path, canary: Path) -> Path:
    made = folder / "runs" / "train" / "fiva" / "2026-01-01_12-00-00_abc"
    made.mkdir(parents=True)
    (made / "config.yaml").symlink_to("/dev/zero")
    return folder / "runs"


def training_without_loops(folder: Path, canary: Path) -> Path:
    return write_checkpoint(folder, TEXT, Tiny().state_dict(), loops={"fit_loop": [1]})


def safetensors_of_a_huge_header(folder: Path, canary: Path) -> Path:
    (folder / "sent.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    return folder / "sent.safetensors"


def safetensors_that_lie(folder: Path, canary: Path) -> Path:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}).encode()
    (folder / "sent.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    return folder / "sent.safetensors"


def results_without_end(folder: Path, canary: Path) -> Path:
    (folder / "results.json").write_text("[" * 10**6)
    return folder / "results.json"


def graph(folder: Path, nodes: list[Any], kept: list[Any] = (), functions: list[Any] = ()) -> Path:  # type: ignore[assignment]
    """An ONNX file from pictures x to an embedding z, with these nodes."""
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.normal(size=(3 * 112 * 112, 8)).astype(np.float32), "w")
    rest = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["m"])]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 112, 112]),
        helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 8]),
    ]
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    made = helper.make_graph([*rest, *nodes], "g", ends[:1], ends[1:], [weight, *kept])
    model = helper.make_model(made, opset_imports=domains, functions=list(functions), ir_version=8)
    onnx.save(model, folder / "sent.onnx")
    return folder / "sent.onnx"


def function(name: str, nodes: list[Any]) -> Any:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], ["b"], nodes, opsets)


def loop_in_a_function(folder: Path, canary: Path) -> Path:
    """2^40 turns, in a function that the graph calls."""
    turn = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Tanh", ["v"], ["v2"])],
        "turn",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("c2", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v2", TensorProto.FLOAT, None),
        ],
    )
    count = helper.make_node("Constant", [], ["count"], value=numpy_helper.from_array(np.array(2**40)))
    on = helper.make_node("Constant", [], ["on"], value=numpy_helper.from_array(np.array(True)))
    loop = helper.make_node("Loop", ["count", "on", "a"], ["b"], body=turn)
    return graph(
        folder, [helper.make_node("f", ["m"], ["z"], domain="own")], functions=[function("f", [count, on, loop])]
    )


def functions_without_end(folder: Path, canary: Path) -> Path:
    """Twelve levels of functions that each call the next ten times."""
    made = [function("f0", [helper.make_node("Tanh", ["a"], ["b"])])]
    for level in range(1, 12):
        names = ["a", *(f"t{number}" for number in range(9)), "b"]
        calls = [
            helper.make_node(f"f{level - 1}", [names[number]], [names[number + 1]], domain="own")
            for number in range(10)
        ]
        made.append(function(f"f{level}", calls))
    return graph(folder, [helper.make_node("f11", ["m"], ["z"], domain="own")], functions=made)


def function_that_calls_itself(folder: Path, canary: Path) -> Path:
    own = function("f", [helper.make_node("f", ["a"], ["b"], domain="own")])
    return graph(folder, [helper.make_node("f", ["m"], ["z"], domain="own")], functions=[own])


def column_and_row(value: str) -> tuple[list[Any], list[Any]]:
    """Nodes that make a column c1 and a row c2 of a value, and the two shapes they need."""
    sides = (("s", [-1, 1]), ("r", [1, -1]))
    shapes = [numpy_helper.from_array(np.array(side, np.int64), name) for name, side in sides]
    return [helper.make_node("Reshape", [value, shape], [name]) for shape, name in (("s", "c1"), ("r", "c2"))], shapes


def largest(value: str) -> list[Any]:
    """Nodes that add the largest number of a value to the embedding."""
    top = helper.make_node("ReduceMax", [value], ["top"], keepdims=0)
    return [top, helper.make_node("Add", ["m", "top"], ["z"])]


def constants_without_end(folder: Path, canary: Path) -> Path:
    """What onnxruntime carries out while it opens the file: an outer sum of 400,000 x 400,000."""
    nodes, shapes = column_and_row("c")
    length = numpy_helper.from_array(np.array([400_000], np.int64), "length")
    first = helper.make_node("ConstantOfShape", ["length"], ["c"])
    outer = helper.make_node("Add", ["c1", "c2"], ["outer"])
    return graph(folder, [first, *nodes, outer, *largest("outer")], [length, *shapes])


def results_of_any_size(folder: Path, canary: Path) -> Path:
    """A picture times its own transpose, 37,632 x 37,632, and that times itself."""
    nodes, shapes = column_and_row("x")
    outer = helper.make_node("MatMul", ["c1", "c2"], ["outer"])
    again = helper.make_node("MatMul", ["outer", "outer"], ["again"])
    return graph(folder, [*nodes, outer, again, *largest("again")], shapes)


def shapes_that_double(folder: Path, canary: Path) -> Path:
    """2.7 kB: a shape joined to itself 26 times, which the inference of sizes carried out in this process."""
    doubled = [helper.make_node("Concat", [f"s{at}", f"s{at}"], [f"s{at + 1}"], axis=0) for at in range(26)]
    cast = helper.make_node("Cast", ["s26"], ["shapes"], to=TensorProto.FLOAT)
    return graph(folder, [helper.make_node("Shape", ["x"], ["s0"]), *doubled, cast, *largest("shapes")])


def weights_from_elsewhere(folder: Path, canary: Path) -> Path:
    """External data that is a file of the system."""
    file = graph(folder, [helper.make_node("Identity", ["m"], ["z"])])
    model = onnx.load(file)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../../../../../etc/passwd")
    file.write_bytes(model.SerializeToString())
    return file


CASES = {
    case.make.__name__: case
    for case in (
        Case(pickled_class, "checkpoint", "holds code"),
        Case(legacy_pickle, "attack", "holds code"),
        Case(zip_that_unpacks_to_gigabytes, "checkpoint", "unpacks to more"),
        Case(zip_whose_members_overlap, "checkpoint", "unpacks to more"),
        Case(torchscript, "checkpoint", "TorchScript"),
        Case(tar_that_climbs, "checkpoint", "not a checkpoint"),
        Case(buffer_without_end, "checkpoint", "holds code"),
        Case(dicts_without_end, "checkpoint", "more values"),
        Case(hash_without_end, "checkpoint", "more values"),
        Case(tensor_larger_than_its_bytes, "resume", "holds a tensor of"),
        Case(sparse_weights, "checkpoint", "not a checkpoint"),
        Case(weights_without_values, "checkpoint", "not a checkpoint"),
        Case(weights_that_are_text, "resume", "no tensors"),
        Case(half_a_file, "checkpoint", "not a checkpoint"),
        Case(pipe, "checkpoint", "no checkpoint"),
        Case(device, "ifsr", "no checkpoint"),
        Case(config_that_is_a_pipe, "run", "not a regular file"),
        Case(training_without_loops, "resume", "how many batches"),
        Case(safetensors_of_a_huge_header, "weights", "not a readable safetensors file"),
        Case(safetensors_that_lie, "encoder", "not a readable safetensors file"),
        Case(results_without_end, "report", "results.json"),
        Case(loop_in_a_function, "onnx", "control flow"),
        Case(functions_without_end, "onnx", "operations"),
        Case(function_that_calls_itself, "onnx", "calls itself"),
        Case(constants_without_end, "onnx", "bounded memory"),
        Case(shapes_that_double, "onnx", "bounded memory"),
        Case(results_of_any_size, "onnx", "bounded memory"),
        Case(weights_from_elsewhere, "onnx", "outside its folder"),
    )
}
