"""What a pattern cannot deceive: purified ID, the look and the spectrum of the change, against numbers by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from anon.attacks.recognizer import OwnRecognizer
from anon.attributes.look import LookRegressor
from anon.errors import Failed, UserError
from anon.evaluation.harness.context import PUBLISHED, TARGET, MeasureContext
from anon.evaluation.harness.suite import Combination
from anon.evaluation.measures.attacked import Attacked
from anon.evaluation.measures.look import Look
from anon.evaluation.measures.purified import PurifiedRetrieval
from anon.evaluation.measures.retrieval import Retrieval
from anon.evaluation.measures.spectrum import Spectrum
from anon.faces.contract import to_float
from anon.metrics.look import look_moved, mean_distances
from tests.evaluation import tiny_world
from tests.evaluation.harness.tiny_stages import stages
from tests.evaluation.measures.known_context import KnownContext, three_people


class Negative(nn.Module):
    """Undoes a photographic negative."""

    def forward(self, images):
        return -images


class Inverted(nn.Module):
    """The photographic negative as an anonymizer."""

    def forward(self, images, *, source=None, key=None, track=None, rng=None):
        return -images


def inverted(**changes):
    methods = {
        "real": {"title": "Real", "anonymizer": None},
        "inverted": {"title": "Inverted", "anonymizer": Inverted()},
    }
    return stages(methods=methods, attacked_probes=2, **changes)


def test_what_a_purifier_undoes_is_found_again():
    """Of negatives nobody is found; of their negatives everybody is who is found unchanged, among the first two."""
    context = MeasureContext(inverted(), Combination("default", "inverted"))
    found = PurifiedRetrieval({"negative": Negative(), "same": nn.Identity(), "off": None})(context)
    real = MeasureContext(context.stages, Combination("default", "real"))
    plain = PurifiedRetrieval({"same": nn.Identity()})(real)["purified_ID"]
    assert found["purified_ID_same"].value == 0.0 and plain.value > 0.9
    assert found["purified_ID_negative"].value == plain.value == found["purified_ID"].value
    names = {"", "_negative", "_same"}
    assert set(found) == {f"purified_{figure}{name}" for figure in ("ID", "PSR") for name in names}
    people = len(context.labels.unique())
    assert found["purified_ID"].n == 2 * people < len(context.labels)
    assert Retrieval()(context)["ID"].value == 0.0


def test_purified_faces_are_made_once_for_all_judges():
    first = inverted()
    measure = PurifiedRetrieval({"negative": Negative(), "negative twice": Negative()})
    measure(MeasureContext(first, Combination("default", "inverted")))
    made = first.store.made["processed"]
    measure(MeasureContext(first.beside(tiny_world.judge(2)), Combination("default", "inverted")))
    assert made == first.store.made["processed"] == 1  # one part is one part, whatever its name


def test_no_purifier_is_refused():
    with pytest.raises(UserError, match="has no purifiers"):
        PurifiedRetrieval({"jpeg50": None})
    with pytest.raises(UserError, match=r"purifiers.wrong is a str, which cannot be called"):
        PurifiedRetrieval({"wrong": "blur"})


def test_a_purifier_that_gives_no_pictures_fails_the_line():
    class Broken(nn.Module):
        def forward(self, images):
            return images * math.nan

    with pytest.raises(Failed, match="The purifier 'broken' gave pictures with NaN"):
        PurifiedRetrieval({"broken": Broken()})(MeasureContext(inverted(), Combination("default", "inverted")))


def checker(amplitude):
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    return amplitude * (2 * ((x + y) % 2) - 1).expand(2, 3, 16, 16)


def waves():
    """Faces of half slow and half fine detail: two cosines of the same power, .125 and .5 cycles a pixel."""
    x = torch.arange(16.0).expand(2, 3, 16, 16)
    return 0.2 * torch.cos(2 * math.pi * x / 8) + 0.2 / math.sqrt(2) * torch.cos(math.pi * x)


def test_a_checker_over_faces():
    target = waves()
    context = KnownContext([7, 8], images={"target": target, "changed": target + checker(0.1)})
    found = {name: figure.value for name, figure in Spectrum()(context).items()}
    assert found["change_hf"] == pytest.approx(1.0, abs=1e-4)
    assert found["faces_hf"] == pytest.approx(0.5, abs=1e-3)
    assert found["hf_ratio"] == pytest.approx(found["change_hf"] / found["faces_hf"], rel=1e-5)


def test_a_change_of_nothing_has_no_detail():
    context = KnownContext([7, 8], images={"target": waves(), "changed": waves()})
    found = Spectrum()(context)
    assert found["change_hf"].reason == found["hf_ratio"].reason == "n/a (no face changed)"
    assert set(Spectrum()(KnownContext([7, 8], images={"target": waves()}, method="real"))) == {"faces_hf"}


def regressor():
    """Its one look is the mean brightness, and nothing else counts."""
    made = LookRegressor(size=16)
    made.read = lambda images: images.flatten(1).mean(1, keepdim=True).expand(-1, len(made.readable))
    made.readable[0] = 1.0
    return made


def known(images, labels=(7, 8), **more):
    context = KnownContext(list(labels), images=images, **more)
    context.stages.known = lambda part, title, data: None
    context.stages.device = "cpu"
    return context


def flat(*levels):
    return torch.tensor(levels)[:, None, None, None].expand(-1, 3, 16, 16)


def test_the_look_moved_by_a_quarter():
    """Two people at -.4 and .4, .8 apart; one moves by .3 and the other by .1, .2 in the mean."""
    context = known({"target": flat(-0.4, 0.4), "changed": flat(-0.1, 0.5)})
    found = Look(regressor())(context)
    assert found["look_moved"].value == pytest.approx(0.25) and found["look_moved"].n == 2
    assert set(found) == {"look_moved"}


def test_the_floor_is_of_two_pictures_of_a_person():
    """Own pictures are .1 apart; those of the two people .4, .5, .3 and .4."""
    context = known({"target": flat(0.0, 0.1, 0.4, 0.5)}, (7, 7, 8, 8), method="real")
    assert {name: round(each.value, 4) for name, each in Look(regressor())(context).items()} == {"look_floor": 0.25}


def test_photographs_have_no_look():
    context = known({"target": flat(-0.4, 0.4), "changed": flat(-0.1, 0.5)})
    context.people.synthetic = False
    assert Look(regressor())(context)["look_moved"].reason == "n/a (the look is read of rendered faces only)"
    alone = known({"target": flat(-0.4, 0.4), "changed": flat(-0.1, 0.5)}, (7, 7))
    assert Look(regressor())(alone)["look_moved"].reason == "n/a (one person has nobody to look like)"


def test_without_a_regressor_its_command_is_said():
    context = known({"target": flat(-0.4, 0.4), "changed": flat(-0.1, 0.5)})
    assert Look(None)(context)["look_moved"].reason.startswith("needs python train.py experiment=look, then ")


def test_a_regressor_that_reads_nothing_says_nothing():
    blind = regressor()
    blind.readable.zero_()
    context = known({"target": flat(-0.4, 0.4), "changed": flat(-0.1, 0.5)})
    assert Look(blind)(context)["look_moved"].reason == "n/a (the regressor reads the same of everybody)"


def test_the_harness_gives_what_the_metric_gives():
    context = MeasureContext(stages(attacked_probes=2), Combination("default", "pixelate")).of_first()
    reader = LookRegressor(size=16)
    torch.nn.init.normal_(reader.head.weight, generator=torch.Generator().manual_seed(0))
    reader.readable.fill_(0.5)
    found = Look(reader)(context)["look_moved"].value
    with torch.no_grad():
        after, before = (reader(to_float(context.view(of).eight_bits())) for of in (PUBLISHED, TARGET))
    assert found == pytest.approx(float(look_moved(after, before, context.labels)), rel=1e-3)
    own, others = mean_distances(before, context.labels)
    assert len(context.labels) == 2 * len(context.labels.unique())
    real = MeasureContext(context.stages, Combination("default", "real"))
    known = ~own.isnan()
    floor = float(own[known].sum() / others[known].sum())
    assert Look(reader)(real)["look_floor"].value == pytest.approx(floor, rel=1e-3)


def test_none_of_them_is_of_an_attack():
    context = known({"target": flat(-0.4, 0.4)}, attack="mirror")
    assert Look(regressor())(context) == Spectrum()(context) == {}
    assert PurifiedRetrieval({"same": nn.Identity()})(context) == {}


class Tuned(tiny_world.Judge):
    """The adversary's own recognizer, which was trained for a while."""

    def __init__(self, minutes):
        super().__init__(tiny_world.encoder(3), flip=False)
        self.minutes = minutes


def own_recognizer(minutes):
    return OwnRecognizer(Tuned(minutes))


@pytest.mark.parametrize(("minutes", "told"), [(9.5, 9.5), (None, "n/a (its checkpoint does not say)")])
def test_minutes_stand_beside_a_tuned_recognizers_figures(minutes, told):
    here = f"{__name__}.own_recognizer"
    made = stages(attacks={"tuned": {"attack": {"_target_": here, "minutes": minutes}}}, max_eer=1.0)
    found = Attacked(ks=(1,))(MeasureContext(made, Combination("default", "pixelate", attack="tuned")))
    figure = found["attack_minutes"]
    assert (figure.reason if figure.value is None else figure.value) == told
    assert found["recalibrated"].value == 1.0


def test_others_say_nothing_of_minutes():
    context = KnownContext([7], z={"changed": torch.eye(3)[:1]}, gallery=three_people(), attack="mirror")
    context.view = lambda of: SimpleNamespace(pictures=SimpleNamespace(kind="original"))
    assert "attack_minutes" not in Attacked(ks=(1,))(context)
