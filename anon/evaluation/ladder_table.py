"""How the ladder of adversaries is written down: a row for each defense and adversary, the papers' figure beside it."""

from __future__ import annotations

from anon.evaluation import results as files
from anon.evaluation.figures import Row, short
from anon.evaluation.published import published

REAL, RETRAINED, TRANSFERRED = "Real", "retrained", "transferred from "
COLUMNS = {"found": "found ↓", "rank1": "rank-1 ↓", "threshold": "threshold", "eer": "EER, background"}
_TABLE1 = {"none": "ID", "negation": "negID", "reconstruction": "RA"}  # adversary -> column of FIVA's table 1


def as_markdown(results: files.Results) -> str:
    """The table and how it was measured."""
    counts, row = results.counts, results.rows[-1]
    body = []
    for each in results.rows:
        figures = [each.metrics[key].text() for key in COLUMNS]
        if each.metrics["recalibrated"].value:
            figures[2] += " *"
        body.append([each.defense, f"**{each.adversary}**", *figures, _paper(each)])
    lines = [
        *(f"# Adversaries of {row.method} on {row.data}", ""),
        *(f"**{note}**\n" for note in results.notes),
        *files.markdown_table(["defense", "adversary", *COLUMNS.values(), "paper"], body),
        "",
        "found: the nearest enrolled entry is the right person and within the threshold. "
        f"{counts['probes']:,} probes of {counts['identities']:,} people, a gallery of {counts['gallery']:,} people: "
        f"chance (rank-1) is {counts['chance']:.2g}. Judge {results.judge}, cosine distance "
        f"{short(results.threshold)} at FAR {results.far:g} on {counts['background_pairs']:,} pairs of background "
        "people. * The adversary enrols other pictures or has a recognizer of its own: its threshold is at the same "
        "FAR on background people treated in the same way, and the EER is of its recognizer there.",
        "",
        f"{REAL}: the faces themselves behind the defense, by the judge. A parrot runs the software, defense included, "
        "on an instance of its own. Nobody has a key. Brackets: 95 %, bootstrap over identities (of the evaluation; of "
        "the background for threshold and EER).",
    ]
    sources = {published(table).source for table in ("fiva_table1", "fiva_table3")}
    if any(cells[-1] != "-" for cells in body):
        lines += ["", f"Paper, other data and judge: {'; '.join(sorted(sources))}."]
    return "\n".join(lines) + "\n"


def _paper(row: Row) -> str:
    """What FIVA's tables 1 and 3 have for this method, defense and adversary."""
    defended = published("fiva_table3").rows
    if row.method == "FIVA + ITM" and row.adversary == "reconstruction" and row.defense in defended:
        return short(defended[row.defense]["RA"])
    printed = published("fiva_table1").rows.get(row.method, {})
    column = _TABLE1.get(row.adversary)
    return short(printed[column]) if row.defense == "none" and column in printed else "-"
