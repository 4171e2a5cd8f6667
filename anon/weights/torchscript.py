"""TorchScript archives (``torch.jit.save``), which may be anything: checked before anything runs, then opened.

An archive is a zip of tensors and of a program. It passes when it unpacks to no more than it has, when no part of the
program runs while it is read, and when what ``forward`` calls, all calls written out, are operators of :data:`ALLOWED`:
PyTorch's own, without those that read or write files, set attributes or change how PyTorch draws, and without loops
other than over the dimensions of a tensor, which batch norm and others have (a branch is allowed, as both sides end).
It opens and runs once within bounds of time and memory, in a process of its own that can write no file, before this
process opens it.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import torch

from anon.errors import UserError
from anon.weights.archives import DAMAGED
from anon.weights.onnx import content_of
from anon.weights.trial import MEMORY, SECONDS

MAX_BYTES = 3 * 2**29  # 1.5 GiB
_MAX_PROGRAM = 2**24  # bytes by which the program, which alone is compressed, may unpack to more than the file has
_MAX_OPERATIONS = 20_000
_START = 60  # seconds to import torch on a busy machine
_KEPT = ("version", ".data/version", "byteorder", "constants.pkl", "data.pkl", "code/", "data/", "constants/")
#: Kinds of a graph's nodes that may run.
ALLOWED = (
    r"aten::(?!(?:save|from_file|set_|set_data|manual_seed|seed|initial_seed|wait|backward)$)(?:[a-zA-Z]\w*|__\w+)"
    r"|aten::_(?:convolution|convolution_mode|set_item|weight_norm|upsample_\w+)"
    r"|prim::(?:Constant|GetAttr|If|RaiseException|Uninitialized|CreateObject|NumToTensor|Return|Param"
    r"|(?:List|Tuple|Dict)(?:Construct|Unpack|Index)|TupleSlice|ConstantChunk|isinstance|unchecked_cast|tolist"
    r"|(?:unchecked_unwrap_optional|device|dtype|layout|shape|data|requires_grad|is_\w+|min|max|abs|itemsize))"
)
_CHILD = """
import io, json, re, resource, sys
import torch
allowed, operations, seconds, memory, *sides = sys.argv[1:]
with open("/proc/self/statm") as file:
    memory = int(memory) + int(file.read().split()[0]) * resource.getpagesize()
used = resource.getrusage(resource.RUSAGE_SELF)
seconds = int(seconds) + int(used.ru_utime + used.ru_stime)
for limit, most in ("AS", memory), ("CPU", seconds), ("FSIZE", 0):
    resource.setrlimit(getattr(resource, "RLIMIT_" + limit), (most, most))
torch.set_num_threads(1)

def end(**told):
    print(json.dumps(told))
    sys.exit()

def bounded(step):  # what does not fit fails here as it will there; only what takes all memory counts
    try:
        return step()
    except Exception as error:
        if isinstance(error, MemoryError) or "alloc" in str(error).lower():
            raise

content = io.BytesIO(sys.stdin.buffer.read())
network = bounded(lambda: torch.jit.load(content, "cpu").eval())
graph = bounded(lambda: network.inlined_graph)
if graph is None:
    end(damaged=True)
READERS = [f"aten::{name}" for name in ("add", "len", "slice", "list", "__getitem__", "format", "eq", "ne")]

def dimensions(value, deep=8):  # a list that is no longer than a tensor has dimensions
    node, kind = value.node(), value.node().kind()
    inputs = list(node.inputs())
    if not all(use.user.kind() in READERS for use in value.uses()):  # it may grow
        return False
    if kind in ("aten::add", "aten::slice", "aten::list") and deep:
        return all(dimensions(each, deep - 1) for each in inputs[: 2 if kind == "aten::add" else 1])
    return kind == "aten::size" or kind == "prim::ListConstruct" and len(inputs) <= 64

def steps(value, deep=8):  # a number that is no larger than a few times that
    node, kind = value.node(), value.node().kind()
    if kind == "prim::Constant":
        return type(value.toIValue()) is int and abs(value.toIValue()) <= 64
    if kind in ("aten::sub", "aten::__range_length") and deep:
        return all(steps(each, deep - 1) for each in node.inputs())
    return kind == "aten::dim" or kind == "aten::len" and dimensions(node.inputsAt(0))

def over_dimensions(node):  # for i in range(len(x.shape) - 2), as PyTorch's own layers look at sizes
    (body,) = node.blocks()
    on = [node.inputsAt(1), body.returnNode().inputsAt(0)]
    endless = any(each.node().kind() != "prim::Constant" or each.toIValue() is not True for each in on)
    return not endless and steps(node.inputsAt(0))

count, refused, blocks = 0, set(), [(graph, False)]
while blocks and count <= int(operations):
    block, looping = blocks.pop()
    for node in block.nodes():
        count += 1
        loop = node.kind() == "prim::Loop"
        if not (not looping and over_dimensions(node) if loop else re.fullmatch(allowed, node.kind())):
            refused.add(node.kind())
        blocks += [(each, looping or loop) for each in node.blocks()]
refused = sorted(refused)
if refused or count > int(operations):
    end(refused=refused[:3], count=count)
with torch.no_grad():
    for side in map(int, sides):
        bounded(lambda: network.forward(torch.zeros(1, 3, side, side)))
end()
"""


class Program(NamedTuple):
    """A checked archive, its network on the CPU, in eval mode, and the SHA-256 of its bytes."""

    path: Path
    network: torch.jit.ScriptModule
    sha256: str


def load(path: str | Path | None, what: str, origin: str, size: int | None = None) -> Program:
    """Read, check, try and open.

    Args:
        path: the file.
        what: who needs it, for messages: "method=torchscript".
        origin: where users get it, one clause.
        size: side in pixels of the pictures that it is tried on; None: 112 and 128.

    Raises:
        UserError: no file, no TorchScript, damaged, of absurd size, of forbidden operators, or too much for a trial.
    """
    file, content = content_of(path, "a TorchScript", what, origin, MAX_BYTES)
    try:
        clean = _program(content, file, origin)
        _try(clean, file, origin, [size] if size else [112, 128])
        network = torch.jit.load(io.BytesIO(clean), "cpu").eval()
    except DAMAGED as error:
        raise UserError(f"'{file}' is not a TorchScript archive, or is damaged; {origin}.") from error
    return Program(file, network, hashlib.sha256(content).hexdigest())


def _program(content: bytes, file: Path, origin: str) -> bytes:
    """The archive written anew, with what a program is made of and without what a reader may take for something else.

    Raises:
        UserError: see :func:`load`; what zipfile raises on damaged files.
    """
    clean = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as given, zipfile.ZipFile(clean, "w") as kept:
        members = {member.filename.partition("/")[2]: member for member in given.infolist()}
        if "archive_format" in members:
            raise UserError(
                f"'{file}' is a program of torch.export, not TorchScript; where you trust it, write it as such: python "
                f"-c \"import torch; torch.jit.trace(torch.export.load('{file}').module(), torch.zeros(1, 3, S, S))"
                ".save('method.pt')\", S the side of its pictures."
            )
        if "constants.pkl" not in members or not any(name.startswith("code/") for name in members):
            raise UserError(
                f"'{file}' holds no TorchScript program, only weights or something else; save the network itself: "
                f"torch.jit.trace(network, torch.zeros(1, 3, S, S)).save(...), S the side of its pictures; {origin}."
            )
        if sum(member.file_size for member in members.values()) > len(content) + _MAX_PROGRAM:
            raise UserError(f"'{file}' unpacks to more than its {len(content)} bytes; {origin}.")
        for name, member in members.items():
            if not name.startswith(_KEPT) or name.endswith(".debug_pkl"):
                continue
            with given.open(member) as stream:
                part = stream.read(member.file_size + 1)  # never more, whatever the member unpacks to
            if name.endswith((".py", ".pkl")) and re.search(rb"__setstate__|torch[.\s]classes", part):
                raise UserError(f"'{file}' runs code while it is read (__setstate__, torch.classes), which is refused.")
            kept.writestr(f"method/{name}", part)
    return clean.getvalue()


def _try(clean: bytes, file: Path, origin: str, sides: list[int]) -> None:
    """Open and run the archive once, elsewhere.

    Raises:
        UserError: see :func:`load`.
    """
    limits = [ALLOWED, _MAX_OPERATIONS, SECONDS, MEMORY + 5 * len(clean), *sides]
    command = [sys.executable, "-I", "-W", "ignore", "-c", _CHILD, *map(str, limits)]
    too_much = f"'{file}' does not open and run within {SECONDS} s and bounded memory, so it is not used; {origin}."
    try:
        done = subprocess.run(command, input=clean, capture_output=True, timeout=SECONDS + _START)
    except subprocess.TimeoutExpired as error:
        raise UserError(too_much) from error
    if done.returncode:
        raise UserError(too_much)
    told = json.loads(done.stdout.splitlines()[-1])
    if "damaged" in told:
        raise UserError(f"'{file}' is no program that torch {torch.__version__} can open by itself; {origin}.")
    if told.get("refused"):
        raise UserError(
            f"'{file}' does what no network of pictures needs ({', '.join(told['refused'])}), so it is not run; a "
            "traced one has neither loops nor state: torch.jit.trace(network, torch.zeros(1, 3, S, S)).save(...)."
        )
    if told:
        raise UserError(f"'{file}' has more than {_MAX_OPERATIONS:,} operations, which no network here has.")
