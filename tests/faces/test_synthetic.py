"""The synthetic faces: what is asked for is drawn, the same bytes for the same seed, once, whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from anon.errors import UserError
from anon.faces.splits import split_of
from anon.faces.synthetic import parameters
from anon.faces.synthetic.dataset import SyntheticFaces, people_of
from anon.faces.synthetic.head import rotation
from anon.faces.synthetic.render import Rendered, render
from anon.faces.synthetic.shards import draw


def neutral(count: int = 1, **changes: float) -> parameters.Columns:
    """A frontal face at rest in even light, without noise; ``changes`` set columns."""
    mood = parameters.stills([0] * count, [0] * count, occluders=0.0)
    still = ("yaw", "pitch", "roll", "mouth", "smile", "brow", "blink", "gaze_x", "gaze_y", "noise", "blur")
    rest = dict.fromkeys(still, 0.0) | dict.fromkeys(("light_azimuth", "shift_x", "shift_y", "zoom", "exposure"), 0.5)
    return mood | {name: torch.full((count,), value) for name, value in (rest | changes).items()}


def one(person: int = 3, size: int = 64, **changes: float) -> Rendered:
    return render(parameters.people([person]), neutral(**changes), size)


def difference(a: Rendered, b: Rendered) -> torch.Tensor:
    """(H, W) summed absolute difference."""
    return (a.images[0].float() - b.images[0].float()).abs().sum(-1)


def centroid(weight: torch.Tensor) -> tuple[float, float]:
    rows, columns = torch.meshgrid(*(torch.arange(side).float() for side in weight.shape), indexing="ij")
    return float((weight * columns).sum() / weight.sum()), float((weight * rows).sum() / weight.sum())


def test_rotation_is_right_handed_with_the_documented_signs() -> None:
    nose = torch.tensor([0.0, 0.0, 1.0])
    right = torch.tensor([1.0, 0.0, 0.0])
    turns = rotation(
        {"yaw": torch.tensor([90.0, 0, 0]), "pitch": torch.tensor([0.0, 90, 0]), "roll": torch.tensor([0.0, 0, 90])}
    )
    torch.testing.assert_close(
        turns[0] @ nose, torch.tensor([1.0, 0.0, 0.0]), atol=1e-6, rtol=0
    )  # to the image's right
    torch.testing.assert_close(turns[1] @ nose, torch.tensor([0.0, -1.0, 0.0]), atol=1e-6, rtol=0)  # down
    torch.testing.assert_close(turns[2] @ right, torch.tensor([0.0, 1.0, 0.0]), atol=1e-6, rtol=0)  # counter-clockwise
    assert torch.allclose(torch.linalg.det(turns), torch.ones(3), atol=1e-6)


def test_pose_moves_the_five_points_as_it_says() -> None:
    rest = one().landmarks[0]
    assert rest[0, 0] < rest[2, 0] < rest[1, 0] and rest[3, 0] < rest[4, 0]  # left is left as seen in the image
    assert rest[0, 1] < rest[2, 1] < rest[3, 1]  # eyes above nose above mouth; y points down
    nose = rest[2] - rest[:2].mean(0)
    turned = one(yaw=25.0).landmarks[0]
    assert (turned[2] - turned[:2].mean(0))[0] > nose[0] + 3
    bowed = one(pitch=15.0).landmarks[0]
    assert (bowed[2] - bowed[:2].mean(0))[1] > nose[1] + 0.5
    rolled = one(roll=15.0).landmarks[0]
    angle = torch.rad2deg(torch.atan2(-(rolled[1, 1] - rolled[0, 1]), rolled[1, 0] - rolled[0, 0]))
    assert abs(float(angle) - 15.0) < 0.5


@pytest.mark.parametrize(
    ("change", "where"),
    [({"mouth": 0.9}, (3, 4)), ({"smile": 1.0}, (3, 4)), ({"blink": 1.0}, (0, 1)), ({"gaze_x": 20.0}, (0, 1))],
)
def test_each_attribute_changes_its_own_place(change: dict[str, float], where: tuple[int, ...]) -> None:
    rest = one(size=96)
    changed = difference(rest, one(size=96, **change))
    place = rest.landmarks[0, list(where)].round().long()  # two points
    rows, columns = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    near = ((columns[..., None] - place[:, 0]).square() + (rows[..., None] - place[:, 1]).square()).amin(-1) < 100
    assert changed[near].mean() > 4 * changed[~near].mean()


def test_gaze_moves_the_iris_to_the_side_it_names() -> None:
    def dark_column(picture: Rendered) -> float:
        x, y = (round(float(part)) for part in picture.landmarks[0, 1])
        patch = 255 - picture.images[0, y - 4 : y + 5, x - 8 : x + 9].float().mean(-1)
        return centroid((patch - patch.mean()).clamp(min=0))[0]

    assert dark_column(one(size=128, gaze_x=22.0)) > dark_column(one(size=128, gaze_x=-22.0)) + 1.0


def test_identity_and_attributes_are_separate_draws() -> None:
    first, second = parameters.people([1], seed=0), parameters.people([2], seed=0)
    assert any(float(first[name][0]) != float(second[name][0]) for name in parameters.SHAPE)
    assert torch.equal(one(1).pose, one(2).pose) and difference(one(1), one(2)).mean() > 5
    a, b = parameters.stills([1, 1], [0, 1]), parameters.stills([1], [1])
    assert float(a["yaw"][0]) != float(a["yaw"][1]) and torch.equal(a["yaw"][1:], b["yaw"])


def test_occluders_cover_what_they_are_named_after() -> None:
    free = one(size=96)
    for name, point in (("sunglasses", 0), ("mask", 3)):
        worn = one(size=96, occluder=float(parameters.OCCLUDERS.index(name)), occluder_a=0.5, occluder_b=0.5)
        x, y = (round(float(part)) for part in free.landmarks[0, point])
        assert difference(free, worn)[y - 1 : y + 2, x - 1 : x + 2].mean() > 45, name
        assert int(worn.occluder) == parameters.OCCLUDERS.index(name)


def test_clips_are_smooth_and_their_frames_differ() -> None:
    mood = parameters.clip(identity=5, number=0, frames=25)
    steps = torch.stack([mood[name] for name in ("yaw", "pitch", "roll")]).diff(dim=-1).abs()
    assert 0 < float(steps.max()) < 6.0  # degrees in 40 ms
    assert len(mood["light_azimuth"].unique()) == 1 and float(mood["noise_seed"].diff().min()) == 1.0


def test_same_seed_same_bytes_whatever_the_threads(tmp_path: Path) -> None:
    shard = SyntheticFaces("evaluation", size=32, identities=4, images=4, cache=tmp_path).shards[0]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    first, truth = draw(shard, 32, seed=0)
    torch.set_num_threads(2)
    again, same = draw(shard, 32, seed=0)
    torch.set_num_threads(threads)
    assert torch.equal(first, again) and all(torch.equal(truth[name], same[name]) for name in truth)
    other, _ = draw(shard, 32, seed=1)
    assert not torch.equal(first, other)


def test_data_set_is_split_by_identity_and_ordered(tmp_path: Path) -> None:
    faces = SyntheticFaces("background", size=32, identities=3, images=2, clips=1, clip_frames=3, cache=tmp_path)
    assert len(faces) == 3 * (2 + 3) and all(split_of(name) == "background" for name in faces.names)
    assert faces.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert faces.videos[:5].tolist() == [-1, -1, 0, 0, 0] and faces.frames[:5].tolist() == [0, 1, 0, 1, 2]
    batch = faces.__getitems__([0, 7])
    assert batch["image"].shape == (2, 3, 32, 32) and float(batch["image"].abs().max()) <= 1
    assert torch.equal(faces[7]["image"], batch["image"][1]) and batch["landmarks"].shape == (2, 5, 2)
    assert len(people_of("train", 1000)) == 1000


def test_growing_the_set_renders_only_what_is_new(tmp_path: Path) -> None:
    SyntheticFaces("attacker", size=32, identities=2, images=2, cache=tmp_path).prepare()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert len(before) == 1
    SyntheticFaces("attacker", size=32, identities=2, images=8, cache=tmp_path).prepare()
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert len(after) == 2 and all(after[path] == stamp for path, stamp in before.items())


@pytest.mark.slow
def test_two_processes_render_each_shard_once_and_leave_no_parts(tmp_path: Path) -> None:
    code = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from anon.faces.synthetic import shards\n"
        "from anon.faces.synthetic.dataset import SyntheticFaces\n"
        "drawn = []; original = shards.draw\n"
        "shards.draw = lambda shard, *rest: (drawn.append(shard.path.name), original(shard, *rest))[1]\n"
        f"faces = SyntheticFaces('train', size=16, identities=16, images=16, cache={str(tmp_path)!r})\n"
        "faces.prepare(); print(','.join(drawn), float(faces[3]['image'].sum()))\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    lines = [process.communicate(timeout=120)[0].split(" ") for process in both]
    drawn = [name for line in lines for name in line[0].split(",") if name]
    assert sorted(drawn) == sorted(set(drawn)) and len(drawn) == 4
    assert lines[0][1] == lines[1][1]
    assert not list(tmp_path.rglob("*.part"))


def test_nothing_asked_for_and_unknown_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Unknown split 'test'"):
        SyntheticFaces("test", cache=tmp_path)
    with pytest.raises(UserError, match="at least one identity"):
        SyntheticFaces("train", identities=0, cache=tmp_path)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UserError, match="ANON_CACHE"):
        SyntheticFaces("train", size=16, identities=1, images=1, cache=file).prepare()


def test_sets_that_begin_far_apart_have_nobody_in_common(tmp_path: Path) -> None:
    """Judges learn from people who are in no split of anybody else's; the first set is the same as ever."""
    usual, other = (SyntheticFaces("train", 32, 4, 2, cache=tmp_path, first=first) for first in (0, 1_000_000))
    assert usual.names[0] == "synthetic-000000" or usual.names[0] < "synthetic-000010"
    assert not set(usual.names) & set(other.names) and other.names[0].startswith("synthetic-10000")
    own, others = usual.raw_batch([0])["image"], other.raw_batch([0])["image"]
    assert not torch.equal(own, others)
    assert torch.equal(SyntheticFaces("train", 32, 4, 2, cache=tmp_path / "again").raw_batch([0])["image"], own)
