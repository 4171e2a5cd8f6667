"""A panel of judges: each one's own figures, the worst case, what they have in common, and nothing drawn twice."""

from __future__ import annotations

import copy
import functools
import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import open_dict
from torch import nn

from anon.errors import UserError
from anon.evaluation.document import Document, as_json, from_json, read
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.panel import means_of, worst_of
from anon.evaluation.harness.run import run
from anon.evaluation.judges.judging import is_one
from anon.faces.learned import Learned, remember
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.identity.onnx import OnnxJudge
from tests.evaluation.harness.test_run import JUDGE, Built, attacks, config  # noqa: F401, a fixture
from tests.evaluation.tiny_world import Data, Negative, Other, encoder, judge

OTHER_JUDGE = 7
GRID = "[{methods: [real, checkpoint, pixel_noise], policies: [plain], attacks: [none, parrot]}]"
WORDS = ("suite.tables.robustness=null", "suite.tables.identities=null", "suite.grid_faces=0")
WORDS += (
    f"suite.tables.table1.grid={GRID}",
    "suite.methods.pixel_noise.anonymizer.sigma=1.0",
    "suite.tables.table1.measures=[retrieval,attacked,distance,temporal,encoder,picture]",
    "suite.tables.table1.columns={ID: {}, RA: {attack: parrot}, ssim: {}}",
)


FEW = ("suite.tables.robustness=null", "suite.tables.identities=null", "suite.grid_faces=0", "suite.resamples=10")
FEW += (
    "suite.tables.table1.grid=[{methods: [checkpoint], policies: [plain]}]",
    "suite.tables.table1.measures=[retrieval]",
    "suite.tables.table1.columns={ID: {}, ssim: {}}",
)


composed = functools.cache(lambda words: config(*words))  # composing takes longer than evaluating the few


def evaluate(
    output: Path, judges: Any, *words: str, generator: Any = None, by: Encoder | None = None, given: Any = None
) -> Document:
    """Of everything, or of the few ``words``."""
    cfg = copy.deepcopy(composed(words if words[1:] else (*WORDS, *words)))
    if given is not None:
        with open_dict(cfg):
            cfg.suite.threshold = given
    built = Built(Other() if generator is None else generator, encoder(0) if by is None else by)
    method = {"title": built.name, "policies": True, "anonymizer": built}
    return read(run(judges, Data(clips=2), cfg, output, methods={"checkpoint": method}))


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Document, Path]:
    folder = tmp_path_factory.mktemp("panel")
    words = (f"paths.cache={folder / 'cache'}",)
    return evaluate(folder / "run", [judge(JUDGE), judge(OTHER_JUDGE)], *words), folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Document, Path]]:
    found = []
    for seed in (JUDGE, OTHER_JUDGE):
        folder = tmp_path_factory.mktemp("alone")
        found.append((evaluate(folder / "run", judge(seed), f"paths.cache={folder / 'cache'}"), folder))
    return found


def names() -> list[str]:
    return [f"projection-{seed}" for seed in (JUDGE, OTHER_JUDGE)]


def test_each_judge_finds_what_it_finds_alone(together, alone) -> None:
    """Figures, intervals and counts are equal to the last digit; so are thresholds."""
    document = together[0]
    assert [len(line.by_judge) for line in document.lines] == [2] * 6
    for name, (single, _) in zip(names(), alone, strict=True):
        for line, own in zip(document.lines, single.lines, strict=True):
            judged = {metric: figure for metric, figure in own.metrics.items() if single.metrics[metric].by_judge}
            assert line.by_judge[name] == judged and "ID_projection-0" not in judged
            assert own.place == line.place and not own.by_judge and not own.worst and not own.lost
        (recognizer,) = (each for each in document.panel["fake"] if each.name == name)
        assert replace(recognizer, architecture=None, kin=()) == single.judges["fake"]
        assert recognizer.architecture == "Projection"


def test_the_worst_case_is_the_larger_with_its_own_interval(together) -> None:
    differing = 0
    for line in together[0].lines:
        for metric in ("ID", "ID_rank1", "ID_per_image", "RA", "RA_rank1"):
            if metric not in line.metrics:
                continue
            first, second = (line.by_judge[name][metric] for name in names())
            assert line.metrics[metric] == (second if second.number > first.number else first)
            assert line.worst[metric] == names()[second.number > first.number]
            differing += first.number != second.number
    assert differing > 2
    noise = next(line for line in together[0].lines if (line.method, line.attack) == ("Pixel noise", "none"))
    least = min(noise.by_judge[name]["deidentified"].number for name in names())  # here less is worse
    assert noise.metrics["deidentified"].number == least


def test_what_judges_measure_in_their_own_distances_is_the_firsts(together) -> None:
    (noise,) = (line for line in together[0].lines if (line.method, line.attack) == ("Pixel noise", "none"))
    first, second = (noise.by_judge[name] for name in names())
    for metric in ("target_distance", "l2", "M_tc_mu"):
        assert noise.metrics[metric] == first[metric] != second[metric] and metric not in noise.worst
    assert {"ssim", "psnr"} <= set(noise.metrics) and not {"ssim", "psnr"} & (set(first) | set(noise.worst))


def test_what_the_judges_have_in_common_is_printed(together) -> None:
    document, folder = together
    (pair,) = document.correlations
    z = [judge(seed).embed(Data(clips=2).faces("background").images) for seed in (JUDGE, OTHER_JUDGE)]
    assert (pair.data, pair.first, pair.second) == ("fake", *names()) and 0.0 < pair.value < 1.0
    assert len(z[0]) == len(z[1])
    text = (folder / "run" / "table.md").read_text()
    assert "## The judges" in text and "impostor scores correlate with projection-7" in text
    assert f"{pair.value:.3f}".lstrip("0") in text and "### By judge" in text
    assert any("projection-24301 and projection-7 are both a Projection" in note for note in document.notes)
    page = (folder / "run" / "report.html").read_text()
    assert "The judges" in page and "By judge" in page


def test_nothing_is_drawn_twice(together, alone) -> None:
    """Pictures, comparisons and what the parrot enrols are those of one judge; embeddings and figures are of both."""

    def kept(folder: Path) -> Counter[str]:
        return Counter(path.parent.name for path in (folder / "cache" / "evaluation").rglob("*.safetensors"))

    both, (first, second) = kept(together[1]), (kept(folder) for _, folder in alone)
    kinds = set(both) - {"embeddings", "figures"}
    assert {"changed", "enrolled", "comparisons", "identities"} <= kinds
    assert {kind: both[kind] for kind in kinds} == {kind: first[kind] for kind in kinds}
    assert {kind: both[kind] for kind in kinds} == {kind: second[kind] for kind in kinds}
    assert first["embeddings"] < both["embeddings"] < first["embeddings"] + second["embeddings"]


def test_one_judge_in_a_list_is_one_judge(tmp_path, alone) -> None:
    listed = evaluate(tmp_path / "listed", [judge(JUDGE)])
    single = replace(alone[0][0], made={})
    assert replace(listed, made={}) == single
    assert (single.panel, single.correlations) == ({}, ()) and "By judge" not in as_json(single)
    for file in ("table.md", "table.csv", "tables.tex", "report.html"):
        text = (alone[0][1] / "run" / file).read_text().lower()
        assert "by judge" not in text and "the judges" not in text


def test_a_document_of_a_panel_is_read_as_it_was_written(together) -> None:
    document = together[0]
    assert from_json(as_json(document)) == document
    assert all(figure.draws is figure.each is None for line in document.lines for figure in line.told.values())


def test_the_worst_of_figures_by_hand() -> None:
    infos = {
        "ID": share("ID", "privacy", False),
        "EER": share("EER", "privacy", True),
        "rate": share("rate", "privacy", None),
        "far": MetricInfo("far", "privacy", True, low=0.0, high=2.0),
        "seen_<who>": share("seen by <who>", "privacy", False),
    }
    one = {"ID": Estimate(0.25), "EER": Estimate(0.5), "rate": Estimate(0.1), "far": Estimate(0.3)}
    two = {"ID": Estimate(0.75, 0.5, 1.0), "EER": Estimate(0.4), "rate": Estimate(0.2), "far": Estimate(0.2)}
    three = {"ID": Estimate.absent("n/a"), "EER": Estimate(float("nan")), "seen_b": Estimate(0.5)}
    figures, worst = worst_of({"a": one, "b": two, "c": three}, infos)
    assert figures == {"ID": two["ID"], "EER": two["EER"], "seen_b": three["seen_b"]}
    assert worst == {"ID": "b", "EER": "b", "seen_b": "c"}
    twins = worst_of({"a": {"ID": Estimate(0.5, 0.4, 0.6)}, "b": {"ID": Estimate(0.5, 0.3, 0.7)}}, infos)
    assert twins[1] == {"ID": "a"}


class Fails(nn.Module):
    """A judge that gives no numbers of faces in one colour."""

    def __init__(self, inner: Judge) -> None:
        super().__init__()
        self.inner, self.metric, self.threshold = inner, "cosine", None
        self.name, self.fingerprint = "fails", inner.fingerprint

    def embed(self, images):
        flat = images.flatten(1).std(1, keepdim=True) < 1e-3
        return torch.where(flat, torch.nan, self.inner.embed(images))


def test_a_judge_who_fails_is_told_and_its_line_has_no_rank(tmp_path) -> None:
    words = (*FEW, "suite.tables.table1.grid=[{methods: [real, solid, pixel_noise]}]")
    document = evaluate(tmp_path, [judge(JUDGE), Fails(judge(OTHER_JUDGE))], *words)
    lines = {line.method: line for line in document.lines}
    solid = lines["Solid mask"]
    assert solid.needs is None and set(solid.by_judge) == {names()[0]}
    assert solid.lost == {"fails": "failed: The recognizer 'fails' gave embeddings with NaN or infinite numbers."}
    assert solid.metrics["ID"] == solid.by_judge[names()[0]]["ID"] and not lines["Pixel noise"].lost
    page = (tmp_path / "report.html").read_text()
    assert "the judge fails failed on Solid mask" in page and "not tried: the judge fails" in page
    assert "gave embeddings with NaN" in (tmp_path / "table.md").read_text()
    first = evaluate(tmp_path / "first", [Fails(judge(OTHER_JUDGE)), judge(JUDGE)], *words)
    (failed,) = (line for line in first.lines if line.method == "Solid mask")  # then the whole line does
    assert str(failed.needs).startswith("failed: ") and not failed.metrics and not failed.by_judge


def refusal(output: Path, judges: Any, *words: str, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        evaluate(output, judges, *FEW, *words, **options)
    assert not output.exists() or not list(output.iterdir())
    return str(caught.value)


def test_who_may_not_judge_beside_another(tmp_path) -> None:
    first, trained = judge(JUDGE), "The judge 'projection-0' is the encoder that FIVA was trained with"
    assert refusal(tmp_path, [first, judge(0)]).startswith(trained)
    assert "are one network" in refusal(tmp_path, [first, Judge(Encoder(first.encoder.backbone, 16, name="copy"))])
    assert "Two judges are called 'projection-24301'" in refusal(tmp_path, [first, judge(JUDGE)])
    assert "needs a judge" in refusal(tmp_path, [])


def test_the_second_judge_is_none_that_an_attack_learned_from(tmp_path) -> None:
    attack = ("attack=reconstruction", f"attack.checkpoint='-1@{OTHER_JUDGE}'")
    grid = "suite.tables.table1.grid=[{methods: [checkpoint], policies: [plain], attacks: [given]}]"
    told = refusal(tmp_path, [judge(JUDGE), judge(OTHER_JUDGE)], grid, *attack)
    assert told.startswith("The attack was trained with the judge 'projection-7'")


def small(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 5, 4), nn.ReLU(), nn.Conv2d(8, 16, 5, 4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(64)
    ).eval()
    network(torch.zeros(1, 3, 112, 112))
    network.dim = 64
    return network


def test_an_export_of_the_encoder_is_refused_as_the_second_judge(tmp_path) -> None:
    network, file = small(0), tmp_path / "net.onnx"
    torch.onnx.export(
        network, (torch.zeros(1, 3, 112, 112),), str(file), dynamo=False,
        input_names=["x"], output_names=["z"], dynamic_axes={"x": {0: "n"}, "z": {0: "n"}},
    )  # fmt: skip
    by = Encoder(network, 112, name="net")
    told = refusal(tmp_path / "out", [judge(JUDGE), OnnxJudge(str(file))], generator=Negative(), by=by)
    assert told.startswith("The judge 'net' is the encoder that FIVA was trained with")


def test_a_network_that_went_on_learning_is_the_one_that_it_was() -> None:
    """Fine-tuned, 30 steps of Adam, until its embeddings are others; its weights still tell."""
    network, tuned = small(0), small(0)
    rng = torch.Generator().manual_seed(0)
    images, labels = torch.rand(32, 3, 112, 112, generator=rng) * 2 - 1, torch.randint(8, (32,), generator=rng)
    head = nn.Linear(64, 8)
    steps = torch.optim.Adam([*tuned.parameters(), *head.parameters()], lr=3e-4)
    for _ in range(30):
        steps.zero_grad()
        nn.functional.cross_entropy(head(tuned(images)), labels).backward()
        steps.step()
    before, after = (nn.functional.normalize(each(images)).detach() for each in (network, tuned))
    assert float((before * after).sum(1).mean()) < 0.7
    for judged, trained in itertools.permutations((network, tuned)):
        assert is_one(Judge(Encoder(judged, 112, name="a")), Encoder(trained, 112, name="b"))
    assert not is_one(Judge(Encoder(small(1), 112, name="a")), Encoder(network, 112, name="b"))


def test_thresholds_that_are_given_say_whose_they_are(tmp_path) -> None:
    both = [judge(JUDGE), judge(OTHER_JUDGE)]
    told = "suite.threshold=0.4 says not which of the 2 judges it is of; write one for each"
    assert refusal(tmp_path, both, given=0.4).startswith(told)
    assert "says none of 'projection-7'; it needs a threshold for each" in refusal(
        tmp_path, both, given={names()[0]: 1}
    )
    every = {names()[0]: 0.4, names()[1]: 0.5, "nobody": 0.5}
    assert "names 'nobody'; it needs" in refusal(tmp_path, both, given=every)


def test_a_number_of_one_and_the_results_of_both(tmp_path, together) -> None:
    given = {names()[0]: 0.3, names()[1]: str(together[1] / "run")}
    words = (*FEW, "suite.max_eer=1", "suite.resamples=100")
    document = evaluate(tmp_path, [judge(JUDGE), judge(OTHER_JUDGE)], *words, given=given)
    first, second = document.panel["fake"]
    assert first.threshold == 0.3 and first.source == "given and taken as exact"
    assert second.threshold == together[0].panel["fake"][1].threshold and str(second.source).startswith(
        "taken from fake"
    )
    told = [note for note in document.notes if note.startswith("The threshold of ")]
    assert [name in note for name, note in zip(names(), told, strict=True)] == [True, True]


def taught(seed: int, people: list[str]) -> Encoder:
    made = encoder(seed)
    remember(made.backbone, Learned.of(people, synthetic=True))
    return made


def test_who_learned_from_the_same_people_is_named(tmp_path) -> None:
    """Each checkpoint has a salt of its own, so they are compared by the training people of the data."""
    own, others = ["train-0", "train-1"], ["somebody", "else"]
    by, kin, stranger = taught(0, own), Judge(taught(JUDGE, own), flip=False), Judge(taught(7, others), flip=False)
    document = evaluate(tmp_path / "a", [kin, stranger], *FEW, by=by)
    assert "The judge projection-24301 learned from the same people as the encoder of FIVA." in document.notes
    assert not any("independent judge" in note for note in document.notes)
    assert [judge.kin for judge in document.panel["fake"]] == [("FIVA",), ()]
    single = evaluate(tmp_path / "b", kin, *FEW, by=by)
    assert any(note.startswith("The judge projection-24301 learned from the same people as") for note in single.notes)
    assert any("have no independent judge" in note for note in single.notes)
    both = evaluate(tmp_path / "c", [kin, Judge(taught(7, own), flip=False)], *FEW, by=by)
    assert any(note.startswith("Each of the 2 judges learned from the same people") for note in both.notes)
    assert any("projection-24301 and projection-7 learned from the same people" in note for note in both.notes)


def test_a_mean_over_judges_needs_all_of_them() -> None:
    described = {"PSR_mean": replace(share("mean", "privacy", True, judged=False), mean_of="PSR")}
    own: dict[str, dict[str, Estimate]] = {
        "a": {"PSR": Estimate(0.5, 0.4, 0.6, n=8)},
        "b": {"PSR": Estimate(0.9, 0.7, 1.0, n=6)},
        "c": {},
    }
    assert means_of({}, described) == means_of({"c": {}}, described) == {}
    assert means_of(own, described)["PSR_mean"].reason == "n/a (only 2 of 3 judges have one)"
    del own["c"]
    found = means_of(own, described)["PSR_mean"]
    assert (found.value, found.low, found.high, found.n) == pytest.approx((0.7, 0.55, 0.8, 6))
