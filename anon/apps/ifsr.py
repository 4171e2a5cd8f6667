"""Measure the margins of IFSR on a trained swapper: distances and error rates of every block (thesis, figure 5.8).

    python -m anon.apps.ifsr <run folder or checkpoint> [--split background] [--pairs 512] [--out <folder>]
    python -m anon.apps.ifsr <run folder or checkpoint> --root <folder of photographs> [--points <csv>]
    python -m anon.apps.ifsr <run folder or checkpoint> --rendered

The last measures swaps that the renderer draws, with the source's identity and all else of the target's: what a
perfect swapper of synthetic faces would have. Margins below those ask a swapper to keep some of the target's identity.

Writes ``ifsr.json`` (per block the mean distances, the three equal error rates and the margin), ``ifsr.md`` and
``ifsr.png``; the margins go into a training with

    python train.py experiment=facedancer encoder.layers=[...] objective.terms.ifsr.loss.margins=[...]
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import torch
from torch import Tensor, nn

from anon.apps.checkpoints import restore_module
from anon.apps.launch.failures import guarded
from anon.apps.run_folders.folder import LAST
from anon.apps.run_folders.past import data_key
from anon.apps.untrusted import faces_of, rendered_of, trusting
from anon.attributes.expression_figures import synthetic_swaps
from anon.commands import Parser, in_utf8, path, whole
from anon.errors import UserError
from anon.evaluation.embeddings import batches
from anon.evaluation.results import write
from anon.faces.contract import FaceSet
from anon.faces.splits import SPLITS
from anon.faces.synthetic.dataset import people_of
from anon.identity.encoder import Encoder
from anon.metrics.layers import Layer, LayerDistances
from anon.progress import track
from anon.training.target_oriented import TargetOriented


def blocks(encoder: Encoder, images: Tensor) -> list[str]:
    """The encoder's blocks: numbered submodules that have parts of their own and give a map, in the order they run."""
    found: list[str] = []

    def note(name: str) -> object:
        def hook(module: nn.Module, args: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and name not in found:
                found.append(name)

        return hook

    handles = [
        module.register_forward_hook(note(name))  # type: ignore[arg-type]
        for name, module in encoder.backbone.named_modules()
        if name.rpartition(".")[2].isdigit() and next(module.children(), None) is not None
    ]
    try:
        with torch.no_grad():
            encoder(images)
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise UserError(f"The encoder '{encoder.name}' has no numbered blocks; name its maps with --layers.")
    # A block inside a block would be counted twice.
    return [name for name in found if not any(name.startswith(f"{other}.") for other in found)]


@torch.no_grad()
def measure(
    module: TargetOriented, faces: FaceSet, layers: list[str] | None = None, pairs: int = 512, batch_size: int = 32
) -> dict[str, Layer]:
    """Swap neighbours in a batch of shuffled faces, and compare every map.

    Raises:
        UserError: fewer than two people.
    """
    if len(faces.names) < 2:
        raise UserError("Pairs of different people need a split with two people or more.")
    order = torch.randperm(len(faces), generator=torch.Generator().manual_seed(0))[:pairs]
    device = next(module.parameters()).device
    metric: LayerDistances | None = None
    for batch in batches(faces, order, batch_size, "swapping faces"):
        target, people = batch["image"].to(device), batch["identity"]
        layers = layers or blocks(module.encoder, target)
        metric = metric or LayerDistances(len(layers)).to(device)
        other = (people.roll(1) != people).to(device)
        z, maps = module.encoder(target, layers)
        changed = module(target, module.steers * z.roll(1, 0)).blend(target).clamp(-1, 1)
        seen = module.encoder(changed, layers).maps
        metric.update(*([part[other] for part in group] for group in (maps, seen, [part.roll(1, 0) for part in maps])))
    return _named(layers, metric)


@torch.no_grad()
def measure_rendered(
    encoder: Encoder, numbers: list[int], size: int, seed: int, layers: list[str] | None = None, pairs: int = 512
) -> dict[str, Layer]:
    """Of synthetic people, each redrawn by the renderer as the next of the list (:func:`synthetic_swaps`).

    Raises:
        UserError: fewer than two people.
    """
    if len(numbers) < 2:
        raise UserError("Pairs of different people need a split with two people or more.")
    metric: LayerDistances | None = None
    stills = range(-(-pairs // len(numbers)))
    for still in track(stills, "rendering swaps", len(stills)):
        swaps = synthetic_swaps(numbers, size, seed, still)
        target, changed, source = (swaps[role]["image"] for role in ("target", "changed", "source"))
        layers = layers or blocks(encoder, target[:1])
        metric = metric or LayerDistances(len(layers))
        metric.update(*(encoder(images, layers).maps for images in (target, changed, source)))
    return _named(layers, metric)


def _named(layers: list[str] | None, metric: LayerDistances | None) -> dict[str, Layer]:
    assert metric is not None and layers is not None  # there was a batch
    return dict(zip(layers, metric.compute(), strict=True))


def report(figures: dict[str, Layer], what: str) -> str:
    """A Markdown table and the two overrides that use it."""
    lines = [f"# IFSR margins, {what}", ""]
    lines += ["| block | c2t (margin) | c2s | negative | EER c2t | EER c2s | EER c2t/c2s |", "|---" * 7 + "|"]
    lines += [f"| {name} | {' | '.join(f'{value:.3f}' for value in layer)} |" for name, layer in figures.items()]
    names, margins = ",".join(figures), ",".join(f"{layer.c2t:.6f}" for layer in figures.values())
    lines += ["", f"`encoder.layers=[{names}] objective.terms.ifsr.loss.margins=[{margins}]`", ""]
    lines.append("Leave out the blocks from which on EER c2s falls below EER c2t: they hold the identity.")
    return "\n".join(lines) + "\n"


def plot(figures: dict[str, Layer]) -> bytes:
    """Mean distances and equal error rates over the blocks, PNG."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for name in ("c2t", "c2s", "negative"):
        left.plot([getattr(layer, name) for layer in figures.values()], marker=".", label=name)
    for name, label in (("eer_c2t", "c2t / negative"), ("eer_c2s", "c2s / negative"), ("eer", "c2t / c2s")):
        right.plot([getattr(layer, name) for layer in figures.values()], marker=".", label=label)
    for axes, title in ((left, "mean cosine distance"), (right, "equal error rate")):
        axes.set_xticks(range(len(figures)), list(figures), rotation=90)
        axes.set_ylabel(title)
        axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    pyplot.close(figure)
    return buffer.getvalue()


def main(
    run: Path,
    split: str,
    pairs: int,
    layers: list[str] | None,
    out: Path | None,
    rendered: bool = False,
    trust: Sequence[str] = (),
    root: str | None = None,
    points: str | None = None,
) -> None:
    """Measure, print the table, write the three files beside the checkpoint's run or to ``out``."""
    checkpoint = run / LAST if run.is_dir() else run
    with trusting(trust):
        module, config = restore_module(checkpoint)
        if not isinstance(module, TargetOriented):
            raise UserError(f"{checkpoint} is of experiment={config.get('experiment')}, which trains no generator.")
        if rendered:
            known = rendered_of(config, checkpoint, split)
            numbers = people_of(split, known.people, known.first)
            figures = measure_rendered(module.encoder, numbers, known.size, known.seed, layers, pairs)
        else:
            faces = faces_of(config, checkpoint, split, {"root": root, "points": points})
            module.to("cuda" if torch.cuda.is_available() else "cpu")
            figures = measure(module, faces, layers, pairs)
    folder = out or (run if run.is_dir() else run.parent)
    swapper = "rendered swaps" if rendered else config.get("experiment")
    text = report(figures, f"{swapper}, {module.encoder.name}, {split} people of {data_key(config)[0]}")
    write(folder / "ifsr.md", text)
    folder.joinpath("ifsr.png").write_bytes(plot(figures))
    content = {"layers": {name: layer._asdict() for name, layer in figures.items()}, "split": split}
    write(folder / "ifsr.json", json.dumps(content, indent=2) + "\n")
    print(text)
    print(folder / "ifsr.json")


def command(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = Parser(prog="python -m anon.apps.ifsr", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=path, help="run folder or checkpoint of a trained swapper")
    parser.add_argument("--split", choices=[name for name in SPLITS if name != "evaluation"], default="background")
    parser.add_argument("--pairs", type=whole(2, 1_000_000), default=512)
    parser.add_argument("--layers", nargs="+", help="maps to measure; default: the encoder's blocks")
    parser.add_argument("--rendered", action="store_true", help="of swaps that the renderer draws (synthetic data)")
    parser.add_argument("--out", type=path, help="folder for the files; default: the run folder")
    parser.add_argument("--root", help="folder of the faces, where the checkpoint was trained on photographs")
    parser.add_argument("--points", help="CSV of their points, where it had one")
    parser.add_argument("--trust", nargs="+", default=[], help="packages whose parts the checkpoint may build")
    return guarded(lambda: main(**vars(parser.parse_args(arguments))))


if __name__ == "__main__":
    in_utf8()
    sys.exit(command())
