"""Who is found: retrieval, attack, distance, verification and shared identities, against numbers by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from anon.evaluation.document import Curve
from anon.evaluation.harness.context import ATTACKED, TARGET, MeasureContext
from anon.evaluation.harness.suite import Combination
from anon.evaluation.measures.attacked import Attacked
from anon.evaluation.measures.distance import TargetDistance
from anon.evaluation.measures.encoder import EncoderRetrieval
from anon.evaluation.measures.identities import Identities
from anon.evaluation.measures.retrieval import Retrieval
from anon.evaluation.measures.verification import Verification
from anon.faces.contract import to_float
from anon.identity.policies import AnchorSampling
from anon.identity.tracking import IdentityTracker
from tests.evaluation import tiny_world
from tests.evaluation.harness.tiny_stages import stages
from tests.evaluation.measures.known_context import KnownContext, three_people

PROBES = torch.tensor([[0.8, 0.6, 0.0], [0.8, 0.6, 0.0], [-0.8, 0.0, 0.6], [0.0, 0.0, 1.0]])


def values(figures):
    return {name: None if figure.value is None else round(figure.value, 4) for name, figure in figures.items()}


def test_retrieval():
    """Distances of the first two to 7, 8, 9: .2, .4, 1; of the third, a 7: 1.8, 1, .4; negated .2, 1, 1.6."""
    context = KnownContext([7, 8, 7, 9], z={"changed": PROBES}, gallery=three_people())
    found = Retrieval(ks=(1, 2, 3))(context)
    assert values(found) == {
        "ID": 0.5,
        "negID": 0.25,
        "negID_rank1": 0.25,
        "ID_per_image": 0.5,
        "ID_rank1": 0.5,
        "ID_rank2": 0.75,
        "ID_rank3": None,
        "MRR": round((1 + 1 / 2 + 1 / 3 + 1) / 4, 4),
        "FPIR": 0.25,  # the second is at .2 from 7, the others at .4, .4 and 1 from the nearest stranger
    }
    assert found["ID_rank3"].reason == "n/a (a gallery of 3)" and found["ID"].n == 4
    assert found["ID"].low < 0.5 < found["ID"].high


def test_retrieval_is_of_published_faces_only():
    context = KnownContext([7, 8, 7, 9], z={"changed": PROBES}, gallery=three_people(), attack="mirror")
    assert Retrieval()(context) == {} and EncoderRetrieval()(context) == {}


def test_by_the_encoder_it_is_named_so():
    """Own distances .2, .4, 1.8 and 0; the first three were accepted unchanged, and two of them are not any more."""
    z = {"target": torch.eye(3)[[0, 1, 0, 0]], "changed": PROBES}
    context = KnownContext([7, 8, 7, 9], z=z, gallery=three_people(), encoder=tiny_world.encoder(0))
    assert values(EncoderRetrieval()(context)) == {"ID_projection-0": 0.5, "PSR_projection-0": 0.6667}


def test_distance():
    context = KnownContext(
        [7, 8],
        z={"target": torch.tensor([[1.0, 0.0], [1.0, 0.0]]), "changed": torch.tensor([[0.6, 0.8], [1.0, 0.0]])},
        gallery=three_people(),
    )
    found = values(TargetDistance()(context))
    expected = {"target_distance": 0.2, "l2": 0.4472, "squared_l2": 0.4, "l1": 0.6, "deidentified": 0.5}
    assert found == expected


def test_an_adversary_who_mirrors():
    """The recovered picture is the published one's mirror image, compared with the target by the judge."""
    context = MeasureContext(stages(), Combination("default", "pixelate", attack="mirror"))
    found = Attacked(ks=(1,))(context)
    judge = tiny_world.judge(1)
    seen, target = (to_float(context.view(of).eight_bits()) for of in (ATTACKED, TARGET))
    cosine = (judge.embed(seen) * judge.embed(target)).sum(1).mean()
    assert found["cosine_recovered"].value == pytest.approx(float(cosine), abs=1e-6)
    assert found["ssim_recovered"].value < 0.5 and found["recalibrated"].value == 1.0
    assert found["RA"].n == len(context.labels) == 7


def test_an_adversary_who_recovers_no_picture():
    """A parrot enrols pixelated faces, and so finds everybody; negation changes no threshold."""
    made = stages()
    parrot = Attacked()(MeasureContext(made, Combination("default", "pixelate", attack="parrot")))
    assert parrot["RA"].value == parrot["RA_rank5"].value == parrot["recalibrated"].value == 1.0
    assert parrot["ssim_recovered"].reason == "n/a (the attack recovers no picture)"
    plain = Combination("default", "other", "plain", attack="negation")
    assert Attacked()(MeasureContext(made, plain))["recalibrated"].value == 0.0


def verified(distances_own, threshold=0.3):
    """Probes of 7 and 8 at given cosines of their own axis; the third axis, 9, has no probe."""
    cosine = 1.0 - torch.tensor(distances_own)
    side = (1.0 - cosine.square()).sqrt()
    labels = [7, 8] * (len(cosine) // 2)
    own = F.one_hot(torch.tensor(labels) - 7, 3) * cosine[:, None]
    other = F.one_hot(1 - (torch.tensor(labels) - 7), 3) * side[:, None]
    return KnownContext(labels, z={"target": own + other, "changed": own + other}, gallery=three_people(threshold))


DISTANCES = [0.2, 0.2, 0.5, 0.9]


def test_verification_by_hand():
    """Impostors: the other's axis, .4, .4, .13, .005, and the third person's, 1, four times."""
    found = Verification(far=0.25)(verified(DISTANCES))
    # two of the eight may be accepted at FAR .25, so the limit is the third smallest, .4: .2 and .2 lie below
    assert found["TAR"].value == 0.5
    # between .4 and .5 four of eight are accepted and two of four rejected
    assert found["EER"].value == 0.5 and found["EER"].n == 4


def test_a_distance_at_the_limit_is_not_accepted():
    """Genuine .2, .4, .2, impostors .2, .4, .4 and three times 1: two of six may be accepted, so the limit is .4."""
    z = torch.tensor([[0.8, 0.6, 0.0], [0.6, 0.8, 0.0], [0.6, 0.8, 0.0]])
    context = KnownContext([7, 7, 8], z={"target": z, "changed": z}, gallery=three_people())
    assert Verification(far=0.34)(context)["TAR"].value == pytest.approx(2 / 3)


def test_a_rate_that_the_pairs_cannot_tell_is_refused():
    found = Verification(far=0.1)(verified(DISTANCES))
    assert found["TAR"].reason == "n/a (8 impostor pairs cannot tell FAR 0.1)" and found["EER"].value is not None


def test_the_curve_and_the_densities():
    context = verified(DISTANCES)
    curve, histogram = Verification(points=20, bins=10).plots(context, "name", 2)
    assert isinstance(curve, Curve) and curve.plot == "errors"
    assert min(curve.x) >= 1 / 8 - 1e-12 and curve.x[-1] == 1.0 and curve.y[-1] == 0.0 and len(curve.x) <= 20
    assert list(curve.x) == sorted(curve.x) and list(curve.y) == sorted(curve.y, reverse=True)
    assert list(histogram.densities) == ["same person, changed", "same person, unchanged", "other people"]
    width = histogram.edges[1] - histogram.edges[0]
    assert len(histogram.edges) == 11 and histogram.threshold == 0.3
    for density in histogram.densities.values():
        assert sum(density) * width == pytest.approx(1.0)
    # distances from .005 to 1, bins of .0995: .2 in the second, .5 in the fifth, .9 in the ninth
    shares = [share * width for share in histogram.densities["same person, changed"]]
    assert [round(share, 6) for share in shares] == [0, 0.5, 0, 0, 0.25, 0, 0, 0, 0.25, 0]


def test_unchanged_faces_are_no_changed_ones():
    context = verified(DISTANCES)
    real = KnownContext(context.labels.tolist(), z=context.given_z, gallery=three_people(), method="real")
    (_, histogram) = Verification().plots(real, "Real", 0)
    assert list(histogram.densities) == ["same person, unchanged", "other people"]
    (_, histogram) = Verification().plots(
        KnownContext(context.labels.tolist(), z=context.given_z, gallery=three_people(), method="real", attack="given"),
        "Real",
        0,
    )
    assert list(histogram.densities) == ["same person, attacked", "other people"]


def test_rates_and_accuracies_by_hand():
    """Genuine .2, .2, .5, .9; impostors .4, .4, .13, .005 and four times 1 (see above)."""
    found = Verification(far=0.25, fars=(0.5, 0.1))(verified(DISTANCES, threshold=0.3))
    # four of the eight may be accepted at .5, so the limit is the fifth smallest, 1: all four lie below
    assert found["TAR_far0.5"].value == 1.0
    assert found["TAR_far0.1"].reason == "n/a (8 impostor pairs cannot tell FAR 0.1)"
    # .2 and .2 come before .4, .4 and the four of 1 (6 of 8), .5 and .9 before the four of 1 (4 of 8)
    assert found["AUC"].value == (6 + 6 + 4 + 4) / 32
    # below .3 lie two of four genuine ones, and .13 and .005 of the eight impostors
    assert found["verification_accuracy"].value == (2 / 4 + 6 / 8) / 2
    # below 1 lie all four genuine ones and four of the eight impostors
    assert found["best_accuracy"].value == (1 + 4 / 8) / 2
    for name in ("AUC", "verification_accuracy", "best_accuracy", "TAR_far0.5"):
        assert found[name].low <= found[name].value <= found[name].high and found[name].low < found[name].high


def protection(before, after, **place):
    """PSR of probes of 7 and 8 at known distances to their own axis, below .3 accepted."""
    given = {state: verified(part).given_z["changed"] for state, part in (("target", before), ("changed", after))}
    context = KnownContext([7, 8] * (len(before) // 2), z=given, gallery=three_people(0.3), **place)
    return Verification(far=0.25, fars=())(context)


def test_protection_is_of_those_who_were_accepted():
    """Three of four are accepted unchanged; of these .5 and .9 are rejected now, and .1 is not."""
    found = protection([0.1, 0.2, 0.2, 0.8], [0.5, 0.9, 0.1, 0.9])
    assert found["PSR"].value == pytest.approx(2 / 3) and found["PSR"].n == 3
    assert found["TAR_unchanged"].value == 0.75 and found["TAR_unchanged"].n == 4
    assert found["PSR"].low < 2 / 3 < found["PSR"].high


def test_protection_where_nobody_was_accepted():
    """A judge that knows nobody protects nobody."""
    found = protection([0.5, 0.6], [0.9, 0.9])
    assert found["PSR"].reason == "n/a (no unchanged face is accepted)" and found["TAR_unchanged"].value == 0.0
    assert "PSR" not in protection([0.1, 0.2], [0.1, 0.2], method="real")


def test_shared_identities_and_alike_recognizers():
    wanted = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    z = F.normalize(torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    context = KnownContext(
        [7, 7, 8, 8, 9],
        z={"target": z, "changed": z},
        beside={"wanted": wanted},
        gallery=three_people(),
        encoder=tiny_world.encoder(0),
    )
    found = Identities()(context)
    assert found["shared_identity"].value == pytest.approx(2 / 3) and found["shared_identity"].n == 3
    assert found["several_identities"].value == 1.0 and found["several_identities"].n == 2  # 7 and 8; 9 has one probe
    assert found["impostor_correlation"].value == pytest.approx(1.0)
    assert math.isclose(found["impostor_correlation"].low, 1.0, abs_tol=1e-5)


def test_a_tracker_that_gives_one_person_several_identities_is_told():
    """Kind: a fault that no figure counts. ``shared_identity`` is the other one: two people with one fake."""
    wanted = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.8, 0.6]])
    context = KnownContext([7, 7, 8, 8, 9], beside={"wanted": wanted}, z=_unchanged(torch.eye(5)[:, :2]))
    found = Identities()(context)
    assert found["several_identities"].value == 0.5 and found["several_identities"].n == 2
    assert found["shared_identity"].value == 0.0
    alone = Identities()(KnownContext([7, 8], beside={"wanted": wanted[:2]}, z=_unchanged(torch.eye(2))))
    assert alone["several_identities"].reason == "n/a (one probe of each person)"


def test_wanted_and_achieved_cosines():
    """z at 0°, two people at 40° and 80° whose middle is at 60°: m = .5 is there, and for z at 30° it is not."""
    sampling = AnchorSampling(torch.tensor([[0.7660, 0.6428], [0.1736, 0.9848]]), m=0.5)
    z = torch.tensor([[1.0, 0.0], [0.8660, 0.5]])
    fake = torch.tensor([[0.5, 0.8660], [0.5, 0.8660]])
    context = KnownContext([1, 2], beside={"wanted": fake}, z=_unchanged(z), encoder=None)
    context.given_method.pristine = SimpleNamespace(policy=IdentityTracker(sampling, 0.3))
    found = Identities()(context)
    assert found["wanted_cosine"].value == 0.5 and found["extreme_anchor"].value == 0.5
    assert found["achieved_cosine"].value == pytest.approx((0.5 + math.cos(math.radians(30))) / 2, abs=1e-3)
    assert found["achieved_cosine_sd"].value == pytest.approx((math.cos(math.radians(30)) - 0.5) / 2, abs=1e-3)


def _unchanged(z):
    return {"target": z, "changed": z}


def test_diversity_is_the_distance_of_strangers_fakes_over_that_of_strangers():
    """Three people, perpendicular, so 1 apart; the first has a second probe, which does not count."""
    labels, target = [7, 7, 8, 9], torch.eye(4)[[0, 3, 1, 2]]

    def found(changed):
        return Identities()(KnownContext(labels, z={"target": target, "changed": changed}))["diversity"]

    assert found(target).value == pytest.approx(1.0) and found(target).n == 3
    assert found(target[[1, 0, 1, 1]]).value == pytest.approx(0.0)  # one face for all
    two_alike = found(target[[0, 0, 0, 3]])
    assert two_alike.value == pytest.approx(4 / 6) and two_alike.low <= 4 / 6 <= two_alike.high
    one = Identities()(KnownContext([7, 7], z=_unchanged(torch.eye(2))))
    assert one["diversity"].reason == "n/a (one person)"
    alike = Identities()(KnownContext([7, 8], z=_unchanged(torch.ones(2, 1))))
    assert alike["diversity"].reason == "n/a (the judge finds all people alike)"
