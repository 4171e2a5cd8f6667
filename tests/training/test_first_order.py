"""Training first-order motion: which pairs it sees, what it refuses, that it learns, and what it shows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from anon.errors import UserError
from anon.faces.contract import Sample
from anon.generators.first_order.network import FirstOrderMotion
from anon.identity.encoder import Encoder
from anon.training.first_order import FirstOrderTraining, MotionGrids, MotionWeights, to_unit

SIDE = 16


class Read(nn.Module):
    """A recognizer of a few numbers."""

    dim = 4

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x).mean((2, 3))


class Squares:
    """Two clips of four frames of each person: a square of the person's colour goes right; five points go with it."""

    synthetic = True

    def __init__(self, people: int = 4, stills: int = 0, landmarks: bool = True) -> None:
        rows = [(who, clip, frame) for who in range(people) for clip in range(2) for frame in range(4)]
        rows = [(who, -1, frame) for who in range(people) for frame in range(stills)] + rows
        self.labels, self.videos, self.frames = torch.tensor(rows).T
        self.names, self.with_points = [str(who) for who in range(people)], landmarks
        self.images = torch.full((len(rows), 3, SIDE, SIDE), -0.8)
        for row, (who, clip, frame) in enumerate(rows):
            colour = torch.rand(3, 1, 1, generator=torch.Generator().manual_seed(who)) * 0.8 + 0.2
            self.images[row, :, 5:11, self.left(clip, frame) : self.left(clip, frame) + 5] = colour

    @staticmethod
    def left(clip: int, frame: int) -> int:
        return 2 + clip + 2 * frame

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, rows: list[int]) -> Sample:
        found = {"image": self.images[rows], "identity": self.labels[rows], "video": self.videos[rows]}
        found["frame"] = self.frames[rows]
        if self.with_points:
            corner = torch.stack((2.0 + self.videos[rows] + 2 * self.frames[rows], torch.full((len(rows),), 5.0)), 1)
            spots = torch.tensor([[0.0, 0], [4, 0], [2, 2], [0, 5], [4, 5]])
            found["landmarks"] = corner[:, None] + spots
        return found  # type: ignore[return-value]

    def __getitem__(self, row: int) -> Sample:
        return {key: value[0] for key, value in self.__getitems__([row]).items()}  # type: ignore[return-value]


def training(faces: Squares | None = None, **options: Any) -> FirstOrderTraining:
    torch.manual_seed(0)
    network = FirstOrderMotion(points=2, base=8, depth=2, shrink=1, widths=(8, 16), residuals=1)
    encoder = Encoder(Read(), size=SIDE, layers=("first",), weights="random")
    weights = options.pop("loss", MotionWeights())
    made = FirstOrderTraining(network, encoder, 60, weights, **{"lr": 5e-3, **options})
    made.told = {}  # type: ignore[assignment]
    made.log = lambda name, value, **_: made.told.__setitem__(name, float(value.detach()))  # type: ignore
    made.log_dict = lambda named, **_: [made.log(*each) for each in named.items()]  # type: ignore
    faces = Squares() if faces is None else faces
    data = SimpleNamespace(faces=lambda split: faces)
    made.trainer = SimpleNamespace(global_step=0, global_rank=0, world_size=1, datamodule=data)  # type: ignore
    return made


def batch(rows: list[int], faces: Squares | None = None) -> Any:
    return (faces or Squares()).__getitems__(rows)


def test_a_step_is_a_function_of_its_number() -> None:
    made = training()
    made.on_fit_start()
    found: dict[int, list[float]] = {}
    for step in (3, 5, 3):
        made.trainer.global_step = step
        found.setdefault(step, []).append(float(made.training_step(batch([0, 5, 9]), 0).detach()))
    assert found[3][0] == found[3][1] != found[5][0]


def test_sources_are_other_frames_of_the_same_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    made, faces, seen = training(), Squares(), []
    made.on_fit_start()
    monkeypatch.setattr(
        made, "terms", lambda source, driving, rng: seen.append(source) or {"reconstruction": rng_free()}
    )

    def rng_free() -> Tensor:
        return next(made.network.parameters()).sum() * 0

    rows = [0, 6, 13]
    for step in range(12):
        made.trainer.global_step = step
        made.training_step(batch(rows), 0)
    for place, row in enumerate(rows):
        clip = [other for other in range(len(faces)) if other // 4 == row // 4 and other != row]
        shown = {
            next(each for each in range(len(faces)) if torch.equal(faces.images[each], s["image"][place])) for s in seen
        }
        assert shown == set(clip)


def test_it_learns_where_a_square_goes() -> None:
    """Errors of held-out pixels and of the five points fall well below those of the first frame as it is."""
    made = training()
    made.on_fit_start()
    configured = made.configure_optimizers()
    optimizer, rate = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    for step in range(60):
        made.trainer.global_step = step
        rows = torch.randperm(24, generator=torch.Generator().manual_seed(step))[:12].tolist()
        loss = made.training_step(batch(rows), step)
        optimizer.zero_grad()
        loss.backward()
        made.configure_gradient_clipping(optimizer)
        optimizer.step()
        rate.step()
    made.validation_step(batch(list(range(24, 32))), 0)  # the last person is in no batch
    told = made.told
    assert told["val/flow_still"] == pytest.approx(6.0, abs=1e-3)  # pixels
    assert told["val/flow"] < 3.0 and told["val/l1"] < 0.7 * told["val/l1_still"]


def test_validation_is_of_the_last_frames_alone() -> None:
    made = training(Squares(stills=1))
    made.validation_step(batch([0, 4, 5, 6], Squares(stills=1)), 0)  # stills and frames on the way
    assert made.told == {}
    faces = Squares(stills=1)
    made.validation_step(batch([7], faces), 0)
    assert made.told["val/l1_still"] == pytest.approx(float((faces.images[7] - faces.images[4]).abs().mean()))


def test_terms_of_no_weight_are_not_made_and_labels_are_not_asked_for() -> None:
    plain = MotionWeights(features=0.0, equivariance=0.0, jacobian=0.0, landmarks=0.0)
    made = training(Squares(landmarks=False), loss=plain)
    made.on_fit_start()
    made.training_step(batch([0, 1], Squares(landmarks=False)), 0)
    assert set(made.told) == {"train/reconstruction", "train/loss"}
    assert made.told["train/loss"] == pytest.approx(10 * made.told["train/reconstruction"], rel=1e-5)


@pytest.mark.parametrize(
    ("faces", "told"),
    [(Squares(stills=1), "these data have stills, too: data.images=0"),
     (Squares(landmarks=False), "which these data have not: model.loss.landmarks=0")],
)  # fmt: skip
def test_data_that_do_not_fit_are_refused(faces: Squares, told: str) -> None:
    with pytest.raises(UserError, match=told):
        training(faces).on_fit_start()


def test_a_grid_shows_ends_of_clips(tmp_path: Any) -> None:
    made, faces = training(), Squares(stills=1)
    grids = MotionGrids(str(tmp_path), faces=3)
    picked = grids.pick(faces)
    assert picked.shape == (3, 2, 3, SIDE, SIDE)
    torch.testing.assert_close(picked[0], faces.images[[4, 7]])  # the first person's first clip
    columns = grids.columns(made, picked)
    assert len(columns) == 6 and all(each.shape == (3, 3, SIDE, SIDE) for each in columns)
    torch.testing.assert_close(columns[4][0], picked[1, 0])
    assert not len(grids.pick(SimpleNamespace(videos=torch.tensor([-1, -1]))))  # type: ignore[arg-type]


def test_pixels_as_the_networks_coordinates() -> None:
    assert to_unit(torch.tensor([[0.0, 31.5], [63.0, 63.0]]), 64).tolist() == [[-1.0, 0.0], [1.0, 1.0]]
