"""The swap benchmark: every target gets another person's identity (FIVA, table 4; thesis, tables 5.3 to 5.5).

    python evaluate.py experiment=facedancer protocol=swap

    ID ↑          share of swaps whose nearest enrolled person, by the judge, is the source; no threshold, as published
    pose ↓        L2 in degrees between the readings of the target and of the swap; expression ↓ likewise
    FID ↓         Fréchet distance of the swaps from the targets

A source is one of the other people of the evaluation split, by a seeded circle through all of them, on a picture that
is not enrolled. FID's Inception is not ours to ship: without ``protocol.inception`` the judge's features stand in, and
the figure is called so.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from anon.anonymizers.composed import Anonymizer
from anon.attributes.contract import Estimator
from anon.attributes.distances import distances
from anon.errors import UserError
from anon.evaluation import protocol as rules
from anon.evaluation import results as files
from anon.evaluation.bootstrap import Bootstrap
from anon.evaluation.embeddings import batches, read_batch
from anon.evaluation.figures import Figure, Row, short
from anon.evaluation.grid import write_swaps
from anon.evaluation.measure import JUDGE, Embed
from anon.evaluation.published import published
from anon.evaluation.score import Gallery
from anon.evaluation.table1 import Data, Eyes, embedding_cache, gather, judge_notes, plain
from anon.faces.contract import FaceSet
from anon.generators.contract import GeneratorLike
from anon.identity.contract import JudgeLike
from anon.identity.encoder import Encoder
from anon.identity.policies import SourceIdentity
from anon.metrics.retrieval import retrieval_hits

COLUMNS = {"ID": "ID ↑", "pose": "pose ↓", "expression": "expression ↓", "FID": "FID ↓", "ms": "ms"}
READ = ("pose", "expression", "gaze", "landmarks")


@dataclass(frozen=True)
class SwapProtocol(rules.Protocol):
    """Table 1's choices, as far as they concern the judge, and the swaps.

    Args:
        targets: how many pictures are redrawn, at most.
        timed: passes of one picture whose median time is printed.
        inception: file of torch-fidelity's Inception weights (pt_inception-2015-12-05-6726825d.pth, needs the extra
            ``fid``); None: FID of the judge's features.
    """

    targets: int = 1024
    timed: int = 30
    inception: str | None = None


class _Features(nn.Module):
    """The judge as torchmetrics' FID wants its extractor: images (B, 3, H, W) -> (B, D)."""

    def __init__(self, judge: Embed, dim: int) -> None:
        super().__init__()
        self.embed, self.num_features = judge, dim

    def forward(self, images: Tensor) -> Tensor:
        return self.embed(images)


def run(
    model_generator: GeneratorLike,
    encoder: Encoder,
    judge: JudgeLike,
    data: Data,
    cfg: DictConfig,
    output: Path,
    train_config: DictConfig | None = None,
    *,
    name: str = "FIVA",
    commit: str | None = None,
) -> Path:
    """Evaluate a generator as a swapper; the arguments, the files and the last line are those of :func:`table1.run`.

    Returns:
        Path of results.json.

    Raises:
        UserError: fewer than two people to swap, judge and encoder are one network, or too little data for the FAR.
    """
    rule = cast(SwapProtocol, instantiate(cfg.protocol))
    notes = judge_notes(encoder, judge, rule)
    device = gather(model_generator, encoder, judge)
    seen = Eyes(encoder, judge, rule, device, embedding_cache(cfg))
    calibrated = seen.calibrate(JUDGE, data.faces("background"))
    faces = data.faces("evaluation")
    half = rules.halves(faces)
    targets, sources = pairs(faces, half.probe, rule.targets, int(cfg.seed))
    gallery = seen.gallery(JUDGE, faces, half.enrol, calibrated.threshold)
    estimator = None if OmegaConf.select(cfg, "metrics.attributes") is None else instantiate(cfg.metrics.attributes)
    if isinstance(estimator, nn.Module):
        estimator.to(device).eval()

    swapper = Anonymizer(encoder, SourceIdentity(), model_generator)
    found, fid = swap(swapper, judge, faces, targets, sources, estimator, rule, device)
    bootstrap = Bootstrap(faces.labels[targets], rule.resamples, int(cfg.seed))
    owners = (faces.labels[targets], faces.labels[sources])
    rows = [
        Row("Real", data.name, "evaluation", metrics=_who(found["z target"], owners, gallery, bootstrap)),
        Row(
            name,
            data.name,
            "evaluation",
            "source",
            metrics=_who(found["z swap"], owners, gallery, bootstrap)
            | {"ID_opposite": _hits(found["z opposite"], owners[1], gallery, bootstrap)}
            | _kept(found, owners[0], bootstrap, estimator)
            | {"FID" if rule.inception else f"FID_{judge.name}": Figure(fid, n=len(targets))}
            | cost(model_generator, read_batch(faces, targets[:1].tolist())["image"].to(device), encoder, rule.timed),
        ),
    ]
    people = len(gallery.people)
    counts: dict[str, int | float] = {
        "targets": len(targets),
        "identities": len(owners[0].unique()),
        "gallery": people,
        "chance": 1 / people,
        "background_pairs": calibrated.impostor_pairs,
        "far_background": calibrated.far,
    }
    config = {"evaluation": plain(cfg), "training": plain(train_config), "encoder": encoder.name}
    results = files.Results(
        int(cfg.seed), rows, judge.name, calibrated.threshold, rule.far, counts, config, commit, notes
    )
    grid = output / "grid.png"
    if rule.grid_faces > 0 and (faces.synthetic or bool(cfg.logger.images)):
        spread = torch.linspace(0, len(targets) - 1, min(rule.grid_faces, len(targets))).long()
        shown = [read_batch(faces, part[spread].tolist())["image"].to(device) for part in (targets, sources)]
        write_swaps(grid, swapper, shown[0], shown[1], seen.embed[JUDGE])
    return _publish(results, output, grid)


def pairs(faces: FaceSet, probe: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of ``count`` targets at most, and of a source for each, another person's probe picture.

    Raises:
        UserError: fewer than two people with probe pictures.
    """
    rng = torch.Generator().manual_seed(seed)
    targets = probe[torch.randperm(len(probe), generator=rng)[:count]].sort().values
    people = faces.labels[probe].unique()
    if len(people) < 2:
        raise UserError("A swap needs two people with pictures that are not enrolled in the evaluation split.")
    circle = people[torch.randperm(len(people), generator=rng)]
    donor = dict(zip(circle.tolist(), circle.roll(1).tolist(), strict=True))
    own: defaultdict[int, list[int]] = defaultdict(list)
    for index, label in zip(probe.tolist(), faces.labels[probe].tolist(), strict=True):
        own[label].append(index)
    turn: defaultdict[int, int] = defaultdict(int)
    sources = []
    for label in faces.labels[targets].tolist():
        pictures = own[donor[label]]
        sources.append(pictures[turn[label] % len(pictures)])
        turn[label] += 1
    return targets, torch.tensor(sources)


@torch.no_grad()
def swap(
    swapper: Anonymizer,
    judge: JudgeLike,
    faces: FaceSet,
    targets: Tensor,
    sources: Tensor,
    estimator: Estimator | None,
    rule: SwapProtocol,
    device: torch.device,
) -> tuple[dict[str, Tensor], float]:
    """What the judge and the estimator make of all swaps, per target, and FID."""
    keep: defaultdict[str, list[Tensor]] = defaultdict(list)
    fid = FrechetInceptionDistance(_extractor(judge, rule), normalize=rule.inception is not None).to(device)
    fid.set_dtype(torch.float64)
    done = 0
    for batch in batches(faces, targets, rule.batch_size, "swapping faces"):
        target = batch["image"].to(device)
        part = sources[done : done + len(target)]
        done += len(target)
        source = read_batch(faces, part.tolist())["image"].to(device)
        z = swapper.encoder(source).z
        changed = swapper.draw(target, z).blend(target).clamp(-1, 1)
        opposite = swapper.draw(target, -z).blend(target).clamp(-1, 1)
        for name, images in (("target", target), ("source", source), ("swap", changed), ("opposite", opposite)):
            keep[f"z {name}"].append(judge.embed(images).float().cpu())
        if estimator is not None:
            for name, apart in distances(estimator(changed), estimator(target)).items():
                keep[name].append(apart.float().cpu())
        for images, real in ((target, True), (changed, False)):
            fid.update((images + 1) / 2 if rule.inception else images, real=real)
    return {name: torch.cat(parts) for name, parts in keep.items()}, float(fid.compute())


def _extractor(judge: JudgeLike, rule: SwapProtocol) -> nn.Module:
    if rule.inception is None:
        return _Features(judge.embed, judge.embed(torch.zeros(1, 3, 112, 112)).shape[1])
    from torchmetrics.image.fid import NoTrainInceptionV3

    if not Path(rule.inception).expanduser().is_file():
        raise UserError(f"protocol.inception='{rule.inception}' is no file; get torch-fidelity's Inception weights.")
    try:
        return NoTrainInceptionV3("inception-v3-compat", ["2048"], str(Path(rule.inception).expanduser()))
    except ModuleNotFoundError as error:
        raise UserError("protocol.inception needs torch-fidelity: pip install 'anon-faces[fid]'.") from error


def _who(z: Tensor, owners: tuple[Tensor, Tensor], gallery: Gallery, bootstrap: Bootstrap) -> dict[str, Figure]:
    """Whose face it is: of the source, of the target, and below the judge's threshold."""
    target, source = owners
    return {
        "ID": _hits(z, source, gallery, bootstrap, target),
        "ID_threshold": bootstrap.mean(
            retrieval_hits(z, source, gallery.averages, gallery.people, gallery.threshold).double(), target, share=True
        ),
        "ID_target": _hits(z, target, gallery, bootstrap),
    }


def _hits(z: Tensor, wanted: Tensor, gallery: Gallery, bootstrap: Bootstrap, labels: Tensor | None = None) -> Figure:
    hits = retrieval_hits(z, wanted, gallery.averages, gallery.people)
    return bootstrap.mean(hits.double(), wanted if labels is None else labels, share=True)


def _kept(
    found: dict[str, Tensor], labels: Tensor, bootstrap: Bootstrap, estimator: Estimator | None
) -> dict[str, Figure]:
    """Attributes, and the judge's cosine to the source and to the target."""
    figures = {
        f"cosine_{who}": bootstrap.mean((found["z swap"] * found[f"z {who}"]).sum(1), labels)
        for who in ("source", "target")
    }
    for name in READ:
        if name in found:
            figures[name] = bootstrap.mean(found[name], labels)
        else:
            figures[name] = Figure.absent("needs metrics.attributes" if estimator is None else "n/a")
    return figures


@torch.no_grad()
def cost(generator: GeneratorLike, target: Tensor, encoder: Encoder, repeats: int) -> dict[str, Figure]:
    """Median milliseconds of the generator on one picture, and its peak memory on a GPU in MiB."""
    z = encoder(target).z
    gpu = target.device.type == "cuda"
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(repeats + 3):
        began = time.perf_counter()
        generator(target, generator.steers * z)
        if gpu:
            torch.cuda.synchronize()
        times.append((time.perf_counter() - began) * 1000)
    times = sorted(times[3:])
    low, high = times[len(times) // 4], times[-1 - len(times) // 4]  # quartiles
    memory = Figure(torch.cuda.max_memory_allocated() / 2**20, n=1) if gpu else Figure.absent("n/a (no GPU)")
    return {"ms": Figure(statistics.median(times), low, high, n=repeats), "peak_MiB": memory}


def as_markdown(results: files.Results) -> str:
    """Our rows, the paper's below them, then everything else that was measured, and how."""
    counts, paper = results.counts, published("fiva_table4")
    shown = {name: title for name, title in COLUMNS.items() if any(name in row.metrics for row in results.rows)}
    body = [
        [f"**{row.method}**", *(row.metrics[name].text() if name in row.metrics else "-" for name in shown)]
        for row in results.rows
    ]
    for method, printed in paper.rows.items():
        body.append([f"*paper: {method}*", *(short(printed[name]) if name in printed else "-" for name in shown)])
    names = dict.fromkeys(name for row in results.rows for name in row.metrics if name not in shown)
    rest = [
        [name, *(row.metrics[name].text() if name in row.metrics else "" for row in results.rows)] for name in names
    ]
    lines = [
        *(f"# Swaps on {results.rows[0].data}", ""),
        *(f"**{note}**\n" for note in results.notes),
        *files.markdown_table(["", *shown.values()], body),
        *("", f"Paper: {paper.source}; {paper.protocol}.", ""),
        f"Judge {results.judge}: {counts['targets']:,} targets of {counts['identities']:,} people, each with another's "
        f"identity; a gallery of {counts['gallery']:,} people, chance {counts['chance']:.2g}. ID_threshold: also below "
        f"cosine distance {short(results.threshold)} (FAR {results.far:g}). ID_opposite: with the condition's sign "
        "turned. Brackets: 95 %, bootstrap over the targets' people; of ms the quartiles.",
        *("", *files.markdown_table(["", *(row.method for row in results.rows)], rest)),
    ]
    return "\n".join(lines) + "\n"


def _publish(found: files.Results, output: Path, grid: Path) -> Path:
    """Write everything, results.json last, print the table and the paths."""
    table = as_markdown(found)
    files.write(output / "table.md", table)
    files.write(output / "table.csv", files.as_csv(found))
    path = output / "results.json"
    files.write(path, files.as_json(found))
    print(f"\n{table}\ntable {output / 'table.md'}")
    print(f"grid {grid}" if grid.is_file() else "grid not written: these faces belong to somebody")
    print(f"run folder {output}\n{path}", flush=True)
    return path
