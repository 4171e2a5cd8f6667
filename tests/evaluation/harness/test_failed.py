"""A failed measurement is no privacy.

The kind: what could not be read compares as different, and different reads as private. NaN pictures became some colour,
NaN distances were below no threshold, a judge that recognizes nobody found nobody. Each of these comes in by one door
(``published``, ``embedded``, ``check_recognizes``). Other instances on the same doors: defenses, attacks, what an
adversary enrols, key recovery, and the ladder, transfer, LFW and noise_share.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from anon.errors import Failed, UserError
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import share
from anon.evaluation.embeddings import embedded
from anon.evaluation.harness.context import ATTACKED, PUBLISHED, MeasureContext
from anon.evaluation.harness.run import _evaluate
from anon.evaluation.harness.suite import Combination
from anon.faces.contract import check_made, in_eight_bits, published, to_uint8
from anon.identity.judge import Judge
from tests.evaluation import tiny_world
from tests.evaluation.harness.tiny_stages import Mirror, settings, stages

HERE = "tests.evaluation.harness.test_failed"


class Makes(nn.Module):
    """A filter, a defense or an attack that makes ``what`` of every picture."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def forward(self, images, target=None, rng=None, **given):
        return {
            "nan": torch.full_like(images, torch.nan),
            "one nan": images.clone().index_put_((torch.tensor(0),) * 4, torch.tensor(torch.nan)),
            "infinite": images / 0,
            "loud": images.sign() * 1.5,
            "small": images[..., :8, :8],
            "grey": torch.zeros_like(images),
            "bytes": to_uint8(images),
            "nothing": None,
            "numpy": images.detach().numpy(),
            "tuple": (images,),
            "sparse": images.to_sparse(),
            "meta": images.to("meta"),
        }[self.what]

    def images(self, changed):
        return self(changed)

    def probe(self, z):
        return z

    def gallery(self, images):
        return images

    def judge(self, encoder):
        return encoder


BROKEN = ("nan", "one nan", "infinite", "loud", "small", "bytes", "nothing", "numpy", "tuple", "sparse", "meta")


class Breaks(Makes):
    """One that raises ``what`` on its second batch."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.calls = 0

    def forward(self, images, target=None, rng=None, **given):
        self.calls += 1
        if self.calls < 2:
            return images
        raise {
            "value": ValueError("batch two broke\nin its second line"),
            "memory": RuntimeError("CUDA out of memory"),
            "user": UserError("This is the user's to mend."),
            "killed": KeyboardInterrupt(),
            "ends": SystemExit(0),
        }[self.what]


class Lost(Mirror):
    """An attack that loses the probe."""

    def probe(self, z):
        return z * torch.nan


class Brings(Mirror):
    """An attack that brings its own recognizer: projection ``seed``, or one that gives ``what``."""

    def __init__(self, seed: int | None = None, what: str | None = None) -> None:
        super().__init__()
        self.own = Reads(str(what)) if seed is None else tiny_world.judge(seed)

    def images(self, changed):
        return changed

    def judge(self, encoder):
        return self.own


class Reads(nn.Module):
    """A judge whose embeddings are ``what``."""

    name, metric, threshold, fingerprint = "reads", "cosine", None, "reads"

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.inner = what, tiny_world.judge(1)

    def embed(self, images):
        z = self.inner.embed(images)
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(int(images.sum() * 1e4) % 2**31))
        return {
            "nan": z * torch.nan,
            "long": z * 3,
            "zero": z * 0,
            "few": z[:-1],
            "flat": z.flatten(),
            "one": nn.functional.normalize(torch.ones_like(z)),
            "random": nn.functional.normalize(noise),
        }[self.what]


def suite(**made: Any) -> dict[str, Any]:
    """Names for everything that makes something broken."""
    own = settings()
    for what in (*BROKEN, "grey"):
        node = {"_target_": f"{HERE}.Makes", "what": what}
        own["methods"][what] = {"title": what, "anonymizer": node}
        own["defenses"][what] = node
        own["attacks"][what] = {"attack": node}
    return {**own, **made}


def context(made, **place: Any) -> MeasureContext:
    return MeasureContext(made, Combination(data="default", **place))


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_picture_has_no_figure(what: str) -> None:
    """Of a method, a defense and an attack; it was eight bits of something before."""
    made = stages(**suite())
    for broken in (
        context(made, method=what),
        context(made, method="pixelate", defense=what),
        context(made, method="pixelate", attack=what),
    ):
        assert broken.needs() is None
        with pytest.raises(Failed, match="measured"):
            broken.z(ATTACKED if broken.one.attack != "none" else PUBLISHED)


def test_a_picture_of_one_colour_is_a_result() -> None:
    made = stages(**suite())
    z = context(made, method="grey").z(PUBLISHED)
    assert z.shape[1] == 32 and bool(z.isfinite().all())


@pytest.mark.parametrize("what", ["nan", "long", "zero", "few", "flat"])
def test_what_is_no_embedding_is_refused(what: str) -> None:
    with pytest.raises(Failed, match="The recognizer 'reads' gave"):
        embedded(Reads(what), torch.zeros(3, 3, 16, 16))


@pytest.mark.parametrize("what", ["one", "random"])
def test_a_judge_that_recognizes_nobody_ends_the_run(what: str) -> None:
    """All faces alike, or none: before a table is made, and before anything is drawn."""
    made = stages(judge=Reads(what))
    with pytest.raises(UserError, match="does not recognize unchanged faces"):
        made.calibrations.of_probes("default", made.judge)


def test_untrained_weights_recognize_nobody() -> None:
    class Deaf(nn.Module):
        dim = 32

        def forward(self, x):
            noise = torch.Generator().manual_seed(int(x.double().sum().abs() * 1e6) % 2**31)
            return torch.randn(len(x), 32, generator=noise)

    made = stages(judge=Judge(tiny_world.Encoder(Deaf(), 16, name="deaf"), flip=False))
    with pytest.raises(UserError, match=r"'deaf' does not recognize .* mean and std"):
        made.calibrations.of_probes("default", made.judge)


def test_an_adversarys_probe_that_is_none_is_refused() -> None:
    own = suite()
    own["attacks"]["probe"] = {"attack": {"_target_": f"{HERE}.Lost"}}
    with pytest.raises(Failed, match="NaN or infinite numbers"):
        context(stages(**own), method="pixelate", attack="probe").z(ATTACKED)


@pytest.mark.parametrize(
    ("brings", "error", "told"),
    [
        ({"what": "random"}, Failed, "does not recognize unchanged faces"),
        ({"seed": 0}, UserError, "the encoder that the method was trained to deceive"),
    ],
)
def test_a_recognizer_that_an_adversary_brings_has_a_door(brings: dict[str, Any], error: type, told: str) -> None:
    """One that knows nobody found nobody; one that is the training encoder is the one that was fooled."""
    own = suite()
    for name, given in (("brings", brings), ("other", {"seed": 2})):
        own["attacks"][name] = {"attack": {"_target_": f"{HERE}.Brings", **given}}
    made = stages(**own)
    assert len(context(made, method="other", policy="plain", attack="other").gallery.people) == 8
    with pytest.raises(error, match=told):
        assert context(made, method="other", policy="plain", attack="brings").gallery


def test_the_doors() -> None:
    images = torch.rand(2, 3, 4, 4) * 2 - 1
    assert torch.equal(published(images, images, "it"), in_eight_bits(images))
    assert check_made(images * 1.005, images, "it").shape == images.shape  # rounding of a resampling
    with pytest.raises(Failed, match="hold NaN"):
        to_uint8(images * torch.nan)


def one_id(context: MeasureContext) -> dict[str, Estimate]:
    """A measure."""
    return {"id": context.mean((context.z(ATTACKED) * context.z("target")).sum(1))}


one_id.metrics = {"id": share("ID", "privacy", False)}  # type: ignore[attr-defined]


def evaluated(made: Any, output: Path, places: list[dict[str, Any]], measures: Any = None) -> list[Any]:
    """The lines of these combinations, as a run makes them."""
    own = measures or {"id": one_id}
    contexts = {one.one: one for one in (context(made, **place) for place in places)}
    asked = {one: dict.fromkeys(own) for one in contexts}
    needs = {one: each.needs() for one, each in contexts.items()}
    every, settings = {one: [each] for one, each in contexts.items()}, {name: {} for name in own}
    return [line for line, _ in _evaluate(asked, every, needs, own, settings, {}, output).values()]


@pytest.mark.parametrize("what", ["value", "memory", "ends"])
def test_what_raises_fails_its_line_alone(what: str, tmp_path: Path) -> None:
    """Of a method, a defense and an attack; the kind: only our own checks failed a line, any other error lost all."""
    own = settings(batch_size=5)
    node = {"_target_": f"{HERE}.Breaks", "what": what}
    own["methods"]["bad"] = {"title": "Bad", "anonymizer": node}
    own["defenses"]["bad"] = node
    own["attacks"]["bad"] = {"attack": node}
    places = [{"method": "bad"}, *({"method": "pixelate", part: "bad"} for part in ("defense", "attack"))]
    lines = evaluated(stages(**own), tmp_path, [*places, {"method": "pixelate"}])
    told = {
        "value": "ValueError: batch two broke",
        "memory": "RuntimeError: CUDA out of memory",
        "ends": "SystemExit: 0",
    }[what]
    for line in lines[:3]:
        assert line.needs.startswith(f"failed: {told} (") and line.needs.endswith(" [traceback: failed.txt]")
        assert line.metrics == {} and "second line" not in line.needs
    assert lines[3].needs is None and lines[3].metrics["id"].value is not None
    written = (tmp_path / "failed.txt").read_text()
    assert written.count("in forward") == 3 and written.count(told) == 3


@pytest.mark.parametrize(("what", "error"), [("user", UserError), ("killed", KeyboardInterrupt)])
def test_what_is_no_failure_of_a_line_ends_the_run(what: str, error: type, tmp_path: Path) -> None:
    own = settings(batch_size=5)
    own["methods"]["bad"] = {"title": "Bad", "anonymizer": {"_target_": f"{HERE}.Breaks", "what": what}}
    with pytest.raises(error):
        evaluated(stages(**own), tmp_path, [{"method": "bad"}])


@pytest.mark.parametrize(
    ("gives", "told"),
    [
        (lambda context: 0.5, "the measure function gave float, not an Estimate for each name"),
        (lambda context: {"id": 0.5}, "gave other things than figures"),
        (lambda context: context.z(ATTACKED) @ torch.ones(3, 3), "RuntimeError: "),
    ],
)
def test_a_measure_that_is_wrong_fails_its_lines(gives: Any, told: str, tmp_path: Path) -> None:
    """A float in the place of figures, or an error, lost the whole suite in a traceback."""

    def measure(context: MeasureContext) -> Any:
        return gives(context) if context.one.method == "noise" else one_id(context)

    measure.metrics = one_id.metrics  # type: ignore[attr-defined]
    bad, good = evaluated(stages(), tmp_path, [{"method": "noise"}, {"method": "pixelate"}], {"id": measure})
    assert bad.needs.startswith("failed: ") and told in bad.needs and bad.metrics == {}
    assert good.needs is None and good.metrics["id"].value is not None


def test_a_figure_of_two_measures(tmp_path: Path) -> None:
    """The last one replaced the first one's without a word."""
    with pytest.raises(UserError, match="gives 'id', which another measure gives"):
        evaluated(stages(), tmp_path, [{"method": "pixelate"}], {"id": one_id, "mine": one_id})
