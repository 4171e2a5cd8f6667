"""A judge of raw vectors and Euclidean distances, as dlib's is, in every table.

The kind: "every judge compares directions", which cosines, normalized averages and turned-round vectors took for given.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from anon.attacks.linear import Linear, Pairs
from anon.errors import UserError
from anon.evaluation.document import Document, read
from anon.evaluation.harness.context import PUBLISHED, TARGET, MeasureContext
from anon.evaluation.harness.pictures import Originals
from anon.evaluation.harness.run import run
from anon.evaluation.harness.suite import Combination
from anon.evaluation.intervals.bootstrap import Bootstrap
from anon.evaluation.judges.gallery import templates
from anon.evaluation.judges.pairs import scale_of
from anon.evaluation.measures.distance import TargetDistance
from anon.evaluation.measures.pairs import score_pairs
from anon.evaluation.measures.retrieval import Retrieval
from anon.faces.collections.pairs import Pairs as Verified
from anon.faces.contract import in_eight_bits
from anon.identity.policies import average
from anon.metrics.retrieval import nearest, retrieval_distances
from anon.metrics.temporal import temporal_consistency
from tests.evaluation.harness.test_run import JUDGE, Built, attacks, config  # noqa: F401, a fixture
from tests.evaluation.harness.tiny_stages import stages
from tests.evaluation.tiny_world import Data, Negative, Other, Projection, encoder, judge


class Raw:
    """A projection whose vectors keep their lengths."""

    name, metric, threshold = "raw", "euclidean", None

    def __init__(self, seed: int = 11) -> None:
        self.network, self.fingerprint = Projection(seed), f"raw-{seed}"

    @torch.no_grad()
    def embed(self, images):
        return self.network(torch.nn.functional.interpolate(images, (16, 16))) * 0.05


def evaluate(output, judges, *words, generator=None, name="checkpoint") -> Document:
    cfg = config(*words)
    built = Built(Other() if generator is None else generator, encoder(0))
    method = {"title": built.name, "policies": True, "anonymizer": built}
    return read(run(judges, Data(clips=2), cfg, output, methods={name: method}))


def test_averages_and_neighbours_of_raw_vectors_by_hand() -> None:
    """People at 1 and 4 on a ray: their mean stays where it is, and the cosine could not tell them apart."""
    z, people = torch.tensor([[0.5, 0.0], [1.5, 0.0], [3.0, 0.0], [5.0, 0.0]]), torch.tensor([7, 7, 8, 8])
    assert average(z, people, "euclidean")[0].tolist() == [[1.0, 0.0], [4.0, 0.0]]
    clips = templates(z, torch.tensor([7, 7, 7, 7]), torch.tensor([-1, 0, 0, 0]), "euclidean")
    assert clips[0][0].tolist() == pytest.approx([(0.5 + 9.5 / 3) / 2, 0.0])  # a clip weighs as much as one still
    entries, owners = average(z, people, "euclidean")
    distance, place = nearest(torch.tensor([[2.0, 0.0], [3.0, 0.0]]), entries, metric="euclidean")
    assert distance.tolist() == [1.0, 1.0] and place.tolist() == [0, 1]
    found = retrieval_distances(torch.tensor([[2.0, 0.0]]), torch.tensor([8]), entries, owners, metric="euclidean")
    assert found.tolist() == [math.inf]
    mu, sigma = temporal_consistency(torch.tensor([[[0.0, 0.0], [3.0, 4.0]]]), "euclidean")
    assert (mu.tolist(), sigma.tolist()) == ([2.5], [2.5])


def test_figures_of_an_evaluation_by_hand() -> None:
    """ID, the threshold and de-identification of noise, from the embeddings alone."""
    made = stages(judge=Raw(), attacked_probes=1)
    context = MeasureContext(made, Combination("default", "noise"))
    people, by = made.subjects("default"), made.judge
    gallery = context.gallery
    raw = Raw()
    enrolled = people.enrolled.faces.images[people.enrolled.indices]
    z = raw.embed(in_eight_bits(enrolled))
    assert gallery.metric == "euclidean" and float(z.norm(dim=1).max()) > 1.5
    torch.testing.assert_close(gallery.pictures, z, atol=1e-4, rtol=1e-4)
    first = int(gallery.people[0])
    own = people.enrolled.labels == first
    stills = z[own & (people.enrolled.videos < 0)]
    videos = people.enrolled.videos
    clips = [z[own & (videos == clip)].mean(0) for clip in videos[own].unique() if clip >= 0]
    by_hand = torch.stack([*stills, *clips]).mean(0)
    torch.testing.assert_close(gallery.averages[0], by_hand, atol=1e-4, rtol=1e-4)

    group, roles = people.background, people.calibrating
    known = made.z(Originals(group), by)
    entries, owners = templates(known[roles.enrol], group.labels[roles.enrol], group.videos[roles.enrol], "euclidean")
    apart = (known[roles.probe][:, None] - entries[None]).norm(dim=2)
    strangers = apart[group.labels[roles.probe][:, None] != owners[None]].sort().values
    wrong = math.floor(made.suite.far * len(strangers))
    assert gallery.threshold == pytest.approx(float(strangers[wrong]), rel=1e-5)

    seen = context.z(PUBLISHED)
    away = (seen[:, None] - gallery.averages[None]).norm(dim=2)
    value, place = away.min(1)
    hits = (gallery.people[place] == context.labels) & (value < gallery.threshold)
    figures = Retrieval()(context)
    assert figures["ID"].value == pytest.approx(float(hits.double().mean()))
    assert figures["negID"].reason == figures["negID_rank1"].reason == "n/a (no direction)"
    moved = (seen - context.z(TARGET)).norm(dim=1)
    distances = TargetDistance()(context)
    assert distances["target_distance"].value == distances["l2"].value == pytest.approx(float(moved.mean()), rel=1e-5)
    assert distances["deidentified"].value == pytest.approx(float((moved > context.threshold).double().mean()))


GRID = (
    "suite.tables.table1.grid=[{methods: [real, checkpoint, pixel_noise], policies: [plain], "
    "attacks: [none, negation, linear, parrot]}, {methods: [checkpoint], policies: [itm], defenses: [none, jpeg]}]"
)


MEASURES = "[retrieval,attacked,distance,verification,temporal,attributes,picture,distribution,identities,pairs]"
NAMES = (f"projection-{JUDGE}", "raw")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Document, Document, Path]:
    """Beside another judge, and alone with its folder."""
    folder = tmp_path_factory.mktemp("euclidean")
    words = (GRID, f"suite.tables.table1.measures={MEASURES}", "suite.tables.robustness=null", "suite.resamples=20")
    words += ("suite.tables.identities=null", f"paths.cache={folder / 'cache'}")
    both = evaluate(folder / "both", [judge(JUDGE), Raw()], *words)
    return both, evaluate(folder / "alone", Raw(), *words), folder / "alone"


def test_it_takes_part_in_every_table_beside_another(runs) -> None:
    """All measures: no line fails, and what it has no word for says so."""
    document = runs[0]
    assert [line.needs for line in document.lines] == [None] * len(document.lines)
    assert not any(line.lost for line in document.lines)
    for line in document.lines:
        raw = line.by_judge["raw"]
        if line.attack == "negation":
            assert {figure.reason for figure in raw.values()} == {"n/a (no direction)"}
            assert set(line.worst.values()) == {NAMES[0]}
        elif line.attack == "none":
            assert raw["ID"].value is not None and raw["negID"].reason == "n/a (no direction)"
            assert line.worst["negID"] == NAMES[0] and raw["EER"].value is not None
        else:
            assert raw["RA"].value is not None
    assert (document.lines[0].method, document.lines[0].by_judge["raw"]["ID"].value) == ("Real", 1.0)
    assert [judge.metric for judge in document.panel["fake"]] == ["cosine", "euclidean"]


def test_alone_it_finds_the_same(runs) -> None:
    document, alone, folder = runs
    first = {line.place: line for line in document.lines}
    for line in alone.lines:
        own = first[line.place].by_judge["raw"]
        if line.attack == "negation":
            assert line.needs == "n/a (no direction)"
        else:
            assert {name: line.metrics[name] for name in own} == own
    assert alone.histograms[0].distance == "Euclidean distance"
    assert "Mean Euclidean distance of the judge" in (folder / "report.html").read_text()
    assert all("the judge's Euclidean distance" in caption for caption in alone.pictures.values())


def test_swaps_and_changed_faces(tmp_path) -> None:
    words = ("suite=swap", "suite.tables.table4.measures=[swap,distribution]", "suite.grid_faces=0")
    found = next(line for line in evaluate(tmp_path / "swap", Raw(), *words).lines if line.policy == "source").metrics
    assert found["swap_ID"].value is not None and found["cosine_source"].reason == "n/a (no direction)"
    grid = "suite.tables.table1.grid=[{methods: [checkpoint], policies: [plain], attacks: [given]}]"
    attack = ("attack=reconstruction", "attack.checkpoint='-1'", "suite.tables.robustness=null", "suite.grid_faces=0")
    words = (grid, *attack, "suite.tables.table1.measures=[attacked,change_detection]")
    document = evaluate(tmp_path / "moved", Raw(), *words, generator=Negative())
    (line,) = (line for line in document.lines if line.attack == "given")
    assert line.metrics["RA"].value == 1.0 and line.metrics["cosine_recovered"].reason == "n/a (no direction)"
    assert line.metrics["detection_AUC"].value is not None


def test_a_threshold_of_it_may_be_any_distance(tmp_path) -> None:
    grid = "suite.tables.table1.grid=[{methods: [real]}]"
    words = (grid, "suite.tables.robustness=null", "suite.tables.identities=null", "suite.grid_faces=0")
    words += ("suite.tables.table1.measures=[retrieval]", "suite.resamples=20")
    first = evaluate(tmp_path / "first", Raw(), *words)
    limit = first.judges["fake"].threshold
    assert limit > 2  # no cosine distance
    again = evaluate(tmp_path / "again", Raw(), *words, f"suite.threshold={tmp_path / 'first'}")
    assert again.judges["fake"].threshold == limit
    with pytest.raises(UserError, match="is no Euclidean distance above 0"):
        evaluate(tmp_path / "none", Raw(), *words, "suite.threshold=-1")


def test_pairs_of_raw_vectors() -> None:
    """Squared L2 goes to insightface's accuracy as it is: matched pairs at 0, mismatched ones at 1.5."""
    count = 8
    first, second = torch.arange(0, 2 * count), torch.arange(2 * count, 4 * count)
    same = torch.arange(2 * count) % 2 == 0
    real = torch.zeros(4 * count, 2)
    real[first, 0] = torch.arange(2 * count) * 10.0
    real[second] = real[first]
    real[second[~same], 1] = 1.5
    people = torch.stack([torch.arange(2 * count), torch.arange(2 * count) + 100 * (~same)], 1)
    pairs = Verified(first, second, people, torch.arange(2 * count) // count, "made up")
    scale = scale_of(pairs, real, 0.5, Bootstrap(people.flatten(), 20, 0), "euclidean")
    found = score_pairs(real, scale)
    assert (found["accuracy"].value, found["TPR"].value) == (1.0, 1.0)


def test_a_matrix_on_raw_vectors_keeps_their_lengths() -> None:
    """Changed vectors are twice the originals: the matrix halves them, and a unit length would have been wrong."""
    original = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)) * 4
    people = torch.arange(40) // 4
    attack = Linear(lambda: Pairs(2 * original, original, people, "euclidean"), ridge=0.0)
    torch.testing.assert_close(attack.probe(2 * original[:5]), original[:5], atol=1e-4, rtol=1e-4)
