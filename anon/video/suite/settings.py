"""The suite of clips as data: which clips, which tables, which measures.

    python evaluate.py suite=video                            # rendered crowds, of which is known who is where
    python evaluate.py suite=video input=<clip or folder>     # one's own clips
    python evaluate.py suite=video method=blur

``conf/suite/video.yaml`` has what ``anon anonymize`` has of every setting; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anon.errors import UserError
from anon.evaluation.harness.suite import Plan, columns_of

_NEEDS = "give it title, measures (a list of names of suite.measures) and columns (a mapping), as conf/table/clips.yaml"


@dataclass(frozen=True)
class Crowds:
    """Rendered clips: two, three and four people in turn, every second clip with a pillar before them.

    Args:
        clips: how many.
        frames: of each, 25 a second.
        height, width: of a frame, pixels.
        face: height of a face, pixels.
    """

    clips: int = 3
    frames: int = 36
    height: int = 180
    width: int = 320
    face: float = 34.0


@dataclass(frozen=True)
class Clips:
    """The choices of an evaluation of clips.

    Args:
        title: of the report.
        input: a clip, a folder or a pattern; None: rendered crowds.
        crowds: settings of :class:`Crowds`, by name.
        resamples: of the bootstrap over tracks, people or clips.
        tables: configurations by name, in the order of the report: ``title``, ``about``, ``measures`` (names) and
            ``columns`` as any table has them; None: switched off.
        measures: configurations by name; a measure takes a :class:`anon.video.suite.measure.ClipContext`.
    """

    title: str = "Clips"
    input: str | None = None
    crowds: Mapping[str, Any] = field(default_factory=dict)
    resamples: int = 1000
    tables: Mapping[str, Any] = field(default_factory=dict)
    measures: Mapping[str, Any] = field(default_factory=dict)

    def plans(self) -> list[Plan]:
        """The tables.

        Raises:
            UserError: none is there, or one names what there is none of.
        """
        found = [self._plan(name, table) for name, table in self.tables.items() if table is not None]
        if not found:
            raise UserError("suite.tables names no table; suite=video has two.")
        return found

    def _plan(self, name: str, given: Any) -> Plan:
        where = f"suite.tables.{name}"
        table = dict(given) if isinstance(given, Mapping) else {}
        measures = table.get("measures")
        if not isinstance(measures, Sequence) or isinstance(measures, str) or not isinstance(table.get("title"), str):
            raise UserError(f"{where} is no table of clips; {_NEEDS}.")
        for measure in measures:
            if self.measures.get(measure) is None:
                raise UserError(f"{where} names the measure '{measure}'; there are: {', '.join(self.measures)}.")
        columns = columns_of(f"{where}.columns", table.get("columns") or {})
        return Plan(name, table["title"], table.get("about") or "", None, (), tuple(measures), columns)
