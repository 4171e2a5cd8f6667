"""Every measure describes the figures that it gives, all of them and no others; which way each is better, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from anon.errors import UserError
from anon.evaluation.document import Column
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, check_described, info_of, metrics_of, share
from anon.evaluation.document.schema_2 import MEASURES
from anon.evaluation.harness.context import MeasureContext
from anon.evaluation.harness.documents import of_all
from anon.evaluation.harness.run import descriptions
from anon.evaluation.harness.suite import Combination, Plan
from anon.evaluation.measures.attribute_path import AttributePath
from anon.evaluation.measures.averaged import Averaged
from anon.evaluation.measures.clip_recovery import ClipRecovery
from anon.evaluation.measures.cost import Cost
from anon.evaluation.measures.couple import Couple
from anon.evaluation.measures.groups import Groups
from anon.evaluation.measures.hifd import Hifd
from anon.evaluation.measures.keys import Keys
from anon.evaluation.measures.look import Look
from anon.evaluation.measures.monotone import Monotone
from anon.evaluation.measures.pairs import Pairs
from anon.evaluation.measures.poisoned import Poisoned
from anon.evaluation.measures.pulse import Pulse
from anon.evaluation.measures.purified import PurifiedRetrieval
from anon.evaluation.measures.spectrum import Spectrum
from anon.faces.contract import Label
from anon.faces.couple import TwoPeople
from anon.faces.datamodule import FaceData
from anon.faces.detection.contract import Detections
from tests.evaluation import tiny_world
from tests.evaluation.described import METRICS
from tests.evaluation.harness.test_run import attacks, evaluate  # noqa: F401
from tests.evaluation.harness.tiny_stages import settings, stages
from tests.evaluation.measures.test_all import CELLS, FILES
from tests.evaluation.measures.test_pulse import shown_pulse

HERE = "tests.evaluation.measures.test_described"


class Middle:
    """Finds the same box in every frame."""

    name, has_points = "middle", False

    def detect_batch(self, frames):
        return [self.detect(frame) for frame in frames]

    def detect(self, frame):
        return Detections(torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.full((1, 5, 2), torch.nan), torch.ones(1))


class Swapped(torch.nn.Module):
    """Reversible: the key says nothing, and everything comes back."""

    def forward(self, images, *, key=None):
        return images.flip(-1)

    def recover(self, images, key):
        return images.flip(-1)


class SwappedClips(Swapped):
    """The same, of clips, which come back a little darker, so that every figure is finite."""

    temporal = reversible = True

    def forward(self, images, *, key=None, track=None):
        return images.flip(-1)

    def recover(self, images, key, track=None):
        return images.flip(-1) * 0.98

    def reset(self) -> None:
        """There is nothing to forget."""


def two_people():
    """Of a tiny world, with pictures enough to be divided."""
    crowd = FaceData(lambda split: tiny_world.People(split, 3, stills=24), "fake", 16, True, 4)
    return TwoPeople(crowd, "evaluation-0", "evaluation-1")


class Labelled(tiny_world.Data):
    """Every other picture is of one group; the least that a group needs is what tests of the measure look at."""

    def __init__(self) -> None:
        super().__init__(clips=2)
        for faces in self.sets.values():
            halves = Label(torch.arange(len(faces)) % 2, ("even", "odd"))
            faces.annotations = lambda halves=halves: {"half": halves}


SAMPLING = {"_target_": "anon.identity.policies.AnchorSampling", "_partial_": True, "m": 0.5, "mirrored": None}
ROTATION = {"_target_": "anon.identity.rotation.KeyedRotation", "_partial_": True, "rank": None}
DIAL = {"_target_": "anon.identity.policies.AtDistance", "distance": None, "degree": 1.0}
DIAL |= {"policy": {"_target_": "anon.identity.policies.Negation"}}
MORE = {
    "swept": {"method": "other", "policy": "dialled", "dial": 1.0, "turns": "policy.degree"},
    "keyed": {"method": "other", "policy": "rotation"},
    "reversible": {"method": "reversible"},
    "sampling": {"method": "other", "policy": "sampling"},
    "clips": {"method": "clips"},
    "mapped": {"method": "mapped", "policy": "plain"},
}


def _of(name):
    """Its configuration."""
    (file,) = (file for file in FILES if file.stem == name)
    return OmegaConf.create({"lpips": None, "m": OmegaConf.load(file)}).m


@pytest.fixture(scope="module")
def given():
    """By measure: its descriptions, and its figures on every kind of context, with and without a detector."""
    methods = settings()["methods"] | {
        "reversible": {"title": "Reversible", "anonymizer": {"_target_": f"{HERE}.Swapped"}},
        "clips": {"title": "Clips", "temporal": True, "anonymizer": {"_target_": f"{HERE}.SwappedClips"}},
        "mapped": {"title": "Mapped", "policies": True, "anonymizer": tiny_world.mapped("copy")},
    }
    policies = settings()["policies"] | {"sampling": SAMPLING, "rotation": ROTATION, "dialled": DIAL}
    made, seeing = (stages(methods=methods, policies=policies) for _ in range(2))
    seeing.readers = seeing.readers._replace(detectors={"middle": Middle()}, detector_keys={"middle": "middle"})
    contexts = [
        MeasureContext(one, Combination(data="default", **what)) for one in (made, seeing) for what in CELLS.values()
    ]
    contexts += [MeasureContext(made, Combination(data="default", **what)) for what in MORE.values()]
    labelled, kinds = stages(data=Labelled()), ("generator with clips", "defended and attacked")
    contexts += [MeasureContext(labelled, Combination(data="default", **CELLS[kind])) for kind in kinds]
    own = {"attack": {"_target_": "tests.evaluation.measures.test_patterns.own_recognizer", "minutes": 9.5}}
    tuned = stages(attacks={"tuned": own}, max_eer=1.0)
    contexts.append(MeasureContext(tuned, Combination(data="default", method="pixelate", attack="tuned")))
    measures = {file.stem: instantiate(_of(file.stem)) for file in FILES}
    found = {name: [measure(context) for context in contexts] for name, measure in measures.items()}
    pair = stages(data=two_people())
    found["couple"] += [
        measures["couple"](MeasureContext(pair, Combination(data="default", method=method)))
        for method in ("real", "pixelate")
    ]
    found["pulse"] += [measures["pulse"](shown_pulse(clips)) for clips in (True, False)]
    return {name: (measure.metrics, found[name]) for name, measure in measures.items()}


@pytest.mark.parametrize("name", [file.stem for file in FILES])
def test_what_is_described_is_what_is_given(given, name):
    """Both ways: no figure without its description, and no description without a figure."""
    metrics, found = given[name]
    names = {figure for figures in found for figure in figures}
    assert {figure for figure in names if info_of(metrics, figure) is None} == set()
    used = {pattern for pattern in metrics for figure in names if info_of({pattern: metrics[pattern]}, figure)}
    used |= {name for name, info in metrics.items() if info.mean_of}  # a panel gives it
    assert used == set(metrics)


@pytest.mark.parametrize("name", [file.stem for file in FILES])
def test_ranges_hold(given, name):
    metrics, found = given[name]
    for figures in found:
        for metric, figure in figures.items():
            info = info_of(metrics, metric)
            for value in (figure.value, figure.low, figure.high):
                assert value is None or info.low is None or value >= info.low - 1e-5, (metric, value)
                assert value is None or info.high is None or value <= info.high + 1e-5, (metric, value)


LATER = (
    AttributePath,
    Pairs,
    Averaged,
    ClipRecovery,
    Cost,
    Couple,
    Groups,
    Hifd,
    Keys,
    Monotone,
    PurifiedRetrieval,
    Look,
    Spectrum,
    Poisoned,
    Pulse,
)


def test_older_results_know_every_shipped_measure():
    """All but those that came with schema 3."""
    assert {type(instantiate(_of(file.stem))) for file in FILES} == {*MEASURES, *LATER}


LOWER = "ID negID RA ID_rank1 RA_rank5 ID_<encoder> MRR TAR ssim_recovered shared_identity several_identities"
LOWER += " TAR_far0.01 TAR_far0.0001 verification_accuracy best_accuracy"
LOWER += " extreme_anchor TPR TPR_own ID_pairs accuracy VAL"
LOWER += " M_tc_mu M_tc_sigma identity_invariance pose pose_error gaze_ratio landmarks_error shape_distance age_error"
LOWER += " milliseconds parameters peak_memory pulse_error_POS pulse_error_CHROM"
LOWER += " action_units_rmse difference lpips FID FID_judge KID_judge niqe confidence_drop box_distance_<detector>"
LOWER += " swap_ID_target cosine_target C_swapped_swapped mean_l2_source_changed area_cosine_stranger_to_source"
LOWER += " recovery_right_mae recovery_wrong_verified recovery_changed_match swap_expression_t2c"
HIGHER = "look_moved diversity hifd_P hifd_U1 hifd_balanced PSR PSR_mean ssim:<group>"
HIGHER += " distance_spearman EER deidentified target_distance l1 ssim psnr detected detected_<detector> age_agreement"
HIGHER += " gender_agreement action_units_pcc swap_ID cosine_source C_swapped_original mean_cosine_target_changed"
HIGHER += " area_l1_stranger_to_target recovery_right_psnr recovery_wrong_distance swap_landmarks_closer"
HIGHER += " pair_swapped_original pair_nearer_donor pair_PCC pair_PCC_mouth"
LOWER += " path_ID path_rank1 path_ID_<side> path_rank1_<side>"
LOWER += " pair_swapped_swapped pair_RMSE pair_RMSE_blink"
HIGHER += " pulse_snr_POS pulse_snr_CHROM clip_right_CSIM clip_right_verified clip_right_match clip_right_PSNR"
HIGHER += " purified_PSR purified_PSR_<name> PSR_<encoder> poisoned_PSR"
LOWER += " guess_verified guess_any short_found short_key linked_same linked_apart known_1 known_64"
LOWER += " purified_ID purified_ID_<name> change_hf hf_ratio poisoned_ID"
LOWER += " clip_CSIM clip_verified clip_wrong_CSIM clip_wrong_verified clip_wrong_match clip_right_MAE clip_right_M_tc"
LOWER += " ID:<group> RA:<group> ID_gap:<label> ssim_gap:<label> pose_error:<group>"
NEITHER = "guess_seconds kdf_seconds defense_ssim defense_feature_distance AUC FPIR TAR_unchanged"
NEITHER += " detection_AUC detection_EER flagged_changed threshold_adversary EER_adversary recalibrated wanted_cosine"
NEITHER += " path_chance"
NEITHER += " pair_original_original pair_swapped_original_std"
NEITHER += " look_floor faces_hf attack_minutes"
NEITHER += " FPR VAL_FAR achieved_cosine C_original_original C_swapped_original_std area_l2_midway recovery_wrong_ssim"


def test_directions_are_the_anonymizers():
    ways = {name: info.higher_is_better for name, info in METRICS.items()}
    for names, way in ((LOWER, False), (HIGHER, True), (NEITHER, None)):
        assert {name: ways[name] for name in names.split()} == dict.fromkeys(names.split(), way)
    identifies = {name for name, info in METRICS.items() if info.identifies}
    assert identifies == {"ID", "negID", "RA", "ID_per_image", "ID_pairs", "purified_ID"}
    assert {METRICS[name].kind for name in ("TAR", "deidentified", "swap_ID", "MRR", "C_swapped_original")} == {
        "privacy"
    }
    assert {METRICS[name].kind for name in ("pose_error", "detected", "M_tc_mu", "shape_distance")} == {"utility"}
    assert {METRICS[name].kind for name in ("ssim", "FID", "niqe")} == {"quality"}
    assert {METRICS[name].kind for name in ("defense_ssim", "milliseconds", "parameters", "peak_memory")} == {"cost"}
    assert [METRICS[name].unit for name in ("pose_error", "gaze", "gaze_ratio", "landmarks", "psnr", "ID")] == [
        *("°", "°", "", "px", "dB", "")
    ]


def test_titles_are_unlike():
    titles = [info.title for info in METRICS.values()]
    assert len(titles) == len(set(titles))


def test_a_name_that_only_the_run_knows():
    metrics = {"a_<x>_b": share("a by <x>", "utility", True), "a_1_b": share("own", "cost", None)}
    assert info_of(metrics, "a_yunet_2_b") == share("a by yunet_2", "utility", True)
    assert info_of(metrics, "a_1_b").title == "own"
    assert info_of(metrics, "a__b") is info_of(metrics, "a_b") is info_of(metrics, "xa_1_b") is None


class Undescribed:
    """Gives ``brightness``, and says nothing or something else of itself."""

    def __init__(self, metrics=None) -> None:
        if metrics is not None:
            self.metrics = {name: MetricInfo(name, "quality") for name in metrics}

    def __call__(self, context):
        return {"brightness": Estimate(0.5, n=1)}


def plain(context):
    return {"brightness": Estimate(0.5, n=1)}


def small(tmp_path, *words):
    grid = "suite.tables.table1.grid=[{methods: [real]}]"
    rest = ("suite.tables.robustness=null", "suite.tables.identities=null")
    return evaluate(tmp_path, grid, "suite.tables.table1.measures=[retrieval,mine]", *rest, *words)


SAYS = f"{{_target_: {HERE}.Undescribed, metrics: "


@pytest.mark.parametrize(
    ("measure", "told"),
    [
        (f"{{_target_: {HERE}.Undescribed}}", r"measures\.mine does not describe its figures; give it metrics = "),
        (
            f"{{_target_: {HERE}.plain, _partial_: true}}",
            r"mine does not describe its figures; .*MetricInfo\('<title>'",
        ),
        (f"{SAYS}[light]}}", "columns shows 'brightness', which no measure gives"),
        (f"{SAYS}[brightness, ID]}}", "measures.retrieval and .* describe 'ID' differently"),
    ],
)
def test_a_measure_that_does_not_describe_itself(tmp_path, measure, told):
    with pytest.raises(UserError, match=told):
        small(tmp_path, f"+suite.measures.mine={measure}", "+suite.tables.table1.columns.brightness={}")


def test_a_figure_that_is_not_described(tmp_path):
    with pytest.raises(UserError, match=r"suite\.measures\.mine gives 'brightness', which its metrics do not"):
        small(tmp_path, f"+suite.measures.mine={SAYS}[light]}}")


NEW = ("purified_ID", "look_moved")


def test_columns_are_overridden_by_their_names(tmp_path):
    """Another column, another title, none; what a measure says of itself is in the document and heads the table."""
    off = (f"suite.tables.table1.columns.{name}=null" for name in (*NEW, "M_tc_mu", "M_tc_sigma", "ssim", "RA"))
    words = (
        "+suite.tables.table1.columns.brightness={}",
        "+suite.tables.table1.columns.first={metric: ID_rank1, title: nearest}",
        "+suite.tables.table1.columns.negID.title=opposite",
    )
    found = small(tmp_path, f"+suite.measures.mine={SAYS}[brightness]}}", *off, *words)
    assert found.metrics["brightness"] == MetricInfo("brightness", "quality")
    (table,) = found.tables
    columns = (Column("ID"), Column("negID", "opposite"), Column("pose_error"), Column("brightness"))
    assert table.columns == (*columns, Column("ID_rank1", "nearest"))
    assert set(found.metrics) == {name for line in found.lines for name in line.metrics} | {"pose_error"}
    head = (tmp_path / "table.md").read_text().splitlines()
    row = next(line for line in head if "opposite" in line)
    contexts = ["", "ID ↓", "opposite ↓", "pose error ° ↓", "brightness", "nearest ↓"]
    assert [context.strip() for context in row.split("|")[1:-1]] == contexts


def test_a_column_of_a_near_name():
    plan, attributes = Plan("t", "T", "", None, (), ("m",), (Column("poses"),)), instantiate(_of("attributes"))
    with pytest.raises(UserError, match=r"t\.columns shows 'poses', which no measure gives; did you mean 'pose'"):
        descriptions({"m": attributes}, [plan], dict)
    plan = replace(plan, columns=(Column("pose_error", "p", "parrot"), Column("ssim")))
    known = descriptions({"m": attributes}, [plan], lambda: {"picture": instantiate(_of("picture"))})
    assert list(of_all(["pose", "odd", "ssim", "pose"], known)) == ["pose", "ssim"]


def test_what_is_no_description():
    for odd in ({}, {"a": 5}, ["a"], {5: MetricInfo("a", None)}):
        with pytest.raises(UserError, match="the measure does not describe its figures"):
            metrics_of(type("Odd", (), {"metrics": odd})(), "the measure")
    check_described(["a", "b_1"], {"a": MetricInfo("a", None), "b_<n>": MetricInfo("b", None)}, "the measure")


class Written:
    """Gives a figure, and a file even where the figure is read from the store."""

    metrics: ClassVar = {"written": MetricInfo("written", "quality")}

    def __call__(self, context):
        return {"written": Estimate(1.0, n=1)}

    def files(self, context, label):
        return {f"{label.lower()}/rows.txt": f"{len(context.rows)} rows"}


def test_a_measure_gives_files(tmp_path):
    off = tuple(
        f"suite.tables.table1.columns.{name}=null"
        for name in ("negID", "M_tc_mu", "M_tc_sigma", "ssim", "RA", "pose_error")
    )
    for folder in (tmp_path / "first", tmp_path / "second"):
        small(folder, f"+suite.measures.mine={{_target_: {HERE}.Written}}", *off)
        file = folder / "mine" / "real" / "rows.txt"
        assert file.read_text() == "35 rows" and file.stat().st_mode & 0o077 == 0  # 7 people, 2 stills and a clip of 3
