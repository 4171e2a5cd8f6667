"""Figure 3 of FIVA: the reconstruction attack against the share of the pixels that get uniform noise (section 3.5).

    python evaluate.py experiment=noise_share

Anonymized once with the tracker (ITM), published with ``X_c + ε·U(-1, 1)`` on a share of the pixels of each face, in
eight bits. Besides the naive attacker an adaptive one can be given (``protocol.adaptive=<checkpoint>``): one attack
that was trained on pictures with noise and meets all shares. figure.png shows what the attackers find, and SSIM beside
it, with the bootstrap's intervals as bands and the paper's points as crosses.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import matplotlib
from hydra.utils import instantiate
from omegaconf import DictConfig

from anon.defenses.contract import DefenseLike
from anon.defenses.noise import UniformNoise
from anon.errors import UserError
from anon.evaluation import protocol as rules
from anon.evaluation import results as files
from anon.evaluation.defending import adapted, arrange, costs_how, defend, detection, figures, measured_how
from anon.evaluation.figures import Figure, Row, short
from anon.evaluation.provenance import Provenance
from anon.evaluation.published import published
from anon.generators.contract import GeneratorLike
from anon.identity.contract import JudgeLike
from anon.identity.encoder import Encoder

COLUMNS = {
    "ID": "ID ↓",
    "RA": "RA naive ↓",
    "RA_rank1": "rank-1 ↓",
    "RA_adaptive": "RA adaptive ↓",
    "RA_adaptive_rank1": "rank-1 ↓",
    "ssim": "SSIM ↑",
    "detected": "detected ↑",
}
CURVES = {
    "RA": "RA, naive",
    "RA_rank1": "rank-1, naive",
    "RA_adaptive": "RA, adaptive",
    "RA_adaptive_rank1": "rank-1, adaptive",
}


@dataclass(frozen=True)
class NoiseShareProtocol(rules.Protocol):
    """What every protocol chooses, as far as it concerns the judge, and the noise.

    Args:
        shares: of the pixels that get noise, in [0, 1], each once.
        epsilon: of the noise, in units of the [-1, 1] range.
        adaptive: checkpoint of an attack that was trained on noisy pictures.
        probes: pictures of a person that are attacked, at most.
    """

    shares: Sequence[float] = (0.0, 1.0)
    epsilon: float = 0.15
    adaptive: str | None = None
    probes: int = 4


def run(
    model_generator: GeneratorLike,
    encoder: Encoder,
    judge: JudgeLike,
    data: rules.Data,
    cfg: DictConfig,
    output: Path,
    train_config: DictConfig | None = None,
    *,
    name: str = "FIVA",
    commit: str | None = None,
) -> Path:
    """Sweep the share; prints the table, and the paths of the files with results.json last.

    Args:
        model_generator: trained, in eval mode, on the device that is to be used.
        encoder: the conditioning encoder it was trained with.
        judge: another recognizer.
        data: gives the splits train, background and evaluation.
        cfg: ``protocol``, ``policy`` (itm), ``attack``, ``metrics``, ``seed``, ``paths.cache``.
        output: folder for results.json, table.md, table.csv and figure.png.
        train_config: of the training run, kept in the results.
        name: of the method in the rows.
        commit: of the checkout, kept in the results.

    Returns:
        Path of results.json.

    Raises:
        UserError: no shares, one twice or outside [0, 1], no trained attack, one that was trained with the judge, or
            too little data for the FAR.
    """
    rule = cast(NoiseShareProtocol, instantiate(cfg.protocol))
    shares = sorted({float(share) for share in rule.shares})
    if not shares or len(shares) != len(rule.shares):
        raise UserError(f"protocol.shares must hold one share or more, each once, not {list(rule.shares)}.")
    defenses: dict[str, DefenseLike] = {f"{share:g}": UniformNoise(rule.epsilon, share) for share in shares}
    setting = arrange(model_generator, encoder, judge, data, cfg, rule, name, rule.probes)
    noise = UniformNoise(rule.epsilon, shares[-1])
    one = None if rule.adaptive is None else adapted(cfg, rule.adaptive, judge, setting.device, setting, noise)
    provenance = Provenance(rule)
    provenance.check(one, "the adaptive attack", setting.faces.names, setting.faces.synthetic, data.name)
    setting.notes.extend(provenance.notes())
    found = defend(setting, defenses, one)
    rows = [
        setting.row(f"uniform_noise {key}", {"share": Figure(float(key)), **figures(values, setting)})
        for key, values in found.values.items()
    ]
    config = {"evaluation": files.plain(cfg), "training": files.plain(train_config)}
    results = setting.results(rows, detection(found.found_unchanged, setting), config, judge.name, commit)
    table = as_markdown(results, rule.epsilon)
    files.write(output / "table.md", table)
    files.write(output / "table.csv", files.as_csv(results))
    files.write(output / "figure.png", plot(results))
    path = output / "results.json"
    files.write(path, files.as_json(results))
    print(f"\n{table}\ntable {output / 'table.md'}\nfigure {output / 'figure.png'}")
    print(f"run folder {output}\n{path}", flush=True)
    return path


def as_markdown(results: files.Results, epsilon: float) -> str:
    """A row a share, the paper's figure beside it, and how it was measured."""
    paper = published("fiva_figure3")
    printed = {row["share"]: short(row["RA"]) if "RA" in row else "collapsed" for row in paper.rows.values()}
    shown = {key: title for key, title in COLUMNS.items() if results.rows[0].metrics[key].value is not None}
    body = [
        [f"**{_share(row):.0%}**", *(row.metrics[key].text() for key in shown), printed.get(_share(row), "-")]
        for row in results.rows
    ]
    rest = [key for key in results.rows[0].metrics if key not in (*COLUMNS, "share")]
    what = f"{results.rows[0].method} on {results.rows[0].data}"
    lines = [
        *(f"# Uniform noise of ε {epsilon:g} on a share of the pixels, {what}", ""),
        *(f"**{note}**\n" for note in results.notes),
        *files.markdown_table(["share", *shown.values(), "RA, paper"], body),
        *("", f"Paper: {paper.source}; {paper.protocol}.", ""),
        f"{measured_how(results)} Brackets: 95 %, bootstrap over identities.",
        *("", "## Other costs", ""),
        *files.markdown_table(
            ["share", *(f"{key} ↓" for key in rest)],
            [[f"{_share(row):.0%}", *(row.metrics[key].text() for key in rest)] for row in results.rows],
        ),
        *("", costs_how(results)),
    ]
    return "\n".join(lines) + "\n"


def plot(results: files.Results) -> bytes:
    """What the attackers find, and SSIM, against the share; bands are the intervals, crosses the paper's. PNG."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    shares = [100 * _share(row) for row in results.rows]
    sheet, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained", width_ratios=(3, 2))

    def curve(axes: Any, key: str, title: str) -> None:
        found = [row.metrics[key] for row in results.rows]
        values = [figure.value for figure in found]
        if values[0] is None:
            return
        (drawn,) = axes.plot(shares, values, marker=".", label=title)
        low = [figure.value if figure.low is None else figure.low for figure in found]
        high = [figure.value if figure.high is None else figure.high for figure in found]
        axes.fill_between(shares, low, high, color=drawn.get_color(), alpha=0.2, linewidth=0)

    for key, title in CURVES.items():
        curve(left, key, title)
    paper = published("fiva_figure3").rows.values()
    known = [(100 * row["share"], row["RA"]) for row in paper if "RA" in row]
    left.plot(*zip(*known, strict=True), "kx", label="RA, paper (FF++, 256²)")
    for row in paper:
        if "RA" not in row:
            left.axvline(100 * row["share"], color="black", linewidth=0.8, linestyle="--", label="paper: collapsed")
    chance = results.counts["chance"]
    left.axhline(chance, color="gray", linestyle=":", label=f"rank-1 by chance, {chance:.2g}")
    left.set(xlabel="share of the pixels with noise, %", ylabel="retrieved", ylim=(-0.02, 1.02))
    left.legend(fontsize=8)
    curve(right, "ssim", "SSIM to the undefended face")
    curve(right, "detected", "detected")
    right.set(xlabel="share of the pixels with noise, %", ylim=(-0.02, 1.02))
    right.legend(fontsize=8)
    sheet.suptitle(f"{results.rows[0].method} on {results.rows[0].data}, judge {results.judge}", fontsize=10)
    buffer = io.BytesIO()
    sheet.savefig(buffer, format="png", dpi=120)
    pyplot.close(sheet)
    return buffer.getvalue()


def _share(row: Row) -> float:
    return float(cast(float, row.metrics["share"].value))
