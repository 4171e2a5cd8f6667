"""What is read of a folder that somebody gave: plain files within bounds, whatever lies there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anon import checksums, plain
from anon.errors import UserError

LINUX = pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="needs Linux")


@LINUX
def test_only_plain_files_are_opened(tmp_path: Path) -> None:
    """A pipe without a writer, a device, a file of the kernel's (here without end), a folder, a name that is none."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "kernel").symlink_to("/proc/self/pagemap")
    for name in ("pipe", "zero", "kernel", "."):
        with pytest.raises(plain.NotPlain, match="not a regular file"):
            plain.opened(tmp_path / name)
        with pytest.raises(UserError, match="it is not a regular file"):
            plain.read_text(tmp_path / name, 10)
        with pytest.raises(OSError):
            checksums.of_file(tmp_path / name)
    for name in ("a\0b", "a" * 5000, "none"):
        with pytest.raises(UserError, match="cannot be read"):
            plain.read_bytes(tmp_path / name, 10)


def test_bytes_and_texts_have_bounds(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfab\xff")
    assert plain.read_bytes(tmp_path / "a", 6) == b"\xef\xbb\xbfab\xff"
    assert plain.read_text(tmp_path / "a", 6, "replace") == "ab\ufffd"
    with pytest.raises(UserError, match="more than 5 bytes"):
        plain.read_bytes(tmp_path / "a", 5)
    with pytest.raises(UserError, match="not UTF-8"):
        plain.read_text(tmp_path / "a", 6)


def test_json_has_a_bound_on_what_it_becomes(tmp_path: Path) -> None:
    """The kind: the bytes of a file were bounded, not what they become; 40 MB of {"":0} took 1.2 GB."""
    assert plain.parse_json('{"a": [1, 2]}', "it", values=4) == {"a": [1, 2]}
    with pytest.raises(UserError, match="it holds more than 3 values"):
        plain.parse_json('{"a": [1, 2]}', "it", values=3)
    (tmp_path / "a.json").write_text("[" + ",".join(['{"":0}'] * 1_000_000) + "]")
    with pytest.raises(UserError, match="more than 2,000,000 values"):
        plain.read_json(tmp_path / "a.json")
