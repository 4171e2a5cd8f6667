"""The demo over HTTP: the pipeline of ``anon anonymize``, nothing kept, a sentence for whatever is hostile."""

from __future__ import annotations

import base64
import http.client
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from anon.anonymizers.filters import Pixelate, SolidMask
from anon.apps.demo import pictures
from anon.apps.demo.pictures import Demo, demo_of
from anon.apps.demo.serve import LARGEST, Server, asked
from anon.attacks.reconstruction import Reconstruction
from anon.errors import UserError
from anon.video.changer import FaceChanger
from anon.video.gate import Gate, Judging
from anon.video.pipeline import Anonymizing
from tests.video.scenes import Known, frame_of


class Colours:
    """A judge: the mean colour of a picture's quarters."""

    name, metric, threshold, fingerprint = "colours", "euclidean", 0.5, "colours"

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


class Brighter(nn.Module):
    """Undoes nothing: an attack that gives white faces."""

    def forward(self, changed: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(changed)


def demo(method: nn.Module, domain: str = "synthetic", attacker: Any = None, threshold: float = 0.01) -> Demo:
    detector = Known()
    gate = Gate([Judging(Colours(), threshold)])
    change = FaceChanger(method.eval(), SolidMask((-1.0, -1.0, -1.0)), gate, 64)
    by = Anonymizing(detector, change, gate, {"domain": domain, "method": {"title": "Mosaic"}})
    return Demo(by, "Mosaic", domain, attacker, "" if attacker else "No attack here.")


@pytest.fixture
def scene() -> tuple[bytes, torch.Tensor, Any]:
    """A PNG of two people, its pixels, and where their faces are."""
    frame, faces = frame_of([(3, 20, 20), (5, 140, 30)])
    return png(frame), frame, faces


def png(frame: torch.Tensor, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(frame.numpy()).save(stream, kind, **options)
    return stream.getvalue()


def pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


@pytest.fixture
def running(scene: Any) -> Iterator[Server]:
    shown = demo(Pixelate(4), attacker=Reconstruction(Brighter(), None, None).eval())
    shown.by.detector.faces[scene[1].numpy().tobytes()] = scene[2]
    with Server("127.0.0.1", 0, shown) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: Server, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    host, port = server.server_address[:2]
    line = http.client.HTTPConnection(str(host), int(port), timeout=30)
    line.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = line.getresponse()
    content = answer.read()
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    return answer.status, json.loads(content) if answer.headers["Content-Type"] == "application/json" else content


def test_a_picture_is_anonymized_and_judged(running: Server, scene: Any) -> None:
    status, answer = ask(running, "POST", "/anonymize", scene[0])
    assert status == 200 and [face["status"] for face in answer["faces"]] == ["verified", "verified"]
    before, after = scene[1].numpy().astype(int), pixels(answer["picture"]).astype(int)
    changed = np.abs(after - before).max(2) > 0
    for left, top, right, bottom in (box.round().int().tolist() for box in scene[2].boxes):
        inside = changed[top:bottom, left:right]
        assert inside.mean() > 0.5
        changed[max(top - 40, 0) : bottom + 40, max(left - 40, 0) : right + 40] = False
    assert not changed.any()  # nothing but faces
    (judge,) = answer["faces"][0]["judges"]
    assert judge["name"] == "colours" and judge["distance"] > judge["threshold"] and not judge["recognized"]


def test_who_is_recognized_is_covered(scene: Any) -> None:
    shown = demo(Pixelate(4), threshold=100.0)
    shown.by.detector.faces[scene[1].numpy().tobytes()] = scene[2]
    answer = shown.anonymize(scene[0])
    assert {(face["status"], face["reason"]) for face in answer["faces"]} == {("covered", "still recognized")}
    middle = scene[2].boxes[0].view(2, 2).mean(0).round().int().tolist()
    assert pixels(answer["picture"])[middle[1], middle[0]].tolist() == [0, 0, 0]


def test_a_pair_is_attacked(running: Server, scene: Any) -> None:
    changed = base64.b64decode(ask(running, "POST", "/anonymize", scene[0])[1]["picture"].partition(",")[2])
    status, answer = ask(running, "POST", "/attack", scene[0] + changed, X_First=str(len(scene[0])))
    assert status == 200 and len(answer["faces"]) == 2
    face = answer["faces"][0]
    assert pixels(face["attacked"]).min() == 255 and pixels(face["original"]).shape == (64, 64, 3)
    crop = torch.from_numpy(pixels(face["original"]).copy()).float() / 127.5 - 1
    means = nn.functional.adaptive_avg_pool2d(crop.permute(2, 0, 1)[None], 2).flatten()
    assert face["judges_attacked"][0]["distance"] == pytest.approx(float((means - 1).norm()), abs=0.02)


def test_nothing_is_remembered(scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is written, and who was in the picture is forgotten."""
    monkeypatch.chdir(tmp_path)
    shown = demo(Pixelate(4))
    forgotten = []
    monkeypatch.setattr(FaceChanger, "begin", lambda self: forgotten.append(True))
    shown.anonymize(scene[0])
    assert len(forgotten) == 2 and not list(tmp_path.iterdir())


HOSTILE = {
    "nothing": (b"", "it is empty"),
    "a text": (b"<script>alert(1)</script>", "it is not an image"),
    "a cut picture": (png(torch.zeros(64, 64, 3, dtype=torch.uint8))[:60], "it is"),
    "a bomb": (png(torch.zeros(1, 1, 3, dtype=torch.uint8)), "smaller than 16 px"),
    "too many pixels": (png(torch.zeros(4001, 4000, 3, dtype=torch.uint8), compress_level=1), "16 megapixels"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_picture_gets_a_sentence(running: Server, name: str) -> None:
    body, told = HOSTILE[name]
    status, answer = ask(running, "POST", "/anonymize", body)
    assert status == 422 and told in answer["error"] and answer["error"].endswith(".")


def test_requests_that_are_none(running: Server, scene: Any) -> None:
    host = f"127.0.0.1:{running.server_address[1]}"
    assert ask(running, "GET", "/../../etc/passwd")[0] == 404
    assert ask(running, "POST", "/shutdown", b"a")[0] == 404
    assert ask(running, "POST", "/attack", scene[0])[0] == 400
    assert ask(running, "POST", "/attack", scene[0], X_First="-1")[0] == 400
    assert ask(running, "POST", "/attack", scene[0] * 2, X_First=str(len(scene[0])))[0] == 200
    assert ask(running, "GET", "/", Host="evil.example:80")[0] == 403
    assert ask(running, "POST", "/anonymize", scene[0], Host=host, Origin="http://evil.example")[0] == 403
    assert ask(running, "GET", "/about", Host=host, Origin=f"http://{host}")[0] == 200
    assert ask(running, "POST", "/anonymize", b"x" * (LARGEST + 1))[0] == 413


def test_the_page_and_its_parts(running: Server) -> None:
    status, page = ask(running, "GET", "/")
    assert status == 200 and b"page.js" in page and b"http" not in page.replace(b"http-equiv", b"")
    assert ask(running, "GET", "/page.js")[0] == ask(running, "GET", "/page.css?1")[0] == 200
    status, drawn = ask(running, "GET", "/sample")
    assert status == 200 and Image.open(io.BytesIO(drawn)).size == (240, 180)
    about = ask(running, "GET", "/about")[1]
    assert about["attack"] and about["judges"] == [{"name": "colours", "threshold": 0.01}]


def test_photographs_have_no_attack_that_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = demo(SolidMask((-1.0, -1.0, -1.0)), domain="photographs")
    with pytest.raises(UserError, match="No attack here"):
        shown.attack(b"", b"")
    with pytest.raises(UserError, match="domain=synthetic"):
        shown.sample()
    assert pictures._attacker(shown.by, "photographs", None)[1].startswith("No attack on photographs ships")
    attacker, told = pictures._attacker(shown.by, "synthetic", None)
    assert attacker is not None and told == ""  # one that learned a black mask ships
    attacker, told = pictures._attacker(demo(SolidMask((0.5, 0.5, 0.5))).by, "synthetic", None)
    assert attacker is None and told.startswith("The attack cannot attack SolidMask")
    with pytest.raises(UserError, match="cannot attack SolidMask"):
        pictures._attacker(shown.by, "synthetic", "shipped:reconstruction")


def test_settings() -> None:
    given = asked(["domain=synthetic", "--port", "0", "method=blur"])
    assert (given.host, given.port, given.settings) == ("127.0.0.1", 0, ("domain=synthetic", "method=blur"))
    for words, told in ((["input=a.png"], "from its page"), (["store=a"], "from its page"), (["audio=drop"], "sound")):
        with pytest.raises(UserError, match=told):
            demo_of(words)
    with pytest.raises(UserError, match="cannot be listened on"):
        Server("256.0.0.1", 0, demo(SolidMask((-1.0, -1.0, -1.0))))


def test_the_door_is_open_only_where_it_is_said() -> None:
    with Server("127.0.0.1", 0, demo(SolidMask((-1.0, -1.0, -1.0)))) as server:
        assert server.address.startswith("http://127.0.0.1:") and "127.0.0.1" in (server.names or ())
    with Server("0.0.0.0", 0, demo(SolidMask((-1.0, -1.0, -1.0)))) as server:
        assert server.names is None
