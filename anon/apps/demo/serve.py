"""A page to try an anonymizer on: ``anon demo``, then http://127.0.0.1:8000.

usage: anon demo [--port <number>] [--host <address>] [--attack <checkpoint>] [<setting>=<value> ...]

  --port 8000           0: a free one
  --host 127.0.0.1      this machine alone; 0.0.0.0 lets everybody in the network in
  --attack <file>       a run folder of experiment=reconstruction, or its checkpoint; by default the attack that ships,
                        where it learned the method
  domain=synthetic      rendered faces, for which everything ships: method=fiva judge=synthetic and an attack
  method=blur           any setting of anon anonymize: method, policy, detector, judge, gate, ...

A picture goes through what anon anonymize runs: faces are found, changed, judged, and covered where that fails.
Nothing is written to a disk, and no request is logged. Exit codes: 0 done, 2 a mistake that you can mend, 130 stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from anon.apps.demo.pictures import Demo, demo_of
from anon.commands import Parser, ended, in_utf8, whole
from anon.errors import UserError

LARGEST = 20_000_000  # bytes of a request
WAIT = 120  # seconds that a request waits for those before it
_PAGES = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' data:; "
    "img-src 'self' data: blob:; media-src blob: mediastream:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Refused(Exception):
    """A request that is not answered as it wants: the status and the sentence."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class Asked(NamedTuple):
    """What the command line says."""

    host: str
    port: int
    attack: str | None
    settings: tuple[str, ...]


class Server(ThreadingHTTPServer):
    """Serves one :class:`anon.apps.demo.pictures.Demo`, a request at a time for what costs."""

    daemon_threads = True

    def __init__(self, host: str, port: int, demo: Demo) -> None:
        self.demo, self.busy = demo, threading.Lock()
        try:
            super().__init__((host, port), Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UserError(f"--host {host} --port {port} cannot be listened on ({reason}); name another.") from error
        self.names = None if host in ("0.0.0.0", "::") else {*_LOCAL, host}

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        host, port = self.server_address[:2]
        return f"http://{'127.0.0.1' if self.names is None else str(host)}:{port}/"


class Handler(BaseHTTPRequestHandler):
    """Four answers: the page, a rendered person, a picture anonymized, and an anonymized one attacked."""

    server: Server
    timeout = 60  # seconds without a byte
    server_version, sys_version = "anon", ""

    def do_GET(self) -> None:
        """The page and its parts, what the demo is made of, and a rendered person."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """A picture to anonymize, or a pair to attack."""
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody's requests are kept."""

    def _get(self) -> None:
        path = self.path.partition("?")[0]
        if path in _PAGES:
            name, kind = _PAGES[path]
            self._send(HTTPStatus.OK, f"{kind}; charset=utf-8", (Path(__file__).parent / name).read_bytes())
        elif path == "/about":
            self._json(HTTPStatus.OK, self.server.demo.about())
        elif path == "/sample":
            self._send(HTTPStatus.OK, "image/png", self.server.demo.sample())
        else:
            raise Refused(HTTPStatus.NOT_FOUND, "There is nothing at this address.")

    def _post(self) -> None:
        work = {"/anonymize": self._anonymized, "/attack": self._attacked}.get(self.path)
        body = self._body()
        if work is None:
            raise Refused(HTTPStatus.NOT_FOUND, "There is nothing at this address.")
        if not self.server.busy.acquire(timeout=WAIT):
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "Other pictures are being worked on; try again.")
        try:
            self._json(HTTPStatus.OK, work(body))
        finally:
            self.server.busy.release()

    def _anonymized(self, body: bytes) -> dict[str, Any]:
        return self.server.demo.anonymize(body)

    def _attacked(self, body: bytes) -> dict[str, Any]:
        length = self.headers.get("X-First", "")
        if not length.isdecimal() or not 0 < int(length) < len(body):
            raise Refused(HTTPStatus.BAD_REQUEST, "An attack takes two pictures; X-First says how long the first is.")
        return self.server.demo.attack(body[: int(length)], body[int(length) :])

    def _body(self) -> bytes:
        told = self.headers.get("Content-Length", "")
        if not told.isdecimal():
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "The request does not say how long it is.")
        length, read = int(told), 0
        if length > LARGEST:
            while read < min(length, 10 * LARGEST) and (part := self.rfile.read(min(65536, length - read))):
                read += len(part)  # a browser hears the answer only when it has sent all
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The picture is larger than {LARGEST // 1_000_000} megabytes."
            )
        return self.rfile.read(length)

    def _answer(self, work: Any) -> None:
        try:
            self._check_local()
            work()
        except Refused as refusal:
            self._json(refusal.status, {"error": refusal.sentence})
        except UserError as error:
            self._json(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error)})
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # whoever asked has gone

    def _check_local(self) -> None:
        """No other page of the browser may use the demo, whatever name it has given to this machine."""
        host = self.headers.get("Host", "")
        if self.server.names is not None and host.rpartition(":")[0] not in self.server.names:
            raise Refused(HTTPStatus.FORBIDDEN, f"Open the demo at {self.server.address}.")
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            raise Refused(HTTPStatus.FORBIDDEN, "Another page may not use the demo.")

    def _json(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(content).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def asked(words: Sequence[str]) -> Asked:
    """What the words of the command line say.

    Raises:
        UserError: an option that there is not, or a port that is none.
    """
    parser = Parser(prog="anon demo", formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=whole(0, 65535), default=8000)
    parser.add_argument("--attack", metavar="CHECKPOINT")
    parser.add_argument("settings", nargs="*", metavar="setting=value")
    given = parser.parse_intermixed_args(list(words))
    return Asked(given.host, given.port, given.attack, tuple(given.settings))


def serve(given: Asked) -> None:
    """Serve until Ctrl-C.

    Raises:
        UserError: a setting that cannot be, or an address that cannot be listened on.
    """
    with Server(given.host, given.port, demo_of(given.settings, given.attack)) as server:
        if server.names is None:
            print("everybody in this network can use the demo, and nothing that is sent is encrypted.", flush=True)
        print(f"{server.address} (Ctrl-C ends it)", flush=True)
        server.serve_forever()


def command() -> int:
    """Entry point; returns the exit code."""
    return ended(lambda: serve(asked(sys.argv[1:])))


if __name__ == "__main__":
    in_utf8()
    sys.exit(command())
