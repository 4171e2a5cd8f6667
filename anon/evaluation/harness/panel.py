"""A panel of judges in one evaluation: the figures of each, and the worst of them as the line's own.

    python evaluate.py experiment=fiva judge=[synthetic_b,facenet] panel.facenet.encoder.weights=<file>

An anonymizer that deceives one recognizer may not deceive the next. Every judge has its own thresholds, galleries and
adversaries; pictures, people and networks are shared, so nothing is drawn for the second judge. The first judge gives
all figures, every further one those that a judge measures (:attr:`MetricInfo.by_judge`). The line's own figure is that
of the judge who finds most, with that judge's interval. That is no interval of the largest of several figures: by
chance the largest is too large rather than too small, which errs on the side of caution.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from anon.anonymizers.cloaks.base import Cloak
from anon.errors import Failed, UserError
from anon.evaluation.document import Correlation, Line
from anon.evaluation.document.estimates import Estimate, known
from anon.evaluation.document.metric_info import MetricInfo, info_of
from anon.evaluation.harness.context import Measure, MeasureContext
from anon.evaluation.harness.pictures import Originals
from anon.evaluation.harness.stages import Stages
from anon.evaluation.harness.suite import Combination, Suite
from anon.evaluation.judges.judging import ALIKE, architecture, are_one, impostor_correlation, kinship_notes
from anon.evaluation.judges.provenance import listed, same_people
from anon.identity.contract import JudgeLike, check_judge

Figures = dict[str, Estimate]


def check_panel(judges: Sequence[JudgeLike], suite: Suite) -> None:
    """The door of the judges, before any picture is read.

    Raises:
        UserError: no judge, two of one name or of one network, or a threshold that says not whose it is.
    """
    if not judges:
        raise UserError("an evaluation needs a judge: judge=<choice>, or several: judge=[<choice>,<choice>].")
    for judge in judges:
        check_judge(judge)
    names = [judge.name for judge in judges]
    for first, second in itertools.combinations(judges, 2):
        if first.name == second.name:
            raise UserError(
                f"Two judges are called '{first.name}', so no table could tell them apart; give one another name "
                "(judge.encoder.name=<name>, panel.<choice>.encoder.name=<name>, or .name of an ONNX file), or leave "
                "it out."
            )
        if are_one(first, second):
            raise UserError(
                f"The judges '{first.name}' and '{second.name}' are one network, so together they say no more than "
                "one of them; leave one out."
            )
    given = suite.threshold
    if isinstance(given, Mapping):
        odd = sorted(set(map(str, given)) ^ set(names))
        if odd:
            what = "says none of" if odd[0] in names else "names"
            raise UserError(
                f"suite.threshold {what} '{odd[0]}'; it needs a threshold for each judge of this evaluation and for "
                f"nobody else: {', '.join(names)}."
            )
    elif given is not None and len(judges) > 1:
        raise UserError(
            f"suite.threshold={given} says not which of the {len(judges)} judges it is of; write one for each: "
            f"'suite.threshold={{{', '.join(f'{name}: <distance or results.json>' for name in names)}}}'."
        )


def judged(measure: Measure) -> bool:
    """Whether a measure has figures that every judge gives for itself."""
    return any(info.by_judge for info in measure.metrics.values())


def with_others(
    line: Line,
    contexts: Sequence[MeasureContext],
    take: Callable[[MeasureContext], Figures],
    told: Callable[[Failed], str],
    described: Mapping[str, MetricInfo],
) -> Line:
    """The first judge's line with what the further judges find, and the worst of all as its figures.

    Args:
        contexts: of all judges, the first one's first.
        take: the figures of a context, of the measures that are :func:`judged`.
        told: what a line says of a failure.
        described: what the measures say of their figures.
    """
    first = _by_judge(line.metrics, described)
    own, lost = {contexts[0].stages.judge.recognizer.name: first}, {}
    for context in contexts[1:]:
        name, needs = context.stages.judge.recognizer.name, context.needs()
        if needs is not None:  # what this judge cannot be asked, such as for the opposite of a raw vector
            own[name] = dict.fromkeys(first, Estimate.absent(needs))
            continue
        try:
            own[name] = _by_judge(take(context), described)
        except Failed as error:
            lost[name] = told(error)
    figures, worst = worst_of(own, described)
    figures |= means_of(own, described)
    return replace(line, metrics={**line.metrics, **figures}, by_judge=own, worst=worst, lost=lost)


def worst_of(
    own: Mapping[str, Mapping[str, Estimate]], described: Mapping[str, MetricInfo]
) -> tuple[Figures, dict[str, str]]:
    """By metric the figure of the judge who finds most, and who that is; of equals the first.

    A figure that is absent is no worst case; metrics that no two judges measure alike have none.

    >>> id_ = {"ID": MetricInfo("ID", "privacy", False, low=0.0, high=1.0)}
    >>> worst_of({"a": {"ID": Estimate(0.1)}, "b": {"ID": Estimate(0.3)}, "c": {"ID": Estimate.absent("n/a")}}, id_)[1]
    {'ID': 'b'}
    """
    figures, worst = {}, {}
    for metric in dict.fromkeys(metric for each in own.values() for metric in each):
        info = info_of(described, metric)
        if info is None or not info.has_worst:
            continue
        found = {judge: figure for judge, each in own.items() if known(figure := each.get(metric))}
        found = {judge: figure for judge, figure in found.items() if math.isfinite(figure.number)}
        if found:
            chosen = min if info.higher_is_better else max
            judge = chosen(found, key=lambda judge: found[judge].number)
            figures[metric], worst[metric] = found[judge], judge
    return figures, worst


def means_of(own: Mapping[str, Mapping[str, Estimate]], described: Mapping[str, MetricInfo]) -> Figures:
    """The metrics that are means over judges (:attr:`MetricInfo.mean_of`).

    Ends are the means of the judges' ends: as wide as if all judges erred together, who see the same faces.

    >>> own = {"a": {"PSR": Estimate(0.5, 0.4, 0.6)}, "b": {"PSR": Estimate(1.0, 0.9, 1.0)}}
    >>> psr = {"PSR_mean": MetricInfo("mean PSR", "privacy", True, mean_of="PSR")}
    >>> means_of(own, psr)["PSR_mean"].text()
    '.750 [.650, .800]'
    """
    found: Figures = {}
    for name, info in described.items():
        each = [figures.get(info.mean_of or "") for figures in own.values()]
        told = [figure for figure in each if figure is not None]
        measured = [figure for figure in told if known(figure)]
        if not told:
            continue
        if len(measured) < len(each):  # a mean of fewer judges is another figure
            found[name] = Estimate.absent(f"n/a (only {len(measured)} of {len(each)} judges have one)")
            continue
        each_ends = torch.tensor([(figure.number, *figure.span) for figure in measured], dtype=torch.float64)
        value, low, high = each_ends.mean(0).tolist()
        found[name] = Estimate(value, low, high, n=min(figure.n for figure in measured))
    return found


def _by_judge(figures: Figures, described: Mapping[str, MetricInfo]) -> Figures:
    infos = {name: info_of(described, name) for name in figures}
    return {name: figures[name] for name, info in infos.items() if info is not None and info.by_judge}


def correlations(panel: Sequence[Stages], datasets: Sequence[str]) -> tuple[Correlation, ...]:
    """Of every two judges' scores between different background people of each data set."""
    found = []
    for data in datasets if len(panel) > 1 else ():
        group = panel[0].subjects(data).background
        z = [each.z(Originals(group), each.judge) for each in panel]
        for one, other in itertools.combinations(range(len(panel)), 2):
            first, second = (panel[place].judge.recognizer for place in (one, other))
            value = impostor_correlation(z[one], z[other], group.labels, (first.metric, second.metric))
            found.append(Correlation(panel[0].subjects(data).name, first.name, second.name, value))
    return tuple(found)


class Kin:
    """What the judges and the encoders of the methods have in common.

    Args:
        panel: the stages of every judge.
    """

    def __init__(self, panel: Sequence[Stages]) -> None:
        self.panel = panel
        #: By data set and method: its title, and whether each judge learned from the same people as its encoder.
        self.found: dict[tuple[str, str], tuple[str, list[bool]]] = {}

    def meet(self, one: Combination) -> None:
        """Compare the judges with whom a combination's method was made on, once; alike scores are told."""
        method, place = self.panel[0].factory.method(one), (one.data, one.method)
        if not method.made_on or place in self.found:
            return
        who = "the cloaks" if isinstance(method.pristine, Cloak) else method.title  # one sentence for all of them
        alike = []
        for stages in self.panel:
            group, judge = stages.subjects(one.data).background, stages.judge.recognizer
            z = stages.z(Originals(group), stages.judge)
            for encoder in method.made_on:
                own = stages.z(Originals(group), stages.conditioning(encoder))
                for note in kinship_notes(judge, z, own, group.labels, who):
                    stages.factory.tell(note)
            alike.append(any(_same_people(stages, one.data, judge, encoder) for encoder in method.made_on))
        self.found[place] = method.title, alike

    def of(self, number: int) -> tuple[str, ...]:
        """The methods whose encoder learned from the same people as the judge of that number."""
        return tuple(dict.fromkeys(title for title, alike in self.found.values() if alike[number]))

    def notes(self) -> list[str]:
        """Which judge is no stranger to which encoder, and which method has no judge that is."""
        names = [stages.judge.recognizer.name for stages in self.panel]
        notes = [
            f"The judge {name} learned from the same people as the encoder of {listed(kin)}."
            for number, name in enumerate(names)
            if len(names) > 1 and (kin := self.of(number))
        ]
        lacking = list(dict.fromkeys(title for title, alike in self.found.values() if all(alike)))
        if lacking:
            who = f"The judge {names[0]}" if len(names) == 1 else f"Each of the {len(names)} judges"
            notes.append(
                f"{who} learned from the same people as the encoder of {listed(lacking)}, so the figures there have no "
                "independent judge: add one that learned from others, judge=[<choice>,<choice>]."
            )
        return notes


def _same_people(stages: Stages, data: str, first: object, second: object) -> bool:
    """Whether two recognizers learned from the same people, as far as the training people of a data set tell."""
    made, basis = stages.data(data)
    faces = (made if basis is None else basis).faces("train")  # their names: no picture is read
    return same_people(first, second, faces.names, bool(faces.synthetic))


def panel_notes(panel: Sequence[Stages], datasets: Sequence[str], alike: Sequence[Correlation]) -> list[str]:
    """Which two judges are no two witnesses: by their architecture, their training people or their scores."""
    judges, notes = [each.judge.recognizer for each in panel], []
    for first, second in itertools.combinations(judges, 2):
        shared = architecture(first)
        if shared is not None and shared == architecture(second):
            notes.append(
                f"The judges {first.name} and {second.name} are both a {shared}: networks of one architecture are "
                "deceived by the same changes, and count as one judge."
            )
        if any(_same_people(panel[0], data, first, second) for data in datasets):
            notes.append(f"The judges {first.name} and {second.name} learned from the same people: they count as one.")
    for pair in alike:
        if pair.value > ALIKE:
            notes.append(
                f"Impostor scores of the judges {pair.first} and {pair.second} on {pair.data} correlate "
                f"{pair.value:.2f} (more than {ALIKE:g}): what hides from one tends to hide from the other, so they "
                "count as one judge rather than as two."
            )
    return notes
