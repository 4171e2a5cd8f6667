"""The stages: what is drawn, what is kept, what a change of anything makes anew."""

import pytest
import torch

from anon.anonymizers.composed import AnonymizationError
from anon.anonymizers.filters import Pixelate
from anon.errors import UserError
from anon.evaluation.harness.context import ATTACKED, CHANGED, PUBLISHED, TARGET, MeasureContext
from anon.evaluation.harness.pictures import Originals, Readers, View
from anon.evaluation.harness.suite import Combination
from anon.faces.contract import in_eight_bits, to_float
from tests.evaluation import tiny_world
from tests.evaluation.harness.tiny_stages import stages


def one(method="other", policy="itm", **changes):
    return Combination("default", method, "none" if method in ("real", "pixelate", "noise") else policy, **changes)


def images(context, of):
    return to_float(context.view(of).eight_bits())


def test_rows_are_the_probes_or_a_few_of_them():
    made = stages()
    everyone, few = MeasureContext(made, one("real")), MeasureContext(made, one("pixelate", defense="half"))
    people = made.subjects("default")
    assert len(everyone.labels) == len(people.probes) == 7 * (2 + 3)  # 2 stills and a clip of 3 of each who has several
    assert few.labels.tolist() == sorted(set(everyone.labels.tolist()))  # one each
    assert torch.isin(few.rows, everyone.rows).all()


def test_clips_are_those_that_probe():
    people = stages().subjects("default")
    assert people.clips.shape == (7, 3)
    assert torch.isin(people.clips, people.probes).all()
    frames = people.items.faces.frames[people.items.indices[people.clips]]
    assert frames.tolist() == [[0, 1, 2]] * 7


def test_every_state_of_a_face():
    context = MeasureContext(stages(), one("pixelate", defense="half", attack="mirror"))
    target, changed, published, seen = (images(context, of) for of in (TARGET, CHANGED, PUBLISHED, ATTACKED))
    expected = in_eight_bits(Pixelate(2)(target))
    torch.testing.assert_close(changed, expected)
    assert published.shape == changed.shape and not torch.equal(published, changed)
    torch.testing.assert_close(seen, published.flip(-1))


def test_without_defense_and_attack_the_states_are_one():
    context = MeasureContext(stages(), one("pixelate"))
    assert context.view(PUBLISHED) is context.view(CHANGED) is context.view(ATTACKED)


def test_embeddings_are_of_the_published_eight_bits():
    made = stages()
    context = MeasureContext(made, one())
    torch.testing.assert_close(context.z(PUBLISHED), tiny_world.judge(1).embed(images(context, PUBLISHED)))


def test_nothing_is_made_twice(tmp_path):
    first = stages(tmp_path)
    context = MeasureContext(first, one(attack="mirror"))
    z = context.z(ATTACKED)
    again = stages(tmp_path)
    found = MeasureContext(again, one(attack="mirror")).z(ATTACKED)
    assert torch.equal(z, found)
    assert not again.store.made and again.store.found["embeddings"] > 0
    assert "changed" not in again.store.found  # no picture was even read


def test_damaged_files_are_made_again(tmp_path, capsys):
    """One flipped byte in each file that an evaluation keeps: every one is made again, with the values that it had."""
    made = [MeasureContext(stages(tmp_path), one(attack="mirror")) for _ in range(2)]
    for context in made:
        for path in tmp_path.rglob("*.safetensors"):
            content = path.read_bytes()
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 64]))
        capsys.readouterr()
        z, read = context.z(ATTACKED), context.read(PUBLISHED)
    assert torch.equal(z, made[0].z(ATTACKED))
    assert all(torch.equal(read[name], values) for name, values in made[0].read(PUBLISHED).items())
    kinds = {"changed", "attacked", "embeddings", "readings"}
    assert kinds <= set(made[1].stages.store.made)
    assert capsys.readouterr().err.count("is damaged and is made again") == sum(made[1].stages.store.made.values())


def test_another_reader_redraws_nothing(tmp_path):
    MeasureContext(stages(tmp_path), one()).z(PUBLISHED)
    again = stages(tmp_path)
    context = MeasureContext(again, one())
    assert set(context.read(PUBLISHED)) == {"pose", "expression", "gaze", "landmarks"}
    assert set(again.store.made) == {"readings"}


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"batch_size": 4},
        {"data": tiny_world.Data(clips=2, stills=5)},
        {"methods": "sigma"},
    ],
)
def test_whatever_makes_a_picture_is_in_its_key(tmp_path, change):
    before = MeasureContext(stages(tmp_path), one("noise")).view(CHANGED).key
    if change == {"methods": "sigma"}:
        methods = {
            "noise": {"title": "Noise", "anonymizer": {"_target_": "anon.anonymizers.filters.PixelNoise", "sigma": 0.2}}
        }
        change = {"methods": methods}
    assert MeasureContext(stages(tmp_path, **change), one("noise")).view(CHANGED).key != before


def test_weights_are_in_the_key():
    first, second = stages(), stages()
    second.factory._base(second.suite.methods["other"]["anonymizer"], "other").generator.inverse.data.mul_(2)
    assert MeasureContext(first, one()).view(CHANGED).key != MeasureContext(second, one()).view(CHANGED).key


def test_units_do_not_depend_on_each_other():
    made = stages()
    alone = images(MeasureContext(made, one("noise")), PUBLISHED)
    other = stages()
    images(MeasureContext(other, one("other")), PUBLISHED)
    images(MeasureContext(other, one("other", "plain")), PUBLISHED)
    assert torch.equal(images(MeasureContext(other, one("noise")), PUBLISHED), alone)


def test_a_swap_wears_the_next_persons_face():
    context = MeasureContext(stages(), one(policy="source"))
    assert bool((context.labels != context.source_labels).all())
    wanted = context.beside("wanted")
    people = context.people
    sources = torch.stack([people.items.faces[int(index)]["image"] for index in people.sources[context.rows]])
    torch.testing.assert_close(wanted, context.method.encoder(in_eight_bits(sources)).z)


def test_a_figure_of_a_swap_is_kept_under_whoever_is_swapped_in():
    """The places of the sources alone said nothing of whose gallery they are looked for in."""
    context = MeasureContext(stages(), one(policy="source"))
    people = context.people
    sources, *groups = context.keys["swapped"]
    assert sources == people.sources[context.rows].tolist()
    assert groups == [group.key for group in (people.items, people.enrolled, people.background)]
    assert MeasureContext(stages(), one()).keys["swapped"] is None


def test_the_dial_turns_the_policy_and_the_filter():
    made = stages()
    for distance in (0.0, 1.0):
        context = MeasureContext(made, one(policy="dial", dial=distance))
        z = context.method.encoder(images(context, TARGET)).z
        torch.testing.assert_close(
            1 - (z * context.beside("wanted")).sum(1), torch.full((7,), distance), atol=1e-5, rtol=0
        )
    context = MeasureContext(made, one("pixelate", dial=4.0))
    torch.testing.assert_close(images(context, CHANGED), in_eight_bits(Pixelate(4)(images(context, TARGET))))


def test_a_degraded_input_is_what_is_anonymized():
    context = MeasureContext(stages(), one("pixelate", input="mosaic"))
    clean = MeasureContext(stages(), one("pixelate", defense="half"))
    torch.testing.assert_close(images(context, TARGET), in_eight_bits(Pixelate(4)(images(clean, TARGET))))


def test_turned_faces_are_chosen_by_their_true_pose():
    made = stages()  # every face has yaw 1
    assert MeasureContext(made, one("pixelate", input="turned")).needs() == "n/a (no such face)"
    assert MeasureContext(made, one("pixelate", input="facing")).needs() is None


def test_without_a_pose_nobody_knows_who_is_turned_away():
    made = stages(data=tiny_world.Data(clips=2, truth=False))
    assert (
        MeasureContext(made, one("pixelate", input="turned")).needs() == "n/a (no such face)"
    )  # the estimator reads 1 + a mean
    made.readers = Readers()
    assert "attributes" in MeasureContext(made, one("pixelate", input="turned")).needs()


def test_what_nobody_trained_is_said_with_its_command():
    made = stages()
    assert "python train.py experiment=untrained" in MeasureContext(made, one("untrained")).needs()
    assert (
        "python train.py method=other policy=itm" in MeasureContext(made, one("other", attack="reconstruction")).needs()
    )
    assert MeasureContext(made, one("pixelate", defense="parameters")).needs() == "n/a (no generator)"
    assert MeasureContext(made, one("other", defense="parameters")).needs() is None


def test_a_generator_that_fails_is_an_error_and_no_face():
    made = stages()
    with pytest.raises(AnonymizationError):
        MeasureContext(made, one("broken")).z(PUBLISHED)


def test_a_parrot_enrols_anonymized_faces_and_takes_its_own_threshold():
    made = stages()
    context = MeasureContext(made, one("pixelate", attack="parrot"))
    gallery = context.gallery
    assert context.rethresholded
    enrolled = made.subjects("default").enrolled
    faces = torch.stack([enrolled.faces[int(index)]["image"] for index in enrolled.indices])
    z = tiny_world.judge(1).embed(in_eight_bits(Pixelate(2)(in_eight_bits(faces))))
    torch.testing.assert_close(gallery.pictures, z)
    plain = MeasureContext(made, one("pixelate"))
    assert not plain.rethresholded and not torch.allclose(plain.gallery.pictures, z)


def test_negation_is_of_the_probe():
    context = MeasureContext(stages(), one(attack="negation"))
    torch.testing.assert_close(context.z(ATTACKED), -context.z(PUBLISHED))


def test_the_training_encoder_may_not_judge():
    with pytest.raises(UserError, match="allow_training_encoder"):
        MeasureContext(stages(judge=0), one()).needs()
    made = stages(judge=0, allow_training_encoder=True)
    assert MeasureContext(made, one()).needs() is None
    assert [note for note in made.factory.notes if "flatter" in note] == made.factory.notes[:1]


def test_originals_are_read_as_they_are():
    group = stages().subjects("default").enrolled
    found = to_float(View(Originals(group), torch.tensor([3, 1])).eight_bits())
    expected = torch.stack([in_eight_bits(group.faces[int(group.indices[place])]["image"]) for place in (3, 1)])
    torch.testing.assert_close(found, expected)


def test_a_dial_that_turns_nothing_is_refused():
    methods = {
        "pixelate": {
            "title": "Pixelate",
            "anonymizer": {"_target_": "anon.anonymizers.filters.Pixelate", "blocks": 2},
            "dial": {"title": "blocks", "key": "anonymizer.block", "values": [4]},
        }
    }
    with pytest.raises(UserError, match="names no setting"):
        MeasureContext(stages(methods=methods), one("pixelate", dial=4.0)).needs()
