"""The public functions of the package: their names and types stay, and each does what its command does."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import anon
from anon.apps.checkpoints import restore_generator
from anon.apps.victims import trained_attack
from anon.errors import UserError
from anon.faces.synthetic.dataset import SyntheticFaces
from tests.apps.test_folder_method import FAST, lines, numbers, place

__all__ = ["place"]  # the fixture
PUBLIC = {
    "anonymize": "(frame: 'Frame', **settings: 'object') -> 'Frame'",
    "anonymize_video": "(path: 'str | os.PathLike[str]', out: 'str | os.PathLike[str]', **settings: 'object')"
    " -> 'dict[str, Any]'",
    "attack": "(changed: 'Tensor', checkpoint: 'str' = 'shipped:reconstruction') -> 'Tensor'",
    "embed": "(faces: 'Tensor', judge: 'str' = 'synthetic_d', **settings: 'object') -> 'Tensor'",
    "evaluate": "(originals: 'str | os.PathLike[str]', changed: 'str | os.PathLike[str]',"
    " out: 'str | os.PathLike[str]', **settings: 'object') -> 'Document'",
    "load": "(method: 'str' = 'fiva', **settings: 'object') -> 'nn.Module'",
}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    few = SyntheticFaces("evaluation", identities=4, images=1, cache=tmp_path_factory.mktemp("faces"))
    return torch.stack([few[index]["image"] for index in range(4)])


def test_names_and_signatures_are_stable() -> None:
    """Whoever changes one breaks somebody's program: say so in CHANGELOG.md."""
    assert sorted(anon.__all__) == sorted([*PUBLIC, "__version__"])
    for name, signature in PUBLIC.items():
        function = getattr(anon, name)
        assert str(inspect.signature(function)) == signature and len(function.__doc__) > 100
    assert (Path(anon.__file__).parent / "py.typed").exists()


def test_a_method_is_loaded(faces: torch.Tensor) -> None:
    """FIVA with the negation is the generator conditioned on the own identity, blended."""
    generator, encoder, *_ = restore_generator("shipped:fiva")
    with torch.no_grad():
        wanted = generator(faces, encoder(faces).z).blend(faces).clamp(-1, 1)
        assert torch.allclose(anon.load("fiva", policy="negation")(faces), wanted, atol=1e-5)
        assert (anon.load("solid")(faces) == -1).all()
        weak, strong = (anon.load("blur", method__anonymizer__sigma=sigma)(faces) for sigma in (0.01, 0.1))
    assert (weak - faces).abs().mean() < (strong - faces).abs().mean()


def test_a_face_is_attacked_and_embedded(faces: torch.Tensor) -> None:
    z = anon.embed(faces)
    assert z.shape[0] == 4 and z.dtype == torch.float32
    assert torch.allclose(z.norm(dim=1), torch.ones(4), atol=1e-5)
    with torch.no_grad():
        changed = anon.load("fiva", policy="negation")(faces)
    found = anon.attack(changed)
    assert torch.equal(found, trained_attack("shipped:reconstruction").images(changed))
    near = [F.cosine_similarity(anon.embed(each), z).mean() for each in (changed, found)]
    assert near[0] < 0.3 < near[1]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda faces: anon.load("nope"), "no method named 'nope'"),
        (lambda faces: anon.load("fiva", polciy="own"), "polciy"),
        (lambda faces: anon.embed(faces, "nobody"), "no judge named 'nobody'"),
        (lambda faces: anon.embed(faces, "synthetic"), "names 3 judges; anon.embed takes one"),
        (lambda faces: anon.attack(faces, "shipped:fiva"), "no attack ships as 'shipped:fiva'"),
        (lambda faces: anon.evaluate("no/such", "folder", "out"), "no/such"),
    ],
)
def test_mistakes_are_one_sentence(call, told: str, faces: torch.Tensor, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=told.replace("(", r"\(")):
        call(faces)
    assert not list(tmp_path.iterdir())


def test_two_folders_are_evaluated(place: Path, tmp_path: Path) -> None:
    settings = {key.replace(".", "__"): value for key, _, value in (word.partition("=") for word in FAST)}
    out = tmp_path / "out, [1]"
    found = anon.evaluate(place / "originals", place / "ours", out, **settings)
    assert {line.method for line in found.lines if not line.needs} >= {"Real", "ours"}
    line = next(line for line in found.lines if line.method == "ours")
    assert line.metrics["ID"].value == numbers(lines(out / "results.json")[("ours", "none")])["ID"]
    assert (out / "report.html").exists()
