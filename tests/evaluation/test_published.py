"""Printed numbers: every table can be traced, shares are shares, and figures are those of the page."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import yaml

from anon.errors import UserError
from anon.evaluation.published import FOLDER, published, tables

ENTRY = {"source", "protocol", "rows", "units", "note", "dial"}


@pytest.mark.parametrize("table", tables())
def test_every_table_can_be_traced_and_its_figures_are_numbers(table: str) -> None:
    found = published(table)
    assert any(year in found.source for year in ("2020", "2023", "2024", "2025")) and found.protocol
    assert len(found.rows) > 0
    measured = {name for row in found.rows.values() for name in row}
    assert set(found.units) <= measured, "a unit of nothing that was printed"
    for row in found.rows.values():
        assert row and all(type(value) is float and math.isfinite(value) for value in row.values())
        assert all(0.0 <= value <= 1.0 for name, value in row.items() if name not in found.units)


def test_files_hold_known_fields_and_no_table_twice() -> None:
    read = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in FOLDER.glob("*.yaml")]
    names = Counter(name for tables_of_file in read for name in tables_of_file)
    assert set(names.values()) == {1} and sorted(names) == tables()
    assert all({"source", "protocol", "rows"} <= set(entry) <= ENTRY for part in read for entry in part.values())


@pytest.mark.parametrize(
    ("table", "method", "metric", "value"),
    [
        ("fiva_table1", "FIVA + ITM", "M_tc_sigma", 0.041),
        ("fiva_table2", "Gafni", "ID", 0.035),
        ("fiva_table3", "fgsm", "RA", 0.002),
        ("fiva_table4", "FaceShifter", "pose", 2.96),
        ("fiva_figure3", "uniform_noise_share47", "RA", 0.0025),
        ("facedancer_ablation_ffpp", "FaceDancer E", "expression", 5.73),
        ("facedancer_ablation_ffpp", "FaceDancer baseline 2", "ID", 0.9261),  # printed as 92.61 %
        ("facedancer_final_ffpp", "FaceDancer D", "FID", 19.10),
        ("facedancer_ablation_aflw2000", "FaceDancer A", "pose", 14.97),
        ("expression_table5_2_different", "Expression embedding", "closer", 0.73),
        ("expression_table5_2_same", "51 landmarks", "t2c", 0.35),
        ("book_table4_1", "Pixelation (8 x 8)", "detected", 0.0211),
        ("book_table5_1", "Blur (19 x 19)", "PSR", 0.669),
        ("book_table5_2", "IdentityDP (ε 0.57)", "psnr", 22.7639),
        ("book_table5_3", "CIAGAN", "TPR_vggface2_std", 0.015),
        ("book_table5_4_celeba", "CIAGAN", "detected", 0.995),
        ("book_table5_4_celebahq", "DeepPrivacy", "detected", 0.999),
        ("book_table6_1", "Cao et al. 2021", "deidentified_vggface2", 0.928),
        ("book_table6_2", "DeepPrivacy", "box", 5.005),
        ("book_table6_3", "Right password", "distance_casia", 0.368),
        ("book_table6_4", "Cao et al. 2021", "mae", 0.031),
        ("book_table7_1", "AMT-GAN", "FID", 33.3),
        ("book_table7_2", "w/o L_id", "distance_dlib", 0.417),
        ("book_table8_4", "CIAGAN", "pose", 14.69),
        ("book_table8_5", "ACTION", "TPR_casia", 0.696),
        ("book_table8_6", "Wrong key", "similarity_vggface2", 0.461),
        ("book_table8_7", "Right key", "lpips", 0.077),
        ("book_table8_8", "AVD", "FID", 22.11),
        ("book_table8_9", "w/o motion flow", "AKD", 2.24),
        ("book_table8_10", "LRNet", "flagged", 0.631),  # printed as 63.1 %
        ("borghetto_comparisons", "DeepFaceLab", "distance_dlib", 0.631),
        ("borghetto_table3", "Faceswap-GAN", "RMSE", 0.211),  # the table's, not the text's .411
        ("made_simple_swap_ffhq", "InSwapper", "expression", 4.872),
        ("made_simple_swap_celebahq", "Made Simple", "quality", 0.728),
        ("made_simple_table1_celebahq", "FALCO", "pose", 0.088),
        ("made_simple_table1_ffhq", "RiDDLE", "ID", 0.007),
    ],
)
def test_figures_are_those_of_the_page(table: str, method: str, metric: str, value: float) -> None:
    assert published(table).rows[method][metric] == value


def test_errata_and_units_are_named() -> None:
    assert "Faceswap-GAN" in published("borghetto_table3").note and published("fiva_table1").note == ""
    assert published("book_table6_4").units == {
        "lpips": "LPIPS",
        "psnr": "dB",
        "mae": "share of an unnamed pixel range",
    }


def test_a_table_is_the_readers_own() -> None:
    published("fiva_table2").rows["CIAGAN"]["ID"] = 9.0
    assert published("fiva_table2").rows["CIAGAN"]["ID"] == 0.034


def test_an_unknown_table_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no published table 'book_table84'; the nearest is 'book_table8_4'"):
        published("book_table84")
