"""Expression embedder, synthetic expression classes and their figures."""

from __future__ import annotations

import math

import pytest
import torch
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score, multiclass_recall

from anon.attributes.contract import Estimator
from anon.attributes.expression import EfficientNetB0, ExpressionEmbedder
from anon.attributes.expression_classes import CLASSES, PROTOTYPES, class_counts, labelled, synthetic_labels
from anon.attributes.expression_figures import (
    affect_figures,
    classification,
    concordance,
    confusion,
    swap_check,
    synthetic_swaps,
)
from anon.errors import UserError
from anon.faces.alignment import template


def test_embedder_is_an_estimator_of_unit_vectors() -> None:
    embedder = ExpressionEmbedder(size=32).eval()
    images = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        read = embedder(images)
    assert isinstance(embedder, Estimator) and tuple(read) == embedder.reads
    assert read["expression"].shape == (3, embedder.dim)
    torch.testing.assert_close(read["expression"].norm(dim=1), torch.ones(3))


def test_points_of_an_aligned_face_change_nothing() -> None:
    embedder = ExpressionEmbedder(size=32).eval()
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        plain, aligned = embedder(images), embedder(images, template(32).expand(2, 5, 2))
    torch.testing.assert_close(plain["expression"], aligned["expression"], atol=1e-3, rtol=0)


def test_efficientnet_takes_torchvision_s_file_without_its_classifier(tmp_path) -> None:
    from torchvision.models import efficientnet_b0

    torch.manual_seed(0)
    published = efficientnet_b0(weights=None).eval()
    torch.save(published.state_dict(), tmp_path / "b0.pth")
    ours = EfficientNetB0(str(tmp_path / "b0.pth")).eval()
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normal = ((images + 1) / 2 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), published.avgpool(published.features(normal)).flatten(1))


def test_prototypes_have_their_own_class_and_borders_have_none() -> None:
    assert len(PROTOTYPES) == len(CLASSES)
    prototypes = torch.tensor(PROTOTYPES)
    labels = synthetic_labels({"expression": prototypes})
    assert labels["expression_class"].tolist() == list(range(8))
    middle = (prototypes[0] + prototypes[1]) / 2
    assert synthetic_labels({"expression": middle[None]})["expression_class"].tolist() == [-1]
    assert synthetic_labels({"expression": middle[None]}, margin=0.0)["expression_class"].item() in (0, 1)


def test_valence_and_arousal_by_hand() -> None:
    labels = synthetic_labels({"expression": torch.tensor([[0.5, -1.0, -0.5, 0.25], [1.0, 1.0, 1.0, 0.0]])})
    torch.testing.assert_close(labels["valence"], torch.tensor([-0.9, 1.0]))
    torch.testing.assert_close(labels["arousal"], torch.tensor([0.4 + 0.2 - 0.1, 1.0]))


def test_the_data_s_own_labels_come_first_and_foreign_classes_are_unknown() -> None:
    batch = {
        "expression": torch.zeros(4, 4),
        "expression_class": torch.tensor([0.0, 7.0, 10.0, -1.0]),
        "valence": torch.tensor([0.5, float("nan"), 0.0, 0.0]),
    }
    found = labelled(batch, synthetic_labels, 8)
    assert found["expression_class"].tolist() == [0, 7, -1, -1] and found["expression_class"].dtype == torch.int64
    assert bool(found["arousal"].isnan().all()) and found["valence"][0] == 0.5


def test_data_without_labels_is_refused() -> None:
    with pytest.raises(UserError, match="no expression classes"):
        labelled({"image": torch.zeros(1)}, None, 8)
    with pytest.raises(UserError, match="data=synthetic"):
        synthetic_labels({"image": torch.zeros(1)})


class Faces:
    """Five faces, one by one."""

    classes = (2, 0, 2, -1, 2)

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"expression_class": torch.tensor(self.classes[index])}


def test_class_counts() -> None:
    assert class_counts(Faces(), None, 4, batch_size=2).tolist() == [1, 0, 3, 0]  # type: ignore[arg-type]
    with pytest.raises(UserError, match="1 of 2 occur"):
        class_counts(Faces(), None, 2)  # type: ignore[arg-type]


def test_concordance_by_hand() -> None:
    x, y = torch.tensor([1.0, 2.0, 3.0, 9.0]), torch.tensor([2.0, 4.0, 6.0, float("nan")])
    assert concordance(x, y).item() == pytest.approx(2 * (4 / 3) / (2 / 3 + 8 / 3 + 4))
    assert concordance(y[:3], y[:3]).item() == pytest.approx(1.0)
    assert concordance(torch.ones(3), torch.ones(3)).item() == 0.0
    figures = affect_figures(torch.stack((x, x), 1), y, torch.full((4,), float("nan")))
    assert figures.keys() == {"valence CCC", "valence RMSE"}
    assert figures["valence RMSE"] == pytest.approx(math.sqrt(14 / 3))


def test_classification_agrees_with_torchmetrics() -> None:
    rng = torch.Generator().manual_seed(0)
    truth, said = (torch.randint(0, 5, (200,), generator=rng) for _ in range(2))
    truth[:20] = -1
    figures = classification(confusion(said, truth, 5))
    truth, said = truth[20:], said[20:]
    assert figures["accuracy"] == pytest.approx(float(multiclass_accuracy(said, truth, 5, average="micro")))
    assert figures["macro recall"] == pytest.approx(float(multiclass_recall(said, truth, 5, average="macro")))
    assert figures["macro F1"] == pytest.approx(float(multiclass_f1_score(said, truth, 5, average="macro")))


def test_perfect_swaps_read_perfectly_by_the_truth() -> None:
    swaps = synthetic_swaps(range(12), 16)
    for role in ("changed", "expression only"):
        assert torch.equal(swaps[role]["expression"], swaps["target"]["expression"])
        assert not torch.equal(swaps[role]["image"], swaps["target"]["image"])
        found = swap_check(lambda batch: batch["expression"], swaps, role)["different"]
        assert found.t2c == 0.0 and found.share == 1.0 and found.s2c > 0.3
    by_picture = swap_check(lambda batch: batch["image"], swaps, "expression only")["different"]
    assert by_picture.share == 0.0  # all but the expression is the source's
