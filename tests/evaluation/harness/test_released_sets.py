"""k-Same in the harness: the set that is released is clustered, and nobody is found more often than one in k."""

from __future__ import annotations

import pytest

from anon.errors import UserError
from anon.evaluation.harness.context import MeasureContext
from anon.evaluation.harness.suite import Combination, plans
from anon.evaluation.measures.averaged import Averaged
from anon.evaluation.measures.retrieval import Retrieval
from tests.evaluation.harness.tiny_stages import settings, stages

K_SAME = {"_target_": "anon.anonymizers.ksame.KSame", "_partial_": True, "k": 3}
METHOD = {"title": "k-Same", "anonymizer": K_SAME}
POLICY = {"_target_": "anon.identity.ksame.KSameEmbedding", "_partial_": True, "k": 4}
NOISE = {"_target_": "anon.identity.mechanisms.IdentityDP", "_partial_": True, "epsilon": 1.0}


def built(**changes):
    methods = {**settings()["methods"], "k_same": METHOD}
    policies = {**settings()["policies"], "k_same": POLICY, "private": NOISE}
    return stages(methods=methods, policies=policies, **changes)


@pytest.mark.parametrize("enrolment", ["apart", "same"])
def test_one_in_k_is_found(enrolment):
    """Eight people, three and more of whom share a picture; the probes have several pictures of each."""
    context = MeasureContext(built(enrolment=enrolment), Combination("default", "k_same"))
    found = Retrieval()(context)["ID_rank1"]
    assert 0 < found.value <= 1 / 3 and found.n >= 8
    real = Retrieval()(MeasureContext(built(enrolment=enrolment), Combination("default", "real")))["ID_rank1"]
    assert real.value == 1.0


def test_a_generator_draws_one_identity_for_k_people():
    """Of the eighth, who is in a cluster, there is no probe."""
    context = MeasureContext(built(), Combination("default", "other", "k_same"))
    wanted = context.beside("wanted")
    assert wanted is not None
    seen = {}
    for row, label in zip((wanted * 1e4).round().int().tolist(), context.labels.tolist(), strict=True):
        seen.setdefault(tuple(row), set()).add(label)
    assert all(len(people) >= 3 for people in seen.values()) and set.union(*seen.values()) == set(range(7))


def test_a_dial_turns_k_and_the_budget():
    made = built()
    for method, policy, turns, values in (
        ("k_same", "none", "anonymizer.k", (2, 8)),
        ("other", "k_same", "policy.k", (2, 8)),
        ("other", "private", "policy.epsilon", (1.0, 900.0)),
    ):
        parts = [
            made.factory.method(Combination("default", method, policy, dial=float(each), turns=turns))
            for each in values
        ]
        assert parts[0].key != parts[1].key
    small, large = (part.pristine.policy.epsilon for part in parts)
    assert (small, large) == (1.0, 900.0)


def test_averages_of_private_identities_are_measured():
    found = Averaged()(MeasureContext(built(), Combination("default", "other", "private")))
    assert found["releases"].value > 2 and 0 <= found["ID_averaged"].value <= 1 and found["ID_averaged"].n == 7


def test_too_few_people_end_it_in_a_sentence():
    with pytest.raises(UserError, match=r"k=9 needs 9 people and the set 'evaluation' of fake has 8"):
        stages(methods={"k_same": {"title": "k", "anonymizer": {**K_SAME, "k": 9}}}).factory.method(
            Combination("default", "k_same")
        )


def test_a_set_is_no_filter():
    """What changes pictures one by one stands in tables that say filters; one of sets would refuse small ones there."""
    table = {"title": "t", "grid": [{"methods": ["filters"]}], "measures": ["m"], "columns": {}}
    suite = built(tables={"t": table}, measures={"m": {}}).suite
    assert {one.method for one in plans(suite)[0].combinations} == {"noise", "pixelate"}


def test_inpainters_are_generators_with_a_latent():
    other = {"title": "Other", "policies": "latent", "anonymizer": None}
    found = []
    for word in ("generators", "inpainters"):
        table = {"title": "t", "grid": [{"methods": [word], "policies": ["plain"]}], "measures": ["m"], "columns": {}}
        methods = {**settings()["methods"], "fills": other}
        suite = stages(tables={"t": table}, measures={"m": {}}, methods=methods).suite
        found.append({one.method for one in plans(suite)[0].combinations})
    assert found[1] == {"fills"} and found[0] > found[1]
