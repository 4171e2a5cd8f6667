"""``store=<file>`` and ``anon identities``: rendered people keep their fake identities, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

import anon
from anon.anonymizers.composed import Anonymizer
from anon.apps import anonymize as app
from anon.apps import identities as identities_app
from anon.apps.config import composed
from anon.apps.identities import command as identities
from anon.apps.stores import KEY, key_of
from anon.errors import UserError
from anon.identity.store import sealed
from anon.identity.store.file import Store
from anon.identity.tracking import IdentityTracker
from anon.video.changer import FaceChanger
from anon.video.paste import crop_of
from tests.apps.conftest import HERE, Command
from tests.video.scenes import Fixed, frame_of, person

SECRET = "correct horse battery staple"
#: The shipped FIVA with few people to mix fakes of; its encoder takes 40 degrees for one person here.
FIVA = (
    *("method=fiva", "policy.threshold=0.25", "detector=fixed", "data.images=2"),
    *("data.identities.train=12", "data.identities.background=4"),
)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, SECRET)
    monkeypatch.setattr(sealed, "COST", 2)


_BUILT: dict[str, Any] = {}  # by title: what a command line builds, for the next one


@pytest.fixture(autouse=True)
def _built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    build, victim = app.built_method, app.victim_of

    def built(config: DictConfig) -> Any:
        if config.method.title not in _BUILT:
            _BUILT[config.method.title] = build(config)
        return _BUILT[config.method.title]

    def posed(method: Any, policy: Any, *rest: Any) -> Any:
        if policy is None or not policy["_target_"].endswith("IdentityTracker"):
            return victim(method, policy, *rest)
        if "sampling" not in _BUILT:
            _BUILT["sampling"] = victim(method, policy, *rest).policy.policy
        base = method["anonymizer"]
        return Anonymizer(base.encoder, IdentityTracker(_BUILT["sampling"], policy["threshold"]), base.generator)

    for module in (app, identities_app):
        monkeypatch.setattr(module, "built_method", built)
    monkeypatch.setattr(app, "victim_of", posed)


@pytest.fixture
def run(command: Callable[[Callable[[], None]], Command]) -> Command:
    return command(app.main)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of one rendered person, and one of another."""
    (tmp_path / "in").mkdir()
    for name, number, picture in (("ann_1", 3, 0), ("ann_2", 3, 1), ("ben", 8, 0)):
        frame = frame_of([])[0]
        frame[20:116, 20:116] = person(number, picture)[0]
        Image.fromarray(frame.numpy()).save(tmp_path / "in" / f"{name}.png")
    return tmp_path


def wanted_of(run: Command, monkeypatch: pytest.MonkeyPatch, *words: str) -> list[Tensor]:
    """The wanted identities of the faces that a command draws, in order."""
    found, finish = list[Tensor](), FaceChanger.finish

    def noted(self: FaceChanger) -> dict[str, object]:
        found.extend(self._wanted.values())
        return finish(self)

    with monkeypatch.context() as patched:
        patched.setattr(FaceChanger, "finish", noted)
        ended = run(*FIVA, *words)
    assert ended.code == 0, ended.err
    return found


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a, b, 0))


def seen(path: Path) -> Tensor:
    """How the shipped synthetic_b, which is not the encoder, sees a picture's face, (D,)."""
    judge = instantiate(composed("anonymize", ["judge=synthetic_b"]).judge)
    frame = torch.from_numpy(np.array(Image.open(path)))
    return judge.embed(crop_of(frame, Fixed().faces.points[0], 112)[None])[0]


def test_a_person_keeps_one_fake_identity_over_files_and_runs(
    run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes = {}
    for name in ("ann_1", "ann_2", "ben"):
        words = (f"input={folder / 'in' / name}.png", f"output={folder / name}.png")
        (fakes[name],) = wanted_of(run, monkeypatch, *words, f"store={folder / 'people.store'}")
    assert torch.equal(fakes["ann_1"], fakes["ann_2"]) and abs(cosine(fakes["ann_1"], fakes["ann_2"]) - 1) < 1e-6
    assert cosine(fakes["ann_1"], fakes["ben"]) < 0.99
    alone = wanted_of(run, monkeypatch, f"input={folder / 'in'}", f"output={folder / 'alone'}")
    assert len(alone) == 3 and cosine(alone[0], alone[1]) < 0.99
    one, two, ben = (seen(folder / f"{name}.png") for name in ("ann_1", "ann_2", "ben"))
    assert cosine(one, two) > max(cosine(one, ben), cosine(two, ben))
    reports = [json.loads((folder / f"{name}.png.json").read_text()) for name in ("ann_1", "ann_2", "ben")]
    told = [(report["people"]["known"], report["people"]["new"]) for report in reports]
    assert told == [(0, 1), (1, 0), (0, 1)]
    with Store(folder / "people.store", key_of(None)) as store:
        assert store.about is not None and len(store.rows) == 2
        assert all(report["settings"]["store"]["name"] == store.about.name for report in reports)
        assert "people.store" not in json.dumps(reports)
        assert {"name", "threshold"} == set(reports[0]["settings"]["store"])
    assert "people" not in json.loads((folder / "alone" / "ben.png.json").read_text())


def test_a_folder_that_is_stopped_and_continued(run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same fakes as in one go, and nobody of the file in which it was stopped is kept twice."""

    def words(name: str) -> tuple[str, ...]:
        return (f"input={folder / 'in'}", f"output={folder / name}", f"store={folder / name}.store")

    whole = wanted_of(run, monkeypatch, *words("a"))
    finish, count = FaceChanger.finish, [0]

    def stopping(self: FaceChanger) -> dict[str, object]:
        count[0] += 1
        if count[0] == 2:
            raise KeyboardInterrupt
        return finish(self)

    with monkeypatch.context() as patched:
        patched.setattr(FaceChanger, "finish", stopping)
        assert run(*FIVA, *words("b")).code == 130
    rest = wanted_of(run, monkeypatch, *words("b"))
    assert len(whole) == 3 and len(rest) == 2 and all(torch.equal(a, b) for a, b in zip(whole[1:], rest, strict=True))
    for name in ("ann_1", "ann_2", "ben"):
        assert (folder / "a" / f"{name}.png").read_bytes() == (folder / "b" / f"{name}.png").read_bytes()
    with Store(folder / "b.store", key_of(None)) as store:
        assert store.rows.filled["files"].tolist() == [2, 1]
    ended = run(*FIVA, *words("b")[:2], f"store={folder / 'c.store'}")
    assert ended.code == 2 and "begun with other settings (store)" in ended.err


def test_looking_after_a_store(
    run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = folder / "people.store"
    monkeypatch.setattr("anon.identity.store.remembering.time", SimpleNamespace(time=lambda: 20787 * 86400.0))
    assert run(*FIVA, f"input={folder / 'in'}", f"output={folder / 'out'}", f"store={store}").code == 0

    def told(*words: object, code: int = 0) -> str:
        capsys.readouterr()
        assert identities([str(word) for word in words]) == code
        out, err = capsys.readouterr()
        return err if code else out

    listed = told(store, "list").splitlines()
    assert [line.split() for line in listed[1:3]] == [
        ["1", "2026-11-30", "2026-11-30", "2"],
        ["2", "2026-11-30", "2026-11-30", "1"],
    ]
    assert listed[3:] == ["2 identities"]
    find = ("find", f"hydra.searchpath=[file://{HERE / 'conf'}]", "detector=fixed", "method=fiva")
    for name, number in (("ann_1", 1), ("ann_2", 1), ("ben", 2)):
        assert f": identity {number} (distance " in told(store, *find, f"input={folder / 'in' / name}.png")
    shutil.copy(store, folder / "b.store")
    assert told(store, "forget", 1) == "forgotten: 1; 1 identities are left.\n"
    assert "nobody in the store" in told(store, *find, f"input={folder / 'in' / 'ann_1'}.png")
    assert "holds no identity 1" in told(store, "forget", 1, code=2)
    merged = told(store, "merge", folder / "b.store")
    assert merged.endswith(
        "1 of '{}' were somebody here and are one with them, 1 are new here.\n".format(folder / "b.store")
    )
    assert "identity 3" in told(store, *find, f"input={folder / 'in' / 'ann_1'}.png")
    for words, sentence in (
        ((folder / "none.store", "list"), "there is no such identity store"),
        ((store, "merge", store), "is the same store"),
        ((store, "forget", "all"), "must be a whole number"),
        ((store, "burn"), "invalid choice"),
        ((store, "find", f"input={folder / 'in' / 'ben.png'}"), "this method knows nobody"),
        ((store, "find", "method=fiva"), "find takes input=<photograph>"),
        ((store, "list", "--key-file", folder / "none.key"), "cannot be read"),
    ):
        assert sentence in told(*words, code=2)
    monkeypatch.setenv(KEY, "another key than that")
    assert "does not open" in told(store, "list", code=2)
    shown = told("--help")
    assert shown.startswith("usage: anon identities <store> list") and max(map(len, shown.splitlines())) <= 115


def test_the_store_of_another_encoder_is_refused(run: Command, folder: Path) -> None:
    store = Store(folder / "people.store", key_of(None))
    store.begin("f" * 64, 128, 0.25)
    with store:
        store.create()
    before = store.path.read_bytes()
    words = (f"input={folder / 'in'}", f"output={folder / 'out'}", f"store={store.path}")
    ended = run(*FIVA, *words)
    assert ended.code == 2 and "of another recognizer" in ended.err and not (folder / "out").exists()
    assert store.path.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("store=p.store", "gives nobody an identity; method=fiva does"),
        ("store=p.store method=blur", "gives nobody an identity"),
        ("store=out.png method=fiva", "store=out.png is where a result would be written"),
        ("store=out.png.html method=fiva", "is where a result would be written"),
        ("store=p.store store.key_file=out.png method=fiva", "store.key_file=out.png would be written over"),
        ("store=p.store store.key_file=p.store method=fiva", "store.key_file=p.store would be written over"),
        ("store=p.store method=fiva policy=sampling", "keeps the identities of policy=itm"),
        ("store.key_file=p.key", "would do nothing without a store"),
        ("store=nowhere/p.store method=fiva", "no place for a file"),
        ("store=in method=fiva", "no place for a file"),
        ("store=p.store store.key_file=short.key method=fiva", "has 5 bytes; take 12"),
        ("store=p.store store.key_file=none.key method=fiva", "none.key"),
        ("store=p.store store.key=secret method=fiva", "no setting 'store.key'"),
        ("store=in/ben.png method=fiva", "no file that anon anonymize wrote"),
    ],
)
def test_mistakes_are_one_sentence(
    run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, words: str, told: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "short.key").write_text("12345\n")
    before = sorted(os.listdir(folder))
    ended = run("detector=fixed", "input=in/ann_1.png", "output=out.png", *words.split())
    assert ended.code == 2 and told in ended.err and len(ended.err.strip().splitlines()) == 1, ended.err
    assert [name for name in sorted(os.listdir(folder)) if name != ".in/ben.png.lock"] == before


def test_a_store_that_cannot_be_written_leaves_no_result(
    run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("anon.identity.store.journal.Journal.add", full)
    ended = run(*FIVA, f"input={folder / 'in' / 'ben.png'}", f"output={folder / 'out.png'}", f"store={folder / 'a'}")
    assert ended.code == 2 and "a.journal' cannot be written (No space left on device)" in ended.err
    assert not (folder / "out.png").exists() and not (folder / "out.png.json").exists()


def test_a_dry_run_makes_no_store(run: Command, folder: Path) -> None:
    before = sorted(os.listdir(folder))
    ended = run("--dry-run", *FIVA, f"input={folder / 'in'}", f"output={folder / 'out'}", f"store={folder / 'a.store'}")
    assert ended.code == 0 and sorted(os.listdir(folder)) == before
    (folder / "a.store.journal").write_bytes(b"left behind")
    ended = run("--dry-run", *FIVA, f"input={folder / 'in'}", f"output={folder / 'out'}", f"store={folder / 'a.store'}")
    assert ended.code == 2 and "is gone beside its journal 'a.store.journal'" in ended.err


def test_in_python(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anon.faces.detection.centerface.CenterFace", lambda **_: Fixed())
    given = [word.split("=") for word in FIVA if "detector" not in word]
    settings: dict[str, Any] = {name.replace(".", "__"): value for name, value in given}
    frames = [np.array(Image.open(folder / "in" / f"{name}.png")) for name in ("ann_1", "ann_2", "ben")]
    for frame in frames:
        assert not np.array_equal(anon.anonymize(frame, store=str(folder / "a.store"), **settings), frame)
        with Store(folder / "a.store", key_of(None)):
            pass  # between two calls the lock is free
    with Store(folder / "a.store", key_of(None)) as store:
        assert store.rows.filled["files"].tolist() == [2, 1]


def test_keys(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "people.key"
    file.write_text(f"{SECRET}\n")
    store = Store(folder / "a.store", key_of(None))
    store.begin("e", 4, 0.3)
    with store:
        store.create()
    monkeypatch.setenv(KEY, "another key than that")
    with Store(store.path, key_of(file)):
        pass  # the file's is taken, without the end of its line
    monkeypatch.delenv(KEY)
    with pytest.raises(UserError, match="an identity store is encrypted: put its key"):
        key_of(None)
