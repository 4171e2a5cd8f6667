"""A trained anonymizer as one file that needs none of this code: ONNX or TorchScript, pictures in, pictures out.

usage: anon export method=<choice> policy=<choice> format=onnx|torchscript output=<file> [<setting>=<value> ...]

  method=fiva               whose generator; method=checkpoint checkpoint=<run folder or file> is your own
  policy=negation           the furthest identity; policy=own is the face's own
  policy=itm wanted=<n>     one fake identity for everybody: the mix of two training people that n chooses
  format=onnx               or torchscript
  output=<file>             the file; <file>.md beside it is its card
  size=64                   side of the faces; that of the training where it is not given

The file takes faces (B, 3, S, S) in [-1, 1], RGB, framed as those of the training, and gives the same form: the
encoder with its preparation, the policy and the blending are in it. A policy that remembers, draws or needs another
picture cannot be, and is refused. Before it has its name, the file is run (ONNX in onnxruntime) and compared with what
it was made of. It is a method then: anon evaluate method=onnx method.anonymizer.file=<file>.
Exit codes: 0 done, 2 a mistake that you can mend, 130 stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn import functional as F

from anon import plain
from anon.anonymizers.composed import Anonymizer
from anon.anonymizers.onnx import OnnxAnonymizer
from anon.anonymizers.torchscript import TorchScriptAnonymizer
from anon.apps.anonymize import built_method, method_of, size_of
from anon.apps.config import composed
from anon.apps.door.config import check_config, check_places
from anon.apps.door.words import readable
from anon.apps.launch.failures import guarded, unwrapped
from anon.apps.run_folders.started import called_with
from anon.apps.untrusted import trusting
from anon.checksums import written_whole
from anon.commands import in_utf8, usage
from anon.errors import UserError
from anon.evaluation.modes import sampling_of
from anon.faces.synthetic.dataset import SyntheticFaces
from anon.generators.contract import Redrawn
from anon.identity.policies import Negation, OwnEmbedding
from anon.printable import flat
from anon.weights.files import fingerprint

OPSET = 17
MAX_CARD = 2**16  # bytes
MOST = 1e-3  # of the range [-1, 1]: how far a file may be from what it was made of
_OURS = ("format", "output", "wanted")
#: Of the settings of ``anon anonymize``: what a file is made of.
_READ = ("method", "policy", "data", "checkpoint", "checkpoints", "size", "seed", "trust", "cache", "paths", "hydra")
_LEAKS = {
    "Negation": "The wanted identity is the opposite of the face's own, so whoever negates embeddings finds people.\n",
    "OwnEmbedding": "The wanted identity is the face's own: this anonymizes nobody.\n",
}
_NONE = (
    "remembers people, draws numbers or needs another picture, and a file does none of these; policy=negation and "
    "policy=own can be in one, and policy=itm wanted=<number>, which makes everybody one fake person."
)


class InOneFile(nn.Module):
    """encoder, policy, generator and blending: images (B, 3, S, S) in [-1, 1] -> the same form.

    Args:
        wanted: (D,) the identity that everybody gets; None: the anonymizer's policy says it.
    """

    wanted: Tensor

    def __init__(self, anonymizer: Anonymizer, wanted: Tensor | None) -> None:
        super().__init__()
        self.generator, self.steers = anonymizer.generator, float(anonymizer.generator.steers)
        self.encoder: Any = anonymizer.encoder if wanted is None else None
        self.policy: Any = anonymizer.policy if wanted is None else None
        self.register_buffer("wanted", wanted)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        fixed = self.encoder is None
        z = self.wanted.expand(images.shape[0], -1) if fixed else self.policy(self.encoder(images).z)
        image, mask = self.generator(images, self.steers * z)
        return Redrawn(image.clamp(-1.0, 1.0), mask).blend(images).clamp(-1.0, 1.0)


class Wish(NamedTuple):
    """What a command line asks for."""

    kind: str
    target: Path
    wanted: str | None
    config: DictConfig


def wish(words: Sequence[str]) -> Wish:
    """Read the command line.

    Raises:
        UserError: a word that is missing or wrong, or that a file is not made of.
    """
    ours = dict(word.split("=", 1) for word in words if word.partition("=")[0] in _OURS and "=" in word)
    rest = [word for word in words if word.partition("=")[0] not in _OURS]
    kind, output = ours.get("format", "onnx"), ours.get("output")
    if kind not in _WRITERS:
        raise UserError(f"format={kind} is none; it is one of {', '.join(_WRITERS)}.")
    if not output:
        raise UserError("give output=<file>, as in: anon export method=fiva policy=negation output=fiva.onnx.")
    target = Path(os.path.expanduser(output))  # a home that is not there stays a name
    if not target.parent.is_dir():
        raise UserError(f"output={output}: there is no folder '{target.parent}'.")
    check_free(target)
    for word in rest:
        if re.split(r"[.=@/]", word.lstrip("+~"))[0] not in _READ:
            raise UserError(f"{word} would do nothing here: a file is made of {', '.join(_READ[:3])}.")
    config = composed("anonymize", readable(rest))
    with called_with(rest):
        check_config(config)
        check_places(config)
    return Wish(kind, target, ours.get("wanted"), config)


def check_free(target: Path) -> None:
    """See that nothing is written over but what was exported before, which its card tells.

    Raises:
        UserError: something else has the name.
    """
    beside = _card_of(target)
    if not os.path.lexists(target) and not os.path.lexists(beside):
        return
    own = target.is_file() and beside.is_file()
    if not own or hashlib.sha256(target.read_bytes()).hexdigest() not in plain.read_text(beside, MAX_CARD):
        raise UserError(f"'{target}' or '{beside.name}' is there already and not of anon export; name another output.")


def _card_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.md")


def export(words: Sequence[str]) -> tuple[Path, float]:
    """Write the file and its card.

    Args:
        words: those of the command line.

    Returns:
        the file, and the largest difference from what it was made of, in units of [-1, 1].

    Raises:
        UserError: see :func:`wish`; a method without a generator, a policy that no file can hold, an operation that the
            format lacks, or a file that gives something else.
    """
    kind, target, wanted, config = wish(words)
    with trusting(config.trust), unwrapped():
        base = built_method(config)
        if getattr(base, "generator", None) is None:
            raise UserError("a filter has nothing to export; method=fiva, facedancer or checkpoint has a generator.")
        made = cast(Anonymizer, method_of(config, base))
    module = InOneFile(made, _wanted(made, wanted)).eval().requires_grad_(False)
    size = size_of(config, base)
    with torch.no_grad():
        content, far = _checked(kind, module, _examples(size), target)
    told = card(flat(target.name), kind, words, module, content, size, far)
    for file, data in ((target, content), (_card_of(target), told.encode())):
        with written_whole(file, 0o644) as stream:
            stream.write(data)
    return target, far


def _wanted(made: Any, given: str | None) -> Tensor | None:
    """The identity that everybody gets, (D,); None where the policy is a function of the face alone.

    Raises:
        UserError: the policy cannot be in a file.
    """
    if type(made.policy) in (Negation, OwnEmbedding):
        if given is not None:
            raise UserError(f"wanted={given} would do nothing here: this policy says whom every face becomes.")
        return None
    sampling = sampling_of(made.policy)
    if sampling is None or given is None:
        raise UserError(f"this policy ({type(made.policy).__name__}) {_NONE}")
    if not given.isdecimal() or len(given) > 18:  # as long as a seed can be
        raise UserError(f"wanted={given} must be a whole number of 0 or more, of 18 digits at most.")
    rng = torch.Generator().manual_seed(int(given))
    one, other = torch.randperm(len(sampling.people), generator=rng)[:2].tolist()
    mix = F.normalize(sampling.people[one] + sampling.people[other], dim=0)
    return -mix if sampling.mirrored else mix


def _examples(size: int) -> Tensor:
    """What a file is compared on: three rendered faces and noise, (4, 3, size, size)."""
    faces = SyntheticFaces("background", size=size, identities=3, images=1)
    noise = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return torch.cat([torch.stack([faces[index]["image"] for index in range(3)]), noise])


def _checked(kind: str, module: InOneFile, images: Tensor, target: Path) -> tuple[bytes, float]:
    """The bytes of the file, run and compared on images."""
    write, read = _WRITERS[kind]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what tracing says of constants, which the comparison tests
        file = Path(folder) / target.name
        write(module, images[:2], file)
        drawn, wanted = read(file)(images), module(images)
        content = file.read_bytes()
    far = float((drawn - wanted).abs().max())
    if not far <= MOST:
        raise UserError(f"the {kind} file differs from the method by {far:.2g} of [-1, 1], so it is not written.")
    return content, far


def _onnx(module: nn.Module, images: Tensor, file: Path) -> None:
    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(told):
            torch.onnx.export(
                module,
                (images,),
                str(file),
                input_names=["images"],
                output_names=["changed"],
                dynamic_axes={"images": {0: "batch"}, "changed": {0: "batch"}},
                opset_version=OPSET,
                dynamo=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"ONNX has not what this method computes ({reason}); format=torchscript may.") from error


def _torchscript(module: nn.Module, images: Tensor, file: Path) -> None:
    torch.jit.trace(module, images, check_trace=False).save(str(file))  # type: ignore[no-untyped-call]


_WRITERS: dict[str, tuple[Callable[[InOneFile, Tensor, Path], None], Callable[[Path], Callable[[Tensor], Tensor]]]] = {
    "onnx": (_onnx, OnnxAnonymizer),
    "torchscript": (_torchscript, TorchScriptAnonymizer),
}


def card(name: str, kind: str, words: Sequence[str], module: InOneFile, content: bytes, size: int, far: float) -> str:
    """What the file is, in Markdown."""
    who, leak = "everybody becomes one fake person", ""
    if module.encoder is not None:
        who = type(module.policy).__name__
        leak = _LEAKS[who]
    words = [word for word in words if not word.startswith("output=")]
    count = sum(each.numel() for each in module.parameters())
    lines = [
        f"# {name}",
        "",
        f"- command: `anon export {' '.join(words)} output={name}`",
        f"- what: {type(module.generator).__name__}, {who}; {count:,} parameters",
        f"- input: faces (B, 3, {size}, {size}), float32, RGB in [-1, 1], framed as the training's",
        "- output: the same form",
        f"- generator: SHA-256 {fingerprint(module.generator)}",  # type: ignore[arg-type]
        f"- file: {len(content):,} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}",
        f"- compared: at most {far:.2g} of [-1, 1] from the method, on three rendered faces and noise",
        f"- use: `anon evaluate method={kind} method.anonymizer.file={name}`",
        "",
        f"{leak}It has no detector: faces go in, faces come out. What was trained on rendered faces anonymizes no",
        "photograph. Licence: that of the weights; those that ship with anon are MIT.",
    ]
    return "\n".join(lines) + "\n"


def command(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if {"-h", "--help"} & set(words):
        print(usage(__doc__))
        return 0

    def run() -> None:
        file, far = export(words)
        print(f"{flat(str(file))}: at most {far:.2g} of [-1, 1] from the method; card {file}.md")

    return guarded(run)


if __name__ == "__main__":
    in_utf8()
    sys.exit(command())
