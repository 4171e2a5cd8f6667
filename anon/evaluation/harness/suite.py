"""A suite as data: an evaluation is a list of products methods x policies x defenses x attacks x inputs.

    python evaluate.py suite=table1 | table2 | table3 | table4 | dial | all

``conf/table/<name>.yaml`` is one table: its ``grid`` is the list of products, its ``measures`` are names,
its ``columns`` what stands in front. ``conf/suite/base.yaml`` gives every name its configuration; it is built only
when a table asks for it. A combination that several tables name is evaluated once, with the measures of all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, cast

from omegaconf import OmegaConf

from anon.errors import UserError
from anon.evaluation import protocol as rules
from anon.evaluation.document import Column
from anon.evaluation.trained import check_folder, newest

NONE, CLEAN, PLAIN = "none", "clean", "default"
APART, SAME = "apart", "same"  # enrolments
ALL = "all"
#: Words of a grid's ``methods`` that stand for several.
_SORTS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "generators": lambda given: bool(given.get("policies")) and given["title"] is not None and not given.get("methods"),
    "filters": lambda given: (
        given["anonymizer"] is not None
        and not given.get("policies")
        and not given.get("cloak")
        and not given.get("temporal")
        and not given.get("train")
        and not _of_a_set(given["anonymizer"])
    ),
    "cloaks": lambda given: bool(given.get("cloak")),
    "ensembles": lambda given: bool(given.get("methods")) and not given.get("temporal"),
    "inpainters": lambda given: given.get("policies") == "latent",
    "dials": lambda given: bool(given.get("dial")),
}
RENDERED = "synthetic"  # the data set that calibrates and gives anchors where nobody else does
_BLOCK = {"data", "methods", "policies", "inputs", "defenses", "attacks", "dial"}  # of a grid
_COLUMN = ("metric", "title", "attack")
_KINDS = {"title": "a text", "grid": "a list of products", "measures": "a list of measures", "columns": "a mapping"}


@dataclass(frozen=True)
class Suite(rules.Protocol):
    """The choices of an evaluation, and what its names mean.

    Args:
        title: of the report.
        tables: configurations of tables by name, in the order of the report; None: switched off. ``columns`` are by
            the metric's name, or by any where they say ``metric``; ``title`` (None: the metric's own), ``attack`` (of
            the line that has the figure); None: switched off.
        methods: anonymizers by name: ``title``, ``anonymizer`` (a configuration), ``policies`` (whether it takes one),
            ``train`` (the command that makes its checkpoint), ``dial``.
        policies: configurations by name; a tracker's threshold and the anchors come from the data.
        defenses: configurations by name.
        attacks: configurations by name: ``attack``, or ``trained`` (checkpoints by method) with ``train`` (the command
            that makes one), or ``checkpoint``, one for all methods, else the newest on ``victim`` in ``folder`` of
            +sweep=methods. An ``adaptive`` one has its checkpoints by method and defense, or ``folders`` of
            +sweep=defenses by method. ``transfer``: it may have learned another method; its lines say which.
        inputs: what is done to the pictures before they are anonymized, configurations by name.
        measures: configurations by name.
        datasets: further data modules by name; ``default`` is the evaluation's ``data``.
        attacked_probes: probes of a person, at most, that are defended, attacked, degraded or swept.
        folder: of +sweep=methods, which attacks may refer to.
        threshold: of the judge, from elsewhere (:mod:`anon.evaluation.harness.calibrations`), of several judges by
            their names; None: from background people.
        reference: name of the data set whose background people calibrate and whose training people are anchors,
            ``default`` for the evaluation's ``data``; None: the evaluated one, or ``synthetic`` where
            ``data.everyone`` leaves nobody.
        sources: name of the data set whose evaluation people are swapped in, ``default`` for the evaluation's ``data``;
            None: the evaluated one.
        swaps: whose face each evaluated person is given (:func:`anon.evaluation.harness.donors.partners`); None: a
            seeded circle.
        enrolment: ``apart``, some pictures of a person are enrolled and others probe; ``same``, one picture of each is
            enrolled, and what becomes of the same picture probes.
    """

    title: str = "Evaluation"
    tables: Mapping[str, Any] = field(default_factory=dict)
    methods: Mapping[str, Any] = field(default_factory=dict)
    policies: Mapping[str, Any] = field(default_factory=dict)
    defenses: Mapping[str, Any] = field(default_factory=dict)
    attacks: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    measures: Mapping[str, Any] = field(default_factory=dict)
    datasets: Mapping[str, Any] = field(default_factory=dict)
    attacked_probes: int = 4
    folder: str | None = None
    threshold: float | str | Mapping[str, float | str] | None = None
    reference: str | None = None
    sources: str | None = None
    swaps: str | None = None
    enrolment: str = APART

    def __post_init__(self) -> None:
        """An anonymizer or an attack alone (``+attack@suite.attacks.mine=<choice>``) is a whole entry."""
        super().__post_init__()
        for kind, key in (("methods", "anonymizer"), ("attacks", "attack")):
            entries = {name: _entry(kind, name, given, key) for name, given in getattr(self, kind).items()}
            object.__setattr__(self, kind, entries)


@dataclass(frozen=True, order=True)
class Combination:
    """One thing to evaluate, by the names of its parts."""

    data: str
    method: str
    policy: str = NONE
    input: str = CLEAN
    dial: float | None = None
    defense: str = NONE
    attack: str = NONE
    turns: str | None = None  # the setting that the dial turns; None: the method's own

    @property
    def turns_defense(self) -> bool:
        """Whether the dial is one of the defense."""
        return self.dial is not None and (self.turns or "").startswith("defense.")

    @property
    def redrawn(self) -> bool:
        """Whether the dial changes what the anonymizer draws."""
        return self.dial is not None and not self.turns_defense


@dataclass(frozen=True)
class Plan:
    """A table as it was asked for: its combinations in order, its measures and its columns."""

    name: str
    title: str
    about: str
    published: str | None
    combinations: tuple[Combination, ...]
    measures: tuple[str, ...]
    columns: tuple[Column, ...]
    dial: str | None = None
    matrix: bool = False  # attacks down, what was attacked across
    baseline: Combination | None = None  # what the others are compared with, pair by pair

    @property
    def shown(self) -> tuple[Combination, ...]:
        """The lines: where columns show an attack's figures, combinations with it are no lines of their own."""
        folded = {column.attack for column in self.columns if column.attack is not None}
        return tuple(one for one in self.combinations if one.attack not in folded)


def plans(suite: Suite) -> list[Plan]:
    """All tables of the suite.

    Raises:
        UserError: no tables, or a name that means nothing, with the nearest that does.
    """
    if suite.enrolment not in (APART, SAME):
        raise UserError(f"suite.enrolment={suite.enrolment} must be {APART} or {SAME}.")
    for key in ("reference", "sources"):
        if getattr(suite, key) not in (None, PLAIN):
            _known(suite.datasets, getattr(suite, key), f"suite.{key}", "datasets")
    found = [_plan(suite, name, table) for name, table in suite.tables.items() if table is not None]
    if not found:
        raise UserError("suite.tables names no table; choose suite=table1, ..., or suite=all.")
    return found


def _of_a_set(anonymizer: Any) -> bool:
    """Whether a method's configuration still wants the data: it changes sets that it knows, and no single picture."""
    return isinstance(anonymizer, Mapping) and bool(anonymizer.get("_partial_"))


def _entry(kind: str, name: str, given: Any, key: str) -> Any:
    where = f"suite.{kind}.{name}"
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise UserError(f"{where}={given} is none; it needs {where}.{key}=<a part>.")
    if "_target_" in given:
        given = {key: given}
    trained = kind == "attacks" and (isinstance(given.get("trained"), Mapping) or "checkpoint" in given)
    if key not in given and not trained:
        raise UserError(f"{where} needs {key}, a part (_target_), as in +{key}@{where}.{key}=<choice>.")
    return {"title": name, **given} if kind == "methods" else given


def _table(where: str, given: Any) -> dict[str, Any]:
    """A table whose entries are of the kinds that they must be.

    Raises:
        UserError: one is not.
    """
    table = dict(given) if isinstance(given, Mapping) else {}
    for name, kind in (("title", str), ("grid", Sequence), ("measures", Sequence), ("columns", Mapping)):
        if not isinstance(table.get(name), kind) or (kind is Sequence and isinstance(table[name], str)):
            raise UserError(f"{where} needs {name}, {_KINDS[name]}; see conf/table.")
    for block in table["grid"]:
        odd = sorted(set(block) - _BLOCK) if isinstance(block, Mapping) else [str(block)]
        if odd:
            near = get_close_matches(odd[0], _BLOCK, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(sorted(_BLOCK))}."
            raise UserError(f"{where}.grid has '{odd[0]}', which no block of a grid has; {hint}")
    if not table["grid"]:
        raise UserError(f"{where}.grid is empty; name some methods.")
    return table


def _plan(suite: Suite, name: str, given: Any) -> Plan:
    where = f"suite.tables.{name}"
    table = _table(where, given)
    measures = tuple(_chosen(suite.measures, table, "measures", f"{where}.measures"))
    combinations: dict[Combination, None] = {}
    for block in table["grid"]:
        combinations |= dict.fromkeys(_product(suite, dict(block), where))
    sweeps = [one for one in combinations if one.dial is not None]
    dials = {suite.methods[one.method]["dial"]["title"] for one in sweeps if one.turns is None}
    dials |= {block["dial"]["title"] for block in table["grid"] if isinstance(block.get("dial"), Mapping)}
    columns = columns_of(f"{where}.columns", table["columns"])
    plan = Plan(
        name=name,
        title=table["title"],
        about=table.get("about") or "",
        published=table.get("published"),
        combinations=tuple(combinations),
        measures=measures,
        columns=columns,
        dial="; ".join(sorted(dials)) if sweeps else None,
        matrix=bool(table.get("matrix", False)),
    )
    anonymized = [one for one in plan.shown if one.method != "real" and one.dial is None and not plan.matrix]
    return replace(plan, baseline=anonymized[0] if anonymized else None)


def check_attacks(suite: Suite) -> None:
    """Look after the checkpoints of trained attacks.

    Raises:
        UserError: one is of a method or a defense that there is none of, or a folder holds none at all.
    """
    for name, given in suite.attacks.items():
        where = f"suite.attacks.{name}"
        check_folder((given or {}).get("folder"), f"{where}.folder", "methods")
        for method, checkpoint in ((given or {}).get("trained") or {}).items():
            _known(suite.methods, str(method), f"{where}.trained", "methods")
            for defense in checkpoint if isinstance(checkpoint, Mapping) else ():
                _known({**suite.defenses, NONE: NONE}, str(defense), f"{where}.trained.{method}", "defenses")
        for method, folder in ((given or {}).get("folders") or {}).items():
            _known(suite.methods, str(method), f"{where}.folders", "methods")
            if folder is not None and not any(newest(folder, key) for key in (NONE, *suite.defenses)):
                raise UserError(
                    f"{where}.folders.{method}='{folder}' holds no trained attack; train them: {given['train']} "
                    f"paths.attackers={folder}."
                )


def _product(suite: Suite, block: dict[str, Any], where: str) -> list[Combination]:
    """One block of the grid. Methods without a generator have no policy, whatever the block names."""
    given = block.get("dial", False)
    dial = _inline(given, where) if isinstance(given, Mapping) else None
    own_dial = bool(given) and dial is None
    found = []
    wanted = _chosen(suite.policies, block, "policies", where, NONE)
    for data in _chosen(suite.datasets, block, "data", where, PLAIN, "datasets"):
        for method in _chosen(suite.methods, block, "methods", where):
            settings = suite.methods[method]
            if own_dial and not settings.get("dial"):
                raise UserError(f"{where} sweeps the dial of '{method}', which has none (dial: in conf/method).")
            own = [settings["dial"].get("policy", NONE)] if own_dial else wanted
            policies = own if settings.get("policies", False) else [NONE]
            swept = settings["dial"] if own_dial else dial
            dials = [float(value) for value in swept["values"]] if swept else [None]
            turns = dial["key"] if dial else None
            chosen = itertools.product(
                policies,
                _chosen(suite.inputs, block, "inputs", where, CLEAN),
                _chosen(suite.defenses, block, "defenses", where, NONE),
                _chosen(suite.attacks, block, "attacks", where, NONE),
                dials,
            )
            found += [
                Combination(data, method, policy, degraded, value, defense, attack, turns)
                for policy, degraded, defense, attack, value in chosen
            ]
    return found


def _chosen(
    names: Mapping[str, Any],
    block: Mapping[str, Any],
    key: str,
    where: str,
    default: str | None = None,
    kind: str | None = None,
) -> Sequence[str]:
    """The names that a block gives: ``all`` and words of :data:`_SORTS` are all others, ``-name`` leaves one out."""
    if key not in block and default is None:
        raise UserError(f"A block of a table's grid names no {key}.")
    found: dict[str, None] = {}
    for name in block.get(key) or [default]:
        sort = _SORTS.get(name) if key == "methods" else None
        if name == ALL or sort is not None:
            found |= {each: None for each, given in names.items() if given is not None and (sort or bool)(given)}
        elif name.startswith("-"):
            found.pop(_known(names, name[1:], where, kind or key), None)
        else:
            found[name if name == default else _known(names, name, where, kind or key)] = None
    return list(found)


def _inline(dial: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The dial that a block of the grid brings, in the place of its methods' own.

    Raises:
        UserError: it lacks something, or turns nothing that there is.
    """
    values, key = dial.get("values"), str(dial.get("key"))
    if not {"title", "key", "values"} <= set(dial) or key.partition(".")[0] not in ("anonymizer", "policy", "defense"):
        raise UserError(
            f"{where} has a dial without title, key (anonymizer.<name>, policy.<name> or defense.<name>) or values."
        )
    numbers = isinstance(values, Sequence) and all(type(value) in (int, float) for value in values)
    if not numbers or not values or len(set(values)) != len(values):
        raise UserError(f"{where}.dial.values must be numbers, one at least and each once, not {values!r:.60}.")
    return dial


def _known(names: Mapping[str, Any], name: str, where: str, what: str) -> str:
    if names.get(name) is None:
        near = get_close_matches(name, names, 1)
        raise UserError(
            f"{where} names '{name}', which is none of suite.{what}"
            + (f"; did you mean '{near[0]}'?" if near else f": {', '.join(names)}.")
        )
    return name


def _check_column(where: str, given: Any) -> None:
    """A column says which metric, under what title and after which attack it shows, all of them if it wants to.

    Raises:
        UserError: it is something else, or says something else.
    """
    if not isinstance(given, Mapping) or not all(isinstance(part, str | None) for part in given.values()):
        raise UserError(f"{where}={given} is no column; write {{}}, or what differs, as in {{attack: reconstruction}}.")
    odd = sorted(set(given) - set(_COLUMN))
    if odd:
        hint = " (which way is better, the metric says)" if odd[0] == "better" else ""
        raise UserError(f"{where} has '{odd[0]}', which no column has{hint}; there are: {', '.join(_COLUMN)}.")


def columns_of(where: str, given: Mapping[str, Any]) -> tuple[Column, ...]:
    """The columns of a table that are not switched off.

    Raises:
        UserError: one is no column.
    """
    for key, column in given.items():
        if column is not None:
            _check_column(f"{where}.{key}", column)
    return tuple(
        Column(column.get("metric") or key, column.get("title"), column.get("attack"))
        for key, column in given.items()
        if column is not None
    )


def as_plain(given: Any) -> dict[str, Any]:
    """A configuration as plain values of its own; what is built already stays what it is."""
    if OmegaConf.is_config(given):
        return cast(dict[str, Any], OmegaConf.to_container(given, resolve=True))
    return {name: as_plain(value) if isinstance(value, Mapping) else value for name, value in given.items()}
