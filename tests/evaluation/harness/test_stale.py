"""What is kept is used while what made it is the same, and only then: a whole evaluation in the tiny world.

The kind: a result that is read from the store although something that made it has changed since. Instances here: a
filter's helper in another file, settings of an object that no configuration states, a function's closure and constants
of a defense, a recognizer's normalization, code of this package; comments are none.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import anon
from anon.anonymizers import filters
from anon.evaluation.harness.context import PUBLISHED, MeasureContext
from anon.evaluation.harness.pictures import keyed_recognizer
from anon.evaluation.harness.suite import Combination
from anon.evaluation.measures.retrieval import Retrieval
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.metrics import preservation
from tests.evaluation import tiny_world
from tests.evaluation.harness import tiny_stages
from tests.rewriting import rewrite

FILTER = "import helper_of_mine\nfrom torch import nn\nclass Mine(nn.Module):\n"
FILTER += "    def forward(self, images, source=None, rng=None):\n        return helper_of_mine.hide(images)\n"
OPEN, HIDDEN = "def hide(images):\n    return images\n", "def hide(images):\n    return images * 0\n"
ONE = Combination("default", "pixelate")


def identified(folder, **changes):
    """ID of "mine", and what this process had to make."""
    made = tiny_stages.stages(folder, **changes)
    context = MeasureContext(made, Combination("default", "mine"))
    return Retrieval()(context)["ID"].value, dict(made.store.made)


def test_a_filter_whose_helper_changed_has_another_id(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "filter_of_mine.py").write_text(FILTER)
    found = []
    for text in (OPEN, HIDDEN, OPEN):
        (tmp_path / "helper_of_mine.py").write_text(text)
        for name in ("filter_of_mine", "helper_of_mine"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        methods = {"mine": {"title": "Mine", "anonymizer": {"_target_": "filter_of_mine.Mine"}}}
        found.append(identified(tmp_path / "cache", methods=methods))
    assert found[0][0] > 0.9 and found[1][0] < 0.3 and found[2] == (found[0][0], {})


class Blend(torch.nn.Module):
    def __init__(self, share):
        super().__init__()
        self.share = share

    def forward(self, images, source=None, rng=None):
        return images * (1 - self.share)


def test_settings_of_an_object_that_was_built_already(tmp_path):
    found = []
    for share in (0.0, 1.0, 0.0):
        methods = {"mine": {"title": "Mine", "anonymizer": Blend(share)}}
        found.append(identified(tmp_path, methods=methods))
    assert found[0][0] > 0.9 and found[1][0] < 0.3 and found[2] == (found[0][0], {})


def test_results_tell_two_filters_of_one_name_apart(tmp_path):
    """``anon.evaluation.compare`` printed "the same" for two runs whose filter differed in its code alone."""
    told = []
    for share in (0.0, 1.0, 0.0):
        made = tiny_stages.stages(tmp_path, methods={"mine": {"title": "Mine", "anonymizer": Blend(share)}})
        made.factory.method(Combination("default", "mine"))
        told.append(made.factory.versions()["method mine"])
    assert told[0] == told[2] != told[1]


def test_a_functions_closure(tmp_path):
    def times(factor):
        return lambda a, b: (a - b).flatten(1).mean(1) * factor

    contexts = [MeasureContext(tiny_stages.stages(tmp_path), ONE) for _ in range(3)]
    one, two, again = (c.compared("times", times(factor)) for c, factor in zip(contexts, (1.0, 2.0, 1.0), strict=True))
    torch.testing.assert_close(two, 2 * one)
    assert torch.equal(one, again) and not contexts[2].stages.store.made


def test_a_recognizers_settings(tmp_path):
    seen = []
    for mean in (0.5, 0.4, 0.5):
        judge = Judge(Encoder(tiny_world.Projection(1), size=16, mean=(mean, 0.5, 0.5)), flip=False)
        made = tiny_stages.stages(tmp_path)
        seen.append(made.z(MeasureContext(made, ONE).view(PUBLISHED).pictures, keyed_recognizer(judge)))
    assert not torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2])


def drawn(folder):
    made = tiny_stages.stages(folder)
    context = MeasureContext(made, ONE)
    context.z(PUBLISHED)
    context.compared("ssim", preservation.ssim)
    return dict(made.store.made)


MEANS = "return (rows / rows.sum(0)).T @ images @ (columns / columns.sum(0))"
SSIM = "return torch.as_tensor(values).reshape(len(changed))"


@pytest.mark.parametrize(
    "module, old, new, redrawn",
    [
        (filters, "from __future__", "# a remark\n\nfrom __future__", set()),
        (filters, 'class Pixelate(Filter):\n    """', 'class Pixelate(Filter):\n    """In other words: ', set()),
        (filters, "def needed(", "def nobody_calls_it():\n    return 1\n\n\ndef needed(", set()),
        (preservation, "from __future__", "# a remark\n\nfrom __future__", set()),
        (filters, MEANS, f"{MEANS} * 0.5", {"changed", "embeddings", "comparisons"}),
        (preservation, SSIM, f"{SSIM} + 1", {"comparisons"}),
    ],
)
def test_code_that_computes_and_code_that_does_not(tmp_path, monkeypatch, module, old, new, redrawn):
    assert set(drawn(tmp_path)) == {"changed", "embeddings", "comparisons"}
    rewrite(monkeypatch, module, old, new)
    assert set(drawn(tmp_path)) == redrawn


@pytest.mark.slow  # three processes
def test_a_remark_in_every_file_redraws_nothing(tmp_path):
    """In a copy of the package, as a new version of it would lie on the disk."""
    package, root = Path(anon.__file__).parent, Path(__file__).parents[3]
    shutil.copytree(package, tmp_path / "anon", ignore=lambda _, names: [n for n in names if n == "__pycache__"])
    text = "import sys, tests.evaluation.harness.test_stale as it, anon; assert anon.__file__.startswith(sys.argv[1]); "
    text += "print(sorted(it.drawn(it.Path(sys.argv[1]) / 'cache')))"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{root}", "OMP_NUM_THREADS": "1"}

    def made():
        command = [sys.executable, "-W", "ignore", "-c", text, str(tmp_path)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    assert made() == "['changed', 'comparisons', 'embeddings']\n"
    for file in (tmp_path / "anon").rglob("*.py"):
        file.write_text(file.read_text().replace('"""\n', '"""\n# a remark\n', 1) + "\n\n# another\n")
    assert made() == "[]\n"
    file = tmp_path / "anon" / "metrics" / "preservation.py"
    file.write_text(file.read_text().replace(SSIM, f"{SSIM} + 1"))
    assert made() == "['comparisons']\n"
