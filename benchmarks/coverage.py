"""How often an interval holds the true share, and how wide it is: ``python benchmarks/coverage.py [--quick]``.

Hits of a person's probes are beta-binomial: the person's own rate is drawn from a beta distribution around the true
share, so that two probes of one person agree with a correlation of .05 (nearly independent), .3 or .8 (who is found
once is mostly found again). Each candidate gets the same draws. Beside the cells the report has: what is printed where
0, 1, 2, ... of 128 people are found once each; paired differences of two methods on the same people; smaller cohorts;
means of numbers that are no shares.

    percentile        bootstrap over people, 2.5 and 97.5 %, with Clopper and Pearson's bound at 0 and 1
    Korn-Graubard     Clopper-Pearson with the effective sample size of the clustered variance and its t-correction
    shrunk clustering the same with a correlation of probes that is shrunk to 1 by half a person
    people            Clopper-Pearson of the people who are found at all (above) and always (below)
    Gaffke            Bayesian bootstrap with an unseen person of 1 above and 0 below
    unseen (used)     the same, the unseen person shrunk to the most that anybody has: anon.evaluation.intervals.shares
    unseen, mean      the same, shrunk to the mean of those who are found
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import description, written
from scipy import special, stats

from anon.evaluation.intervals.bootstrap import Bootstrap
from anon.evaluation.intervals.shares import difference_ends, share_ends

PROBES, PEOPLE = 16, 128
RATES, CORRELATIONS = (0.003, 0.01, 0.05, 0.5), (0.05, 0.3, 0.8)
LEAST = 0.93  # coverage of a valid interval
Ends = tuple[np.ndarray, np.ndarray]
Candidate = Callable[[np.ndarray], Ends]  # (R, I) shares of people -> low and high (R,)


def drawn(rate: float, correlation: float, people: int, repetitions: int, rng: np.random.Generator) -> np.ndarray:
    """(R, I) shares of the people's probes that are hit."""
    size = 1 / correlation - 1
    own = rng.beta(rate * size, (1 - rate) * size, (repetitions, people))
    return rng.binomial(PROBES, own) / PROBES


def percentile(x: np.ndarray) -> Ends:
    people = x.shape[1]
    weights = Bootstrap(torch.arange(people)).weights.numpy() / people
    low, high = np.quantile(x @ weights.T, [0.025, 0.975], axis=1)
    bound, share = 0.025 ** (1 / people), x.mean(1)
    return np.where(share == 1, bound, low), np.where(share == 0, 1 - bound, high)


def _exact(share: np.ndarray, trials: np.ndarray) -> Ends:
    hits = share * trials
    low = stats.beta.ppf(0.025, np.maximum(hits, 1e-12), trials - hits + 1)
    high = stats.beta.ppf(0.975, hits + 1, np.maximum(trials - hits, 1e-12))
    return np.where(hits > 0, low, 0.0), np.where(hits < trials, high, 1.0)


def _correction(x: np.ndarray) -> float:
    return float((stats.t.ppf(0.975, x.size / len(x) * PROBES - 1) / stats.t.ppf(0.975, x.shape[1] - 1)) ** 2)


def korn_graubard(x: np.ndarray) -> Ends:
    share, variance = x.mean(1), x.var(1, ddof=1) / x.shape[1]
    trials = np.where(variance > 0, share * (1 - share) / np.maximum(variance, 1e-30), x.shape[1])
    return _exact(share, np.minimum(trials * _correction(x), x.shape[1] * PROBES))


def shrunk_clustering(x: np.ndarray) -> Ends:
    between, within = x.var(1, ddof=1) * PROBES, (x * (1 - x)).mean(1) * PROBES / (PROBES - 1)
    correlation = ((between - within) / np.maximum(between + (PROBES - 1) * within, 1e-30)).clip(0, 1)
    found = np.minimum((x > 0).sum(1), (x < 1).sum(1))
    correlation = (found * correlation + 0.5) / (found + 0.5)
    return _exact(x.mean(1), x.shape[1] * PROBES / (1 + (PROBES - 1) * correlation) * _correction(x))


def of_people(x: np.ndarray) -> Ends:
    trials = np.full(len(x), x.shape[1], float)
    return _exact((x >= 1).mean(1), trials)[0], _exact((x > 0).mean(1), trials)[1]


def with_unseen(unseen: Callable[[np.ndarray], np.ndarray]) -> Candidate:
    """The Bayesian bootstrap with a beta distribution of its mean and variance in the place of its own."""

    def upper(x: np.ndarray) -> np.ndarray:
        v, count = unseen(x), x.shape[1] + 1
        mean = (x.sum(1) + v) / count
        variance = (((x**2).sum(1) + v**2) / count - mean**2) / (count + 1)
        trials = np.maximum(mean * (1 - mean) / np.maximum(variance, 1e-30) - 1, 1e-9)
        high = special.betaincinv(np.maximum(mean * trials, 1e-12), np.maximum((1 - mean) * trials, 1e-12), 0.975)
        return np.where(x.min(1) == 1, 1.0, high)

    return lambda x: (1 - upper(1 - x), upper(x))


def towards_mean(x: np.ndarray) -> np.ndarray:
    return (1 + x.sum(1)) / (1 + (x > 0).sum(1))


def used(x: np.ndarray) -> Ends:
    ends = [share_ends(torch.from_numpy(row)) for row in x]
    return np.array([low for low, _ in ends]), np.array([high for _, high in ends])


CANDIDATES: dict[str, Candidate] = {
    "percentile": percentile,
    "Korn-Graubard": korn_graubard,
    "shrunk clustering": shrunk_clustering,
    "people": of_people,
    "Gaffke": with_unseen(lambda x: np.ones(len(x))),
    "unseen (used)": used,
    "unseen, mean": with_unseen(towards_mean),
}
USED = "unseen (used)"


def measured(people: int, repetitions: int, candidates: dict[str, Candidate]) -> dict[str, list[tuple[float, float]]]:
    """Coverage and mean width of each candidate in each cell: rates within correlations."""
    rng = np.random.default_rng(people)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for correlation in CORRELATIONS:
        for rate in RATES:
            x = drawn(rate, correlation, people, repetitions, rng)
            for name, candidate in candidates.items():
                low, high = candidate(x)
                found[name].append((float(((low <= rate) & (rate <= high)).mean()), float((high - low).mean())))
    return found


def valid(cells: list[tuple[float, float]]) -> bool:
    """Whether an interval holds in every cell."""
    return min(coverage for coverage, _ in cells) >= LEAST


def widest(found: dict[str, list[tuple[float, float]]], name: str = USED) -> tuple[float, float]:
    """Mean width over that of the narrowest candidate that is valid everywhere: the most of a cell, and the mean."""
    others = [cells for cells in found.values() if valid(cells)]
    ratios = [own / min(cells[at][1] for cells in others) for at, (_, own) in enumerate(found[name])]
    return max(ratios), sum(ratios) / len(ratios)


def differences(repetitions: int) -> list[str]:
    """Coverage of the paired difference of two methods with these rates on the same people."""
    rng = np.random.default_rng(1)
    weights = Bootstrap(torch.arange(PEOPLE)).weights.numpy() / PEOPLE
    lines = ["| correlation | rates | percentile | people's differences (used) |", "|---|---|---|---|"]
    for correlation in CORRELATIONS:
        for pair in ((0.003, 0.003), (0.01, 0.01), (0.003, 0.01), (0.05, 0.01), (0.5, 0.5)):
            one, other = (drawn(rate, correlation, PEOPLE, repetitions, rng) for rate in pair)
            apart, true = one - other, pair[0] - pair[1]
            old = np.quantile(apart @ weights.T, [0.025, 0.975], axis=1).T
            new = np.array([difference_ends(torch.from_numpy(row)) for row in apart])
            cells = []
            for ends in (old, new):
                inside = ((ends[:, 0] <= true + 1e-12) & (true - 1e-12 <= ends[:, 1])).mean()
                cells.append(f"{inside:.3f}, {(ends[:, 1] - ends[:, 0]).mean():.4f}")
            lines.append(f"| {correlation:g} | {pair[0]:g}, {pair[1]:g} | {cells[0]} | {cells[1]} |")
    return lines


def means(repetitions: int) -> list[str]:
    """Coverage for means of normal and of log-normal numbers of people: percentiles as they are, and moved out."""
    rng = np.random.default_rng(2)
    lines = ["| people | normal | normal (used) | log-normal | log-normal (used) |", "|---|---|---|---|---|"]
    for people in (8, 16, 32, PEOPLE):
        weights = Bootstrap(torch.arange(people)).weights.numpy() / people
        cells = []
        for values, true in (
            (rng.normal(0, 1, (repetitions, people)), 0.0),
            (rng.lognormal(0, 0.5, (repetitions, people)), float(np.exp(0.125))),
        ):
            draws = torch.from_numpy(values @ weights.T)
            for count in (None, people):
                ends = np.array([Bootstrap.interval(row, count) for row in draws])
                cells.append(f"{((ends[:, 0] <= true) & (true <= ends[:, 1])).mean():.3f}")
        lines.append(f"| {people} | {' | '.join(cells)} |")
    return lines


def table(found: dict[str, list[tuple[float, float]]]) -> list[str]:
    """Coverage, and mean width below it, a candidate a row."""
    head = [f"{correlation:g} / {rate:g}" for correlation in CORRELATIONS for rate in RATES]
    lines = [f"| correlation / rate | {' | '.join(head)} | least |", "|---" * (len(head) + 2) + "|"]
    for name, cells in found.items():
        texts = [f"{coverage:.3f}<br>{width:.4f}" for coverage, width in cells]
        lines.append(f"| {name} | {' | '.join(texts)} | {min(coverage for coverage, _ in cells):.3f} |")
    return lines


def extremes() -> list[str]:
    """What is printed where so many of 128 people are found once each, 1 of 16 probes."""
    lines = ["| people found once | percentile | used | minus nobody found, used |", "|---|---|---|---|"]
    for hit in (0, 1, 2, 3, 4, 5, 6, 8, 16, 128):
        x = np.zeros((1, PEOPLE))
        x[0, :hit] = 1 / PROBES
        old, new = percentile(x), share_ends(torch.from_numpy(x))
        apart = difference_ends(torch.from_numpy(x))
        texts = [f"{low:.4f} to {high:.4f}" for low, high in ((old[0][0], old[1][0]), new, apart)]
        lines.append(f"| {hit} | {' | '.join(texts)} |")
    return lines


def main() -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="400 repetitions in place of 2,000")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/coverage.md"))
    options = parser.parse_args()
    repetitions = 400 if options.quick else 2000
    lines = ["# Coverage of the intervals", "", "`python benchmarks/coverage.py`", "", *description(), ""]
    found = measured(PEOPLE, repetitions, CANDIDATES)
    most, mean = widest(found)
    names = [name for name, cells in found.items() if valid(cells)]
    lines += [
        f"## Shares: {PEOPLE} people of {PROBES} probes, {repetitions:,} repetitions",
        "",
        "Coverage of 95 % intervals, and below it their mean width. Correlation: of two probes of one person.",
        "",
        *table(found),
        "",
        f"Valid (at least {LEAST:g} in every cell): {', '.join(names)}. The used one is at most {most:.2f} times as "
        f"wide as the narrowest valid one of the cell, {mean:.2f} times on average.",
        "",
        "## At the extremes",
        "",
        *extremes(),
        "",
        "The first hits say something of how hits are spread over people, and the upper end comes down: where nobody "
        "was found, few people may be found always.",
        "",
        "## Paired differences of two methods on the same people",
        "",
        "Coverage, mean width.",
        "",
        *differences(repetitions // 2),
        "",
        "## Smaller cohorts",
        "",
    ]
    for people in (8, 16, 32):
        lines += [f"{people} people:", "", *table(measured(people, repetitions // 2, CANDIDATES)), ""]
    lines += ["## Means of what is no share", "", *means(repetitions)]
    print(written(options.out, lines))


if __name__ == "__main__":
    main()
