"""Folders that are broken, huge or hostile: told, bounded and never waited for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anon.errors import UserError
from anon.evaluation.compare import Better, compare, found, plots
from anon.evaluation.compare.__main__ import main
from anon.evaluation.compare.files import sections
from anon.evaluation.compare.plots import curves
from anon.evaluation.compare.runs import Run, Series
from anon.evaluation.compare.tables import settings
from tests.evaluation.test_compare import document, evaluated, trained


def test_what_is_broken_is_told(tmp_path: Path) -> None:
    """None of it ends the comparison, and the rest of the run is there."""
    shelf = tmp_path / "runs"
    trained(shelf / "half", steps=100, rows="0.5,8.0,9\n0.25,2")
    (trained(shelf / "no_metrics") / "metrics.csv").unlink()
    (trained(shelf / "no_config") / "config.yaml").write_text("a: [1, 2\n b: }")
    (trained(shelf / "odd") / "versions.json").write_bytes(b"\xff\xfe{")
    (shelf / "odd" / "metrics.csv").write_bytes(b"val/l1,step\n0.5,9\nword,19\n0.25,\xff\n" + b"\0" * 30)
    (shelf / "odd" / "command.txt").write_text("nobody knows when")
    (trained(shelf / "diverged") / "diverged_0000031.pt").touch()
    (evaluated(shelf / "running", document(0.5)) / "results.json").unlink()
    (evaluated(shelf / "old", document(0.5)) / "results.json").write_text('{"schema": 1}')
    (shelf / "zempty").mkdir()
    runs = {run.name: run for run in found([path for path in sorted(shelf.iterdir())])}
    assert {name: run.state for name, run in runs.items()} == {
        "half": "unfinished, 10 of 100 steps",
        "no_metrics": "no step logged",
        "no_config": "config.yaml cannot be read; 40 steps",
        "odd": "versions.json cannot be read; unfinished, 20 of 40 steps",
        "diverged": "diverged at step 31; finished",
        "running": "unfinished, no results.json",
        "old": "results.json is damaged, or of another schema",
        "zempty": "holds no config.yaml, metrics.csv or results.json",
    }
    assert runs["half"].metrics["val/l1"].values == (0.5,)
    assert runs["odd"].seconds is None
    files = compare([shelf], tmp_path / "out")
    assert all(file.stat().st_size for file in files)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="needs Linux")
def test_no_file_of_a_folder_is_waited_for(tmp_path: Path) -> None:
    """The kind: a file of a folder that somebody gave was opened as if it were one's own.

    A pipe hangs for ever, /dev/zero and /proc/self/pagemap have no end. Instances: command.txt and runs.txt here;
    checksums of files (verify, data.root=/proc), the index and the names of packed sets, prepare.json, manifests,
    OpenFace's tables, data.points. One opener serves them all (anon.plain.opened), see tests/test_plain.py.
    """
    trained(tmp_path / "runs" / "sound")
    lists = []
    for place in ("pipe", "/dev/zero", "/proc/self/pagemap"):
        for name in ("command.txt", "metrics.csv", "config.yaml", "versions.json", "runs.txt"):
            folder = tmp_path / ("lists" if name == "runs.txt" else "runs") / f"{name} {len(lists)}"
            folder.mkdir(parents=True)
            os.mkfifo(folder / name) if place == "pipe" else (folder / name).symlink_to(place)
            (folder / "results.json").touch() if name != "runs.txt" else lists.append(str(folder))
    folders = [str(tmp_path / "runs"), *lists]
    done = subprocess.run([sys.executable, "-c", BOUNDED, *folders], capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == ["0", "2", "2", "2"], done.stderr
    assert done.stderr.count("runs.txt' cannot be read (it is not a regular file)") == 3


BOUNDED = """
import contextlib, os, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (40, 40))
from anon.evaluation.compare.__main__ import main
from tests.evaluation.described import METRICS
for folder in sys.argv[1:]:
    with contextlib.redirect_stdout(sys.stderr):
        code = main([folder, "--out", os.path.join(sys.argv[1], os.pardir, "out")])
    print(code)
"""


def test_plots_and_keys_have_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind: work that a small file multiplies. 47 kB of metrics.csv took 75 s: a plot for each of 3,000 columns.

    Also: keys of settings were compared each with each, a minute for the 20,000 that a configuration may have.
    """
    assert plots.MOST_METRICS <= 200
    monkeypatch.setattr(plots, "MOST_METRICS", 2)
    logged = {f"{place}/m{number}": Series((1,), (1.0,)) for place in ("train", "val") for number in range(2)}
    run = Run(Path("a"), "a", metrics=logged)
    assert [plot.title for plot in curves([run])] == ["val/m0", "val/m1"]
    (told,) = [section.grids for section in sections([run], Better()) if section.title == "Curves"]
    assert [grid.about for grid in told] == [
        "2 more metrics are in compare.csv; the first 2 are drawn, validation before the rest."
    ]
    keys = {f"part{number}.key{number}": "a" for number in range(20_000)}
    begun = time.process_time()
    differing = settings([Run(Path("a"), config=keys), Run(Path("b"), config=dict.fromkeys(keys, "b"))])
    assert len(differing.rows) == 20_000 and time.process_time() - begun < 5


def test_numbers_and_names_beyond_all_bounds(tmp_path: Path) -> None:
    """An axis from -1e308 to 1e308 has no length, a name with a null byte or of 5,000 letters no file."""
    trained(tmp_path / "m" / "a", rows="1e308,1,1\n-1e308,2,3\n0.5,3,4\n0.25,4,1e300\n0.25,5,-1e308\n")
    (tmp_path / "m" / "runs.txt").write_text(f"x\0y\n{'z' * 5000}\n{tmp_path / 'm' / 'a'}\n")
    assert main([str(tmp_path / "m"), "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "2 logged values were not finite, or beyond all bounds" in page and "is gone" in page
    (run,) = [run for run in found([tmp_path / "m"]) if run.metrics]
    assert run.steps == 5  # not 1e300
    (tmp_path / "m" / "runs.txt").write_text("".join(f"run{number}\n" for number in range(1001)))
    with pytest.raises(UserError, match="at most 1,000 are compared"):
        found([tmp_path / "m"])
