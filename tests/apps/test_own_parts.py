"""One file and one YAML of one's own, in a folder outside of the checkout, are a choice wherever there are choices.

The kind: a list in the project that one's own part was not on. A method needed five files and a measure four; tables
had the methods that conf/protocol/suite.yaml listed. Here nothing of the project is touched: ``hydra.searchpath`` names
the folder of YAMLs, and the file is imported as any package is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from anon.apps.run_folders.folder import LAST
from tests.apps.conftest import Command, folder_of
from tests.apps.test_evaluate import SMALL

PARTS = {
    "method": (
        """
        import torch
        def mine(images):
            return torch.roll(images, 11, -1)
        """,
        "title: Rolled\nanonymizer:\n  _target_: mine_method.mine\n",
    ),
    "attack": (
        """
        import torch
        from anon.attacks.contract import Attack
        class Mine(Attack):
            def images(self, changed):
                return torch.roll(changed, -11, -1)
        """,
        "_target_: mine_attack.Mine\n",
    ),
    "defense": (
        """
        class Mine:
            draws = False
            def __call__(self, changed, *, target=None, rng=None):
                return changed.flip(-2)
        """,
        "_target_: mine_defense.Mine\n",
    ),
    "input": (
        """
        def mine(images):
            return images * 0.5
        """,
        "_target_: mine_input.mine\n",
    ),
    "policy": (
        """
        class Mine:
            def __call__(self, z, *, source=None, key=None, track=None, rng=None):
                return z.roll(1, -1)
        """,
        "_target_: mine_policy.Mine\n",
    ),
    "measure": (
        """
        from anon.evaluation.harness.context import PUBLISHED
        from anon.evaluation.document.metric_info import MetricInfo
        class Mine:
            metrics = {"mine": MetricInfo("mine", "utility", True, low=0.0)}
            def __call__(self, context):
                return {"mine": context.mean(context.z(PUBLISHED).norm(dim=1).double())}
        """,
        "_target_: mine_measure.Mine\n",
    ),
    "judge": (
        """
        import torch
        from torch.nn import functional as F
        class Mine:
            name, metric, threshold, fingerprint = "mine", "cosine", None, "mine"
            def embed(self, images):
                small = F.adaptive_avg_pool2d(images, 8).flatten(1)
                return F.normalize(small - small.mean(1, keepdim=True))
        """,
        "_target_: mine_judge.Mine\n",
    ),
    "data": (
        """
        from anon.faces.datamodule import synthetic_data
        def mine(**settings):
            return synthetic_data(**settings)
        """,
        "defaults:\n  - synthetic\n  - _self_\n_target_: mine_data.mine\nname: mine\n",
    ),
    "generator": (
        """
        from torch import nn
        from anon.generators.contract import Redrawn
        class Mine(nn.Module):
            steers = 1
            def __init__(self, z_dim):
                super().__init__()
                self.colour, self.mix = nn.Linear(z_dim, 3), nn.Conv2d(3, 3, 3, padding=1)
            def forward(self, target, z):
                return Redrawn((self.mix(target) + self.colour(z)[:, :, None, None]).tanh(), None)
        """,
        "_target_: mine_generator.Mine\nz_dim: ${encoder.dim}\n",
    ),
    "objective": (
        """
        from torch import nn
        class Mine(nn.Module):
            def forward(self, raw, target):
                return (raw - target).abs().mean()
        """,
        "_target_: anon.training.objective.Objective\n_convert_: all\nlog_unweighted: false\nr1_gamma: 0.0\n"
        "r1_every: 8\nterms:\n  mine:\n    _target_: anon.training.objective.Term\n    weight: 1.0\n    loss:\n"
        "      _target_: mine_objective.Mine\n    of: [raw, distorted]\n  adversarial:\n"
        "    _target_: anon.training.objective.Term\n    weight: 1.0\n    loss:\n"
        "      _target_: anon.losses.adversarial.NonSaturating\n    of: [logits_raw]\n",
    ),
}
FEW = (*SMALL, "suite.resamples=20", "suite.far=0.05", "suite.max_eer=1", "data.clips=0")
ALONE = ("suite.tables.robustness=null", "suite.tables.identities=null", "judge=synthetic_b")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The files and the YAMLs ``mine`` of every group, outside of the checkout; gives the word of the search path."""
    (tmp_path / "code").mkdir()
    for group, (code, text) in PARTS.items():
        (tmp_path / "code" / f"mine_{group}.py").write_text(dedent(code))
        (tmp_path / "conf" / group).mkdir(parents=True)
        (tmp_path / "conf" / group / "mine.yaml").write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.setenv("ANON_CACHE", str(tmp_path / "cache"))
    yield f"hydra.searchpath=[file://{tmp_path / 'conf'}]"
    for group in PARTS:
        sys.modules.pop(f"mine_{group}", None)


def results(ended: Any) -> dict[str, Any]:
    assert ended.code == 0, ended.err
    content: dict[str, Any] = json.loads(Path(ended.out.splitlines()[-1]).read_text())
    return content


def test_a_table_of_ones_own_parts(evaluate: Command, own: str) -> None:
    """Method, attack, defense, input, measure, policy, judge and data, none of them named to the project before."""
    grid = "{methods: [mine, fiva], policies: [mine], inputs: [mine], defenses: [none, mine], attacks: [none, mine]}"
    table = (
        f"suite.tables.table1.grid=[{grid}]",
        "suite.tables.table1.measures=[retrieval,attacked,mine]",
    )
    found = results(evaluate(own, "suite=table1", "data=mine", "judge=mine", *table, *FEW))
    lines = {(line["method"], line["defense"], line["attack"]): line for line in found["lines"]}
    assert {key[0] for key in lines} == {"Rolled", "FIVA"} and {line["input"] for line in found["lines"]} == {"mine"}
    assert all(line["needs"] is None for line in found["lines"]), [line["needs"] for line in found["lines"]]
    assert lines["FIVA", "none", "none"]["policy"] == "mine" and lines["Rolled", "none", "none"]["policy"] == "none"
    assert lines["Rolled", "mine", "none"]["metrics"]["mine"]["value"] == pytest.approx(1.0, abs=1e-5)
    assert lines["Rolled", "none", "mine"]["metrics"]["RA"]["value"] is not None


def test_all_takes_what_the_groups_hold(evaluate: Command, own: str) -> None:
    """``filters`` and ``all`` of a table's grid have what lies in one's own folder."""
    words = (
        "suite.tables.table1.grid=[{methods: [filters], defenses: [jpeg]},"
        "{methods: [mine], defenses: [all, -pgd, -fgsm]}]",
        "suite.tables.table1.measures=[retrieval]",
    )
    found = results(evaluate(own, "suite=table1", "judge=synthetic_b", *words, *FEW))
    lines = [(line["method"], line["defense"]) for line in found["lines"]]
    assert (
        ("Rolled", "mine") in lines and ("Blur", "jpeg") in lines and not {"pgd", "fgsm"} & {each for _, each in lines}
    )


class Negative(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return -images


@pytest.mark.slow
def test_a_network_in_a_file(evaluate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``method=torchscript``: a line of the tables under the file's name, from the archive alone."""
    monkeypatch.setenv("ANON_CACHE", str(tmp_path / "cache"))
    torch.jit.script(Negative()).save(str(tmp_path / "mine.pt"))
    words = ("method=torchscript", f"method.anonymizer.file={tmp_path / 'mine.pt'}", *ALONE, *FEW)
    found = results(evaluate(*words, "suite.tables.table1.measures=[retrieval]"))
    assert "mine" in {line["method"] for line in found["lines"] if line["needs"] is None}


@pytest.mark.slow
def test_one_choice_serves_everywhere(train: Command, evaluate: Command, own: str) -> None:
    """``method=mine``: whom an attack learns, and what is evaluated with it; ``attack=mine`` beside it."""
    ended = train(own, "experiment=reconstruction", "method=mine", "steps=2", "data.batch_size=4", *SMALL)
    assert ended.code == 0, ended.err
    attack = folder_of(ended) / LAST
    tables = ("suite.tables.table1.measures=[retrieval,attacked]", *ALONE, *FEW)
    found = results(evaluate(own, "method=mine", "attack=reconstruction", f"attack.checkpoint={attack}", *tables))
    line = next(line for line in found["lines"] if line["attack"] == "given" and line["method"] == "Rolled")
    assert line["metrics"]["RA"]["value"] is not None and line["learned"] is None
    found = results(evaluate(own, "method=mine", "attack=mine", *tables))
    line = next(line for line in found["lines"] if line["attack"] == "given" and line["method"] == "Rolled")
    assert line["metrics"]["RA"]["value"] > 0.5  # rolled back


def test_a_generator_of_ones_own_is_trained_and_evaluated(
    train: Command, evaluate: Command, own: str, tmp_path: Path
) -> None:
    """Generator, loss and experiment; its checkpoint is built only where the command line trusts the package."""
    (tmp_path / "conf" / "experiment").mkdir()
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - shared/target_oriented\n  - override /generator: mine\n"
        "  - override /discriminator: fiva\n  - override /objective: mine\n  - _self_\nexperiment: mine\n"
        "model:\n  pairing:\n    _target_: anon.training.pairing.MixedPairs\n    share: 0.2\n"
    )
    ended = train(own, "experiment=mine", "steps=2", "data.batch_size=4", "trainer.log_every_n_steps=1", *SMALL)
    assert ended.code == 0, ended.err
    assert "mine" in (folder_of(ended) / "metrics.csv").read_text().splitlines()[0]
    words = ("suite.tables.table1.measures=[retrieval]", *ALONE, *FEW)
    refused = evaluate(own, "experiment=mine", *words)
    assert refused.code == 2 and "trust=" in refused.err
    found = results(evaluate(own, "experiment=mine", "trust=[mine_generator,mine_objective]", *words))
    assert ("Mine", "itm") in {(line["method"], line["policy"]) for line in found["lines"] if line["needs"] is None}


@pytest.mark.parametrize("place", ["nowhere", "file:///nowhere", "pkg://no_such_package"])
def test_a_search_path_that_is_not_there(evaluate: Command, place: str) -> None:
    """Hydra warns and goes on without it, so one's own choices were unknown for a reason that nobody read."""
    ended = evaluate(f"hydra.searchpath=[{place}]", "suite=table1")
    assert ended.code == 2 and ended.err.startswith("error: hydra.searchpath has ") and "not there" in ended.err
