"""``policy=rotation`` and ``anon recover``: who a key makes of a face, and back; what is refused, and what is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from anon.apps import anonymize as app
from anon.apps import keys as keys_app
from anon.apps import python, recover
from anon.identity import keys
from anon.identity.rotation import Keyed, KeyedRotation
from anon.video.changer import FaceChanger
from anon.video.paste import crop_of
from tests.apps.conftest import Command
from tests.video.scenes import Fixed, frame_of, person

SECRET = "correct horse battery staple"
#: The shipped FIVA with few people, whose space has few directions.
FIVA = (
    *("method=fiva", "detector=fixed", "data.images=2", "policy.rank=8"),
    *("data.identities.train=12", "data.identities.background=4"),
)


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "COST", 2)
    monkeypatch.delenv(keys_app.KEY, raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    frame = frame_of([])[0]
    frame[20:116, 20:116] = person(3, 0)[0]
    Image.fromarray(frame.numpy()).save(tmp_path / "in.png")
    (tmp_path / "my.key").write_text(SECRET + "\n")
    return tmp_path


def drawn(run: Command, monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[Tensor, Keyed, Any]:
    """What a command wants of its one face, by which policy, and the encoder."""
    found: list[Any] = []
    finish = FaceChanger.finish

    def noted(self: FaceChanger) -> dict[str, object]:
        (wanted,) = self._wanted.values()
        found.append((wanted, self.method.policy, self.method.encoder))
        return finish(self)

    with monkeypatch.context() as patched:
        patched.setattr(FaceChanger, "finish", noted)
        ended = run(*FIVA, *words)
    assert ended.code == 0, ended.err
    return cast("tuple[Tensor, Keyed, Any]", found[0])


def identity(encoder: Any, path: Path) -> Tensor:
    frame = torch.from_numpy(np.array(Image.open(path)))
    with torch.no_grad():
        return encoder(crop_of(frame, Fixed().faces.points[0], 64)[None]).z


def test_a_face_turned_by_a_key_and_back(
    command: Callable[[Callable[[], None]], Command], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anonymizing wants R z of what is in the file, recovering R^-1 z' of what was written; no report has the key."""
    key, out, back = f"key.file={folder / 'my.key'}", folder / "out.png", folder / "back.png"
    wanted, policy, encoder = drawn(
        command(app.main), monkeypatch, f"input={folder / 'in.png'}", f"output={out}", "policy=rotation", key
    )
    rotation, words = cast(KeyedRotation, policy.policy), keys.key_of(SECRET.encode())
    torch.testing.assert_close(rotation(identity(encoder, folder / "in.png"), key=words)[0], wanted, atol=1e-4, rtol=0)
    monkeypatch.setenv(keys_app.KEY, SECRET)
    recovered, _, _ = drawn(command(recover.main), monkeypatch, f"input={out}", f"output={back}")
    torch.testing.assert_close(rotation.undo(identity(encoder, out), words)[0], recovered, atol=1e-4, rtol=0)
    salted, _, _ = drawn(
        command(recover.main), monkeypatch, f"input={out}", f"output={folder / 'c.png'}", "key.salt=mine"
    )
    assert float(salted @ recovered) < 0.9
    for report in (out, back):
        told = report.with_name(report.name + ".json").read_text() + report.with_name(report.name + ".html").read_text()
        secrets = (SECRET, words.numpy().tobytes().hex(), *map(str, words[0].tolist()))
        assert not any(secret in told for secret in secrets)
        assert json.loads(report.with_name(report.name + ".json").read_text())["settings"]["recover"] is (
            report == back
        )


def test_other_settings_than_the_report_tells_are_refused(
    command: Callable[[Callable[[], None]], Command], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the policy, and of the people whose directions it turns within; without the report nobody knows."""
    monkeypatch.setenv(keys_app.KEY, SECRET)
    source, back = folder / "out.png", f"output={folder / 'back.png'}"
    assert command(app.main)(*FIVA, f"input={folder / 'in.png'}", f"output={source}", "policy=rotation").code == 0
    fewer = [*FIVA[:-1], "data.identities.background=3", "data.identities.train=14"]
    for words, told in (([*FIVA, "policy.angle=60"], "policy={"), (fewer, "another data set")):
        ended = command(recover.main)(*words, f"input={source}", back)
        assert ended.code == 2 and f"'{source}' was anonymized with {told}" in ended.err.replace(
            "other weights, or ", ""
        )
        assert "take that report away" in ended.err and not (folder / "back.png").exists()
    source.with_name("out.png.json").unlink()
    assert command(recover.main)(*FIVA, "policy.angle=60", f"input={source}", back).code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("policy=rotation method=fiva", "policy=rotation needs a key: a password in the environment as ANON_KEY"),
        ("key.file=my.key", "key.file would do nothing here: it is of policy=rotation"),
        ("key.salt=mine method=fiva", "key.salt would do nothing here"),
        ("recover=true method=blur", "anon recover undoes policy=rotation of a generator"),
        ("recover=true method=fiva", "anon recover undoes policy=rotation of a generator"),
        ("policy=rotation method=fiva key.file=out.png.json", "key.file=out.png.json would be written over"),
        ("policy=rotation method=fiva key.file=short.key", "The key has 6 bytes; take 12"),
        ("policy=rotation method=fiva policy.angle=180 key.file=my.key", "policy.angle=180"),
    ],
)
def test_refused(
    command: Callable[[Callable[[], None]], Command],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    told: str,
) -> None:
    monkeypatch.chdir(folder)
    (folder / "short.key").write_text("123456")
    (folder / "pictures").mkdir()
    output = "out.png"
    source = folder / "pictures" / "in.png"
    source.write_bytes((folder / "in.png").read_bytes())
    few = [word for word in FIVA if word.startswith("data.") and "method=fiva" in words and "recover" not in words]
    ended = command(app.main)(f"input={source}", f"output={output}", "detector=fixed", *few, *words.split())
    assert ended.code == 2 and told in ended.err, ended.err


def test_python_keeps_no_key_between_two_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old code: under the same words the first key stayed, so a wrong one gave the face back."""
    words = (*(word for word in FIVA if not word.startswith("detector")), "domain=synthetic", "policy=rotation")
    words += ("data.identities.background=64", "data.images=4")  # enough for a judge's threshold
    held = []
    for password in (SECRET, f"{SECRET} of another", SECRET):
        monkeypatch.setenv(keys_app.KEY, password)
        held.append(cast(Any, python.built(*words).change.method).policy._key)
    assert torch.equal(held[0], held[2]) and not torch.equal(held[0], held[1])


def test_a_word_that_is_no_key(command: Callable[[Callable[[], None]], Command], folder: Path) -> None:
    ended = command(app.main)(
        f"input={folder / 'in.png'}", f"output={folder / 'o.png'}", "policy=rotation", "key=my.key"
    )
    assert ended.code == 2 and "key" in ended.err and len(ended.err.splitlines()) == 1
