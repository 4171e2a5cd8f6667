"""Configurations that try to run a command, read a secret, or take all memory; each function makes one file.

The command leaves a canary, an empty file. ``folder`` is where the sent file lies, and the current folder of those who
open it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import OmegaConf

from tests.apps.hostile.doors import write_checkpoint


class Case(NamedTuple):
    """A hostile file, the door that it comes through, and a word of the sentence that refuses it."""

    make: Callable[[Path, Path], Path]
    door: str
    word: str


def command(canary: Path) -> str:
    return f"touch {canary}"


class Bite:
    """Unpickled, it runs the command."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (command(self.canary),)


def unpickled(folder: Path, canary: Path) -> dict[str, Any]:
    """A part that reads a pickle beside the file; Hydra forbids os.system by its name, and not this."""
    torch.save(Bite(canary), folder / "beside.pt")
    return {"_target_": "torch.load", "weights_only": False, "f": str(folder / "beside.pt")}


def hub(folder: Path, canary: Path) -> dict[str, Any]:
    """torch.hub runs the hubconf.py of any folder, and takes any further arguments."""
    (folder / "hubconf.py").write_text(f"import os\nos.system({command(canary)!r})\ndef x(**further): pass\n")
    return {"_target_": "torch.hub.load", "repo_or_dir": str(folder), "model": "x", "source": "local"}


# Names that hop through an import of ours.
def hop_through_torch_load(folder: Path, canary: Path) -> Path:
    """A pickle carried in the YAML, read by a name that begins with ``anon.``."""
    payload = pickle.dumps(Bite(canary))
    model = {
        "_target_": "anon.weights.files.torch.load",
        "weights_only": False,
        "f": {"_target_": "anon.apps.ifsr.io.BytesIO", "_args_": [payload]},
    }
    return write_checkpoint(folder, {"model": model})


def hop_to_a_file_beside(folder: Path, canary: Path) -> Path:
    """The same with a pickle on disk."""
    torch.save(Bite(canary), folder / "beside.pt")
    model = {"_target_": "anon.weights.files.torch.load", "weights_only": False, "f": str(folder / "beside.pt")}
    return write_checkpoint(folder, {"model": model})


def hop_to_os_system(folder: Path, canary: Path) -> Path:
    return write_checkpoint(
        folder, {"model": {"_target_": "anon.apps.run_folders.folder.os.system", "_args_": [command(canary)]}}
    )


def hop_to_subprocess(folder: Path, canary: Path) -> Path:
    run = {"_target_": "anon.apps.run_folders.folder.subprocess.run", "args": ["touch", str(canary)]}
    return write_checkpoint(folder, {"model": {"_target_": "torch.nn.Sequential", "_args_": [run]}})


def hop_through_torch_nn(folder: Path, canary: Path) -> Path:
    model = {**hub(folder, canary), "_target_": "torch.nn.functional.torch.hub.load"}
    return write_checkpoint(folder, {"model": model})


def hop_partial(folder: Path, canary: Path) -> Path:
    """A partial that our own class calls."""
    head = {"_target_": "anon.apps.run_folders.folder.os.system", "_partial_": True, "_args_": [command(canary)]}
    backbone = {"_target_": "anon.identity.networks.compact.CompactNet", "dim": 8}
    model = {"_target_": "anon.training.recognizer.RecognizerTraining", "backbone": backbone, "head": head}
    return write_checkpoint(folder, {"model": model}, {"head.weight": torch.zeros(2, 8)})


def hop_in_a_recognizer(folder: Path, canary: Path) -> Path:
    return hop_to_subprocess(folder, canary)


def hop_in_an_attack(folder: Path, canary: Path) -> Path:
    return hop_to_a_file_beside(folder, canary)


def hop_in_a_victim(folder: Path, canary: Path) -> Path:
    return hop_through_torch_load(folder, canary)


# Interpolations, which say something else once they are resolved.
def interpolated_part(folder: Path, canary: Path) -> Path:
    model = {"_target_": "torch.nn.Sequential", "_args_": ["${evil}"]}
    return write_checkpoint(folder, {"evil": unpickled(folder, canary), "model": model})


def interpolated_name(folder: Path, canary: Path) -> Path:
    model = {"_target_": "anon.${hop}", "_args_": [command(canary)]}
    return write_checkpoint(folder, {"hop": "apps.run_folders.folder.os.system", "model": model})


def decoded_part(folder: Path, canary: Path) -> Path:
    """Text that a resolver of OmegaConf makes a mapping of."""
    text = f"{{_target_: os.system, _args_: [{command(canary)}]}}"
    model = {"_target_": "torch.nn.Sequential", "_args_": ["${oc.decode:${text}}"]}
    return write_checkpoint(folder, {"text": text, "model": model})


def environment_in_a_name(folder: Path, canary: Path) -> Path:
    """A secret of the environment in the name of a file that is looked for."""
    encoder = {
        "_target_": "anon.identity.encoder.Encoder",
        "backbone": {"_target_": "anon.identity.networks.iresnet.iresnet_small"},
        **{"size": 64, "weights": "/net/evil/${oc.env:HOME}"},
    }
    return write_checkpoint(folder, {"model": encoder})


# Parts of the configuration that only some programs build.
def swapper(folder: Path, data: Any, **further: Any) -> Path:
    """A small swapper that loads, with these data in its configuration."""
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    from anon.apps.config import config_dir

    small = ("generator.widths=[4,8,8,8]", "generator.bottleneck=1", "discriminator.base=4")
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("train", ["experiment=fiva", *small])
    config.run.dir = "."
    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    config.model.encoder.weights = "random"
    state = instantiate(config.model).state_dict()
    return write_checkpoint(folder, {**content, "data": data, **further}, state)


def data_in_ifsr(folder: Path, canary: Path) -> Path:
    return swapper(folder, {**hub(folder, canary), "name": "synthetic"})


def data_of_the_users(folder: Path, canary: Path) -> Path:
    """A checkpoint chose which folders are read: /proc had no end."""
    data = {"_target_": "anon.faces.datamodule.folder_data", "root": "/proc", "size": 32, "batch_size": 4, "seed": 0}
    rest = {"workers": 0, "points": None, "min_images": 1, "cache": None, "name": "folder"}
    return swapper(folder, {**data, **rest})


def data_in_ship(folder: Path, canary: Path) -> Path:
    people = {"train": 8, "evaluation": 8}
    facts = {"identities": people, "images": 1, "size": 32, "render_seed": 0, "name": "synthetic"}
    return swapper(folder, {**hub(folder, canary), **facts})


def experiment_of_the_files_own(folder: Path, canary: Path) -> Path:
    """What is measured for the model card composes the run's experiment again, which may name a YAML anywhere."""
    evil = OmegaConf.to_yaml({"data": hub(folder, canary)})
    (folder / "evil.yaml").write_text(f"# @package _global_\n{evil}")
    up = "../" * 30
    facts = {"identities": {"train": 8, "evaluation": 8}, "images": 1, "size": 32, "render_seed": 0}
    rest = {"clips": 0, "clip_frames": 1, "batch_size": 4, "name": "synthetic"}
    data = {"_target_": "anon.faces.datamodule.synthetic_data", **facts, **rest}
    return swapper(folder, data, experiment=f"{up}{str(folder)[1:]}/evil")


def data_without_end(folder: Path, canary: Path) -> Path:
    """A billion people to render, into a folder that the file names."""
    facts = {"size": 64, "images": 12, "clips": 0, "clip_frames": 1, "batch_size": 4, "name": "synthetic"}
    target = "anon.faces.datamodule.synthetic_data"
    return swapper(folder, {"_target_": target, "identities": 10**9, "cache": str(canary), **facts})


def data_of_another_kind(folder: Path, canary: Path) -> Path:
    return swapper(folder, {"_target_": "anon.training.adversarial.ema.EMA", "name": "synthetic"})


# Names that are on no list.
def foreign_module(folder: Path, canary: Path) -> Path:
    """A module beside the file: looking its name up would import it."""
    (folder / "evilmodule.py").write_text(f"import os\nos.system({command(canary)!r})\nclass Model: pass\n")
    return write_checkpoint(folder, {"model": {"_target_": "evilmodule.Model"}})


def builtin(folder: Path, canary: Path) -> Path:
    return write_checkpoint(
        folder,
        {"model": {"_target_": "builtins.exec", "_args_": [f"import os; os.system({command(canary)!r})"]}},
    )


def instantiate_again(folder: Path, canary: Path) -> Path:
    inner = {"_target_": "hydra.utils.get_method", "path": "os.system"}
    return write_checkpoint(folder, {"model": {"_target_": "torch.nn.Sequential", "_args_": [inner]}})


def our_own_command(folder: Path, canary: Path) -> Path:
    """A part of this project, but none of a model: it would read the file that it names in turn."""
    inner = hop_to_os_system(folder, canary).rename(folder / "inner.ckpt")
    model = {"_target_": "anon.apps.checkpoints.restore_generator", "checkpoint": str(inner)}
    return write_checkpoint(folder, {"model": model})


def name_that_is_a_list(folder: Path, canary: Path) -> Path:
    return write_checkpoint(folder, {"model": {"_target_": ["os", "system"], "_args_": [command(canary)]}})


def escapes_for_the_terminal(folder: Path, canary: Path) -> Path:
    text = 'model:\n  _target_: "os\\x1b]0;mine\\x07\\x1b[2J' + "x" * 90_000 + '"\n'
    return write_checkpoint(folder, text)


# Text that is more than it seems.
def python_tag(folder: Path, canary: Path) -> Path:
    return write_checkpoint(folder, f"model: !!python/object/apply:os.system ['{command(canary)}']\n")


def aliases_without_end(folder: Path, canary: Path) -> Path:
    """Nine levels of nine aliases: 2 kB that mean 4 GB."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 10):
        lines.append(f"a{level}: &a{level} [" + ", ".join([f"*a{level - 1}"] * 9) + "]")
    return write_checkpoint(folder, "\n".join(lines) + "\nmodel: {_target_: anon.x, y: *a9}\n")


def merges_without_end(folder: Path, canary: Path) -> Path:
    lines = ["m0: &m0 {a: 1, b: 2}"]
    for level in range(1, 24):
        lines.append(f"m{level}: &m{level} {{<<: [" + ", ".join([f"*m{level - 1}"] * 4) + "]}")
    return write_checkpoint(folder, "\n".join(lines) + "\n")


def levels_without_end(folder: Path, canary: Path) -> Path:
    return write_checkpoint(folder, "model: " + "[" * 100_000)


def text_without_end(folder: Path, canary: Path) -> Path:
    return write_checkpoint(folder, "model:\n" + "- x\n" * 5_000_000)


def text_that_is_none(folder: Path, canary: Path) -> Path:
    return write_checkpoint(folder, torch.zeros(3))


# Sizes that no model has.
def model_without_end(folder: Path, canary: Path) -> Path:
    generator = {"_target_": "anon.generators.fiva.FIVA", "widths": [10**5] * 4, "z_dim": 256}
    return write_checkpoint(folder, {"model": generator})


def blocks_without_end(folder: Path, canary: Path) -> Path:
    generator = {"_target_": "anon.generators.fiva.FIVA", "widths": [1] * 4, "bottleneck": 10**9, "z_dim": 1}
    return write_checkpoint(folder, {"model": generator})


def pictures_without_end(folder: Path, canary: Path) -> Path:
    encoder = {
        "_target_": "anon.identity.encoder.Encoder",
        "backbone": {"_target_": "anon.identity.networks.iresnet.iresnet_small"},
        "size": 10**6,
    }
    return write_checkpoint(folder, {"model": encoder})


def arguments_that_do_not_fit(folder: Path, canary: Path) -> Path:
    return write_checkpoint(folder, {"model": {"_target_": "anon.generators.fiva.FIVA", "widths": "wide", "wide": {}}})


# The folder of a run.
def run_folder_of(folder: Path, text: str) -> Path:
    made = folder / "runs" / "train" / "fiva" / "2026-01-01_12-00-00_abc"
    (made / "checkpoints").mkdir(parents=True)
    (made / "config.yaml").write_text(text)
    return folder / "runs"


def run_with_aliases(folder: Path, canary: Path) -> Path:
    text = torch.load(aliases_without_end(folder, canary), weights_only=True)["config"]
    return run_folder_of(folder, text)


def run_that_reads_the_environment(folder: Path, canary: Path) -> Path:
    return run_folder_of(folder, "scale: default\ndata: {name: synthetic, root: '${oc.env:HOME}'}\n")


CASES = {
    case.make.__name__: case
    for case in (
        Case(hop_through_torch_load, "checkpoint", "tag"),
        Case(hop_to_a_file_beside, "checkpoint", "anon.weights.files.torch.load"),
        Case(hop_to_os_system, "checkpoint", "anon.apps.run_folders.folder.os.system"),
        Case(hop_to_subprocess, "checkpoint", "anon.apps.run_folders.folder.subprocess.run"),
        Case(hop_through_torch_nn, "checkpoint", "torch.hub.load"),
        Case(hop_partial, "recognizer", "anon.apps.run_folders.folder.os.system"),
        Case(hop_in_a_recognizer, "recognizer", "anon.apps.run_folders.folder.subprocess.run"),
        Case(hop_in_an_attack, "attack", "anon.weights.files.torch.load"),
        Case(hop_in_a_victim, "victim", "tag"),
        Case(interpolated_part, "checkpoint", "interpolation"),
        Case(interpolated_name, "checkpoint", "interpolation"),
        Case(decoded_part, "checkpoint", "interpolation"),
        Case(environment_in_a_name, "checkpoint", "interpolation"),
        Case(data_in_ifsr, "ifsr", "torch.hub.load"),
        Case(data_of_the_users, "ifsr", "--root"),
        Case(data_in_ship, "ship", "torch.hub.load"),
        Case(experiment_of_the_files_own, "ship", "conf/experiment does not have"),
        Case(data_without_end, "ifsr", "GiB of rendered pictures"),
        Case(data_of_another_kind, "ifsr", "anon.training.adversarial.ema.EMA"),
        Case(foreign_module, "checkpoint", "trust=evilmodule"),
        Case(builtin, "checkpoint", "builtins.exec"),
        Case(instantiate_again, "checkpoint", "hydra.utils.get_method"),
        Case(our_own_command, "checkpoint", "anon.apps.checkpoints.restore_generator"),
        Case(name_that_is_a_list, "checkpoint", "no part of this project"),
        Case(escapes_for_the_terminal, "checkpoint", "no part of this project"),
        Case(python_tag, "checkpoint", "tag"),
        Case(aliases_without_end, "checkpoint", "aliases"),
        Case(merges_without_end, "checkpoint", "aliases"),
        Case(levels_without_end, "checkpoint", "levels"),
        Case(text_without_end, "checkpoint", "characters"),
        Case(text_that_is_none, "checkpoint", "no readable configuration"),
        Case(model_without_end, "checkpoint", "absurd size"),
        Case(blocks_without_end, "checkpoint", "absurd size"),
        Case(pictures_without_end, "checkpoint", "size=1000000"),
        Case(arguments_that_do_not_fit, "checkpoint", "cannot be built"),
        Case(run_with_aliases, "run", "aliases"),
        Case(run_that_reads_the_environment, "run", "interpolation"),
    )
}
