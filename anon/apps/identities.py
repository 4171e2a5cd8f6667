"""Look after the identity store of ``anon anonymize ... store=<file>``.

usage: anon identities <store> list
       anon identities <store> find input=<photograph> [method=<choice>] [<setting>=<value> ...]
       anon identities <store> forget <number> [<number> ...]
       anon identities <store> merge <other store> [--other-key-file <file>]

  list      the number of everybody in the store, the first and the last day (UTC), and in how many files
  find      the numbers of the people in a photograph; settings are those of anon anonymize, and the method is
            the one that filled the store: method=fiva (or domain=synthetic, whose method that is)
  forget    take people out of the file for good; who comes again is somebody new
  merge     take in what another store holds, which stays as it is; who is in both is one, with the fake of here

  --key-file <file>         holds the store's key; without it ANON_STORE_KEY in the environment does
  --other-key-file <file>   holds the other store's key, where it is another one

Nothing here shows a face or an embedding. Exit codes: 0 done, 2 a mistake that you can mend, 130 stopped.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from anon.apps.anonymize import built_method, size_of
from anon.apps.config import composed
from anon.apps.door.config import check_config, check_places
from anon.apps.door.words import readable
from anon.apps.launch.failures import guarded, unwrapped
from anon.apps.stores import key_of, whose
from anon.apps.untrusted import trusting
from anon.commands import Parser, in_utf8, path, usage, whole
from anon.errors import UserError
from anon.identity.store.file import Store
from anon.video import photographs
from anon.video.paste import crop_of

_HELP = {"-h", "--help"}
_EPOCH = datetime.date(1970, 1, 1)


def command(words: Sequence[str] | None = None) -> int:
    """Run it and return its exit code."""
    return guarded(lambda: _run(list(sys.argv[1:] if words is None else words)))


def main() -> None:
    """Entry point."""
    sys.exit(command())


def _run(words: list[str]) -> None:
    if _HELP & set(words) or not words:
        print(usage(__doc__))
        return
    given = _parser().parse_args(words)
    store = _store(given.store, given.key_file, "--key-file <file>")
    _VERBS[given.verb](store, given)


def _parser() -> Parser:
    parser = Parser(prog="anon identities", add_help=False, allow_abbrev=False)
    parser.add_argument("store", type=path)
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=Parser, prog="anon identities")
    taken = {verb: verbs.add_parser(verb, add_help=False, allow_abbrev=False) for verb in _VERBS}
    taken["find"].add_argument("words", nargs="+", metavar="input=<photograph>")
    taken["forget"].add_argument("numbers", nargs="+", type=whole(1, 2**32 - 1), metavar="number")
    taken["merge"].add_argument("other", type=path)
    taken["merge"].add_argument("--other-key-file", type=path)
    for one in taken.values():
        one.add_argument("--key-file", type=path)
    return parser


def _store(file: Path, key_file: Path | None, told: str) -> Store:
    if not file.is_file():
        raise UserError(f"'{file}': there is no such identity store.")
    return Store(file, key_of(key_file, told))


def _list(store: Store, given: argparse.Namespace) -> None:
    with store:
        rows = store.rows.filled
    print(f"{'number':>10}  {'first day':10}  {'last day':10}  {'files':>6}")
    for number, first, last, files in zip(
        *(rows[name].tolist() for name in ("number", "first", "last", "files")), strict=True
    ):
        print(f"{number:>10}  {_day(first)}  {_day(last)}  {files:>6}")
    print(f"{len(rows):,} identities")


def _day(number: int) -> str:
    """
    >>> _day(0), _day(20787)
    ('1970-01-01', '2026-11-30')
    """
    return (_EPOCH + datetime.timedelta(days=min(number, 2_932_896))).isoformat()  # the last that a date can be


def _forget(store: Store, given: argparse.Namespace) -> None:
    numbers = sorted(set(given.numbers))
    with store:
        store.forget(numbers)
    print(f"forgotten: {', '.join(map(str, numbers))}; {len(store.rows):,} identities are left.")


def _merge(store: Store, given: argparse.Namespace) -> None:
    other = _store(given.other, given.other_key_file or given.key_file, "--other-key-file <file>")
    if other.path == store.path:
        raise UserError(f"'{given.other}' is the same store; name another one.")
    with store, other:
        same, new = store.merge(other)
    print(f"{same:,} of '{given.other}' were somebody here and are one with them, {new:,} are new here.")


def _find(store: Store, given: argparse.Namespace) -> None:
    config = composed("anonymize", readable(given.words))
    check_config(config)
    check_places(config)
    if config.files.input is None or config.files.output is not None or config.store.file is not None:
        raise UserError("find takes input=<photograph>, and neither output nor store.")
    with trusting(config.trust), unwrapped(), store:
        found = list(_found(store, config))
    for line in found:
        print(line)
    if not found:
        print("no face was found.")


def _found(store: Store, config: DictConfig) -> Iterator[str]:
    """A line for each face of a photograph."""
    base = built_method(config)
    if getattr(base, "generator", None) is None:
        raise UserError("this method knows nobody; name the one that filled the store, such as method=fiva.")
    store.check(*whose(base.encoder))
    detector, side = instantiate(config.detector), size_of(config, base)
    given = photographs.read(Path(str(config.files.input)).expanduser())
    for box, points in zip(*photographs.detect(detector, given)[:2], strict=True):
        where = "face at x {:.0f} to {:.0f}, y {:.0f} to {:.0f}".format(*box[[0, 2, 1, 3]].tolist())
        yield f"{where}: {_who(store, base, given.colour, points, side)}"


@torch.no_grad()
def _who(store: Store, base: Any, frame: Tensor, points: Tensor, side: int) -> str:
    assert store.about is not None
    try:
        crop = crop_of(frame, points, side)
    except ValueError:
        return "not to be told, for the detector gives no points"
    cosine, place = store.nearest(base.encoder(crop[None]).z.half().float())
    if not float(cosine) > 1.0 - store.about.threshold:
        return "nobody in the store"
    return f"identity {int(store.rows.filled['number'][int(place)])} (distance {1.0 - float(cosine):.3f})"


_VERBS = {"list": _list, "find": _find, "forget": _forget, "merge": _merge}

if __name__ == "__main__":
    in_utf8()
    main()
