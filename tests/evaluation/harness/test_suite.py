"""Tables as data: products, what is folded into columns, names that mean nothing."""

import pytest

from anon.errors import UserError
from anon.evaluation.document import Column
from anon.evaluation.harness.suite import Combination, Suite, plans
from tests.evaluation.harness.tiny_stages import settings


def table(grid, **changes):
    own = {"title": "a table", "grid": grid, "measures": ["one"], "columns": {"ID": {}}}
    return {**own, **changes}


def plan(grid, **changes):
    suite = Suite(**settings(measures={"one": {}}, tables={"t": table(grid, **changes)}))
    return plans(suite)[0]


def test_a_block_is_a_product_in_order():
    found = plan(
        [{"methods": ["real"]}, {"methods": ["other"], "policies": ["plain", "itm"], "attacks": ["none", "parrot"]}]
    )
    assert [(one.method, one.policy, one.attack) for one in found.combinations] == [
        ("real", "none", "none"),
        ("other", "plain", "none"),
        ("other", "plain", "parrot"),
        ("other", "itm", "none"),
        ("other", "itm", "parrot"),
    ]


def test_a_filter_takes_no_policy():
    found = plan([{"methods": ["pixelate"], "policies": ["plain", "itm"]}])
    assert found.combinations == (Combination("default", "pixelate"),)


def test_attacks_of_columns_are_no_lines():
    columns = {"ID": {"title": "ID"}, "RA": {"title": "RA", "attack": "parrot"}}
    found = plan(
        [{"methods": ["other"], "policies": ["itm"], "attacks": ["none", "parrot", "negation"]}], columns=columns
    )
    assert [one.attack for one in found.shown] == ["none", "negation"]


def test_a_column_says_what_differs():
    columns = {
        "ID": {},
        "RA": {"attack": "parrot"},
        "second": {"metric": "RA", "title": "again", "attack": "negation"},
        "ssim": None,
        "EER": {"title": None, "metric": None},
    }
    found = plan([{"methods": ["other"], "policies": ["itm"]}], columns=columns)
    expected = [Column("ID"), Column("RA", None, "parrot"), Column("RA", "again", "negation"), Column("EER")]
    assert list(found.columns) == expected


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (5, r"suite\.tables\.t\.columns\.ID=5 is no column; write \{\}"),
        ("identified", "ID=identified is no column"),
        ({"title": 5}, "is no column"),
        (
            {"title": "ID", "better": "lower"},
            r"ID has 'better', which no column has \(which way is better",
        ),
        ({"titel": "ID"}, "ID has 'titel', which no column has; there are: metric, title, attack"),
    ],
)
def test_what_is_no_column(column, said):
    with pytest.raises(UserError, match=said):
        plan([{"methods": ["noise"]}], columns={"ID": column})


def test_a_dial_is_swept_with_its_own_policy():
    found = plan([{"methods": ["other", "pixelate"], "dial": True}])
    assert [(one.method, one.policy, one.dial) for one in found.combinations] == [
        ("other", "dial", 0.0),
        ("other", "dial", 1.0),
        ("pixelate", "none", 4.0),
        ("pixelate", "none", 2.0),
    ]
    assert found.dial == "blocks; distance" and found.baseline is None


def test_the_first_anonymizer_is_the_baseline():
    found = plan([{"methods": ["real", "pixelate", "noise"]}])
    assert found.baseline == Combination("default", "pixelate")


@pytest.mark.parametrize(
    ("grid", "changes", "said"),
    [
        ([{"methods": ["pixelat"]}], {}, "did you mean 'pixelate'"),
        ([{"methods": ["other"], "policies": ["none at all"]}], {}, "suite.policies"),
        ([{"methods": ["other"], "policies": ["itm"], "defenses": ["unifrm"]}], {}, "did you mean 'uniform'"),
        ([{"methods": ["other"], "policies": ["itm"], "attacks": ["xyz"]}], {}, "suite.attacks: negation"),
        ([{"methods": ["noise"], "inputs": ["mosaik"]}], {}, "did you mean 'mosaic'"),
        ([{"methods": ["noise"], "data": ["elsewhere"]}], {}, "suite.datasets"),
        ([{"methods": ["noise"]}], {"measures": ["two"]}, "suite.measures"),
        ([{"methods": ["noise"], "dial": True}], {}, "has none"),
        ([{"policies": ["itm"]}], {}, "names no methods"),
    ],
)
def test_a_name_that_means_nothing_is_told(grid, changes, said):
    with pytest.raises(UserError, match=said):
        plan(grid, **changes)


def test_no_tables():
    with pytest.raises(UserError, match="names no table"):
        plans(Suite(**settings(tables={"t": None})))
