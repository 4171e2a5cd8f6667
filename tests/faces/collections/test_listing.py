"""Hostile annotation files are refused in one sentence; nothing waits, nothing is unpickled."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from anon.errors import UserError
from anon.faces.collections.contract import Item
from anon.faces.collections.listing import Listing, csv_rows, five_of_68, lines, read_array, read_json, words


def test_lines_are_bounded_text_of_regular_files(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes("\ufeffé\nb".encode())
    assert list(lines(tmp_path / "good")) == ["é\n", "b"]
    (tmp_path / "long").write_bytes(b"a\n" + b"x" * 70_000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("long", "Line 2 .*longer"), ("binary", "UTF-8"), ("pipe", "regular file"), ("none", "No such")):
        with pytest.raises(UserError, match=why):
            list(lines(tmp_path / name))


def test_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('B , A,C\n"x, y",1, 2\n\nz,3,4\n')
    assert list(csv_rows(path, ["A", "B"])) == [(2, ["1", "x, y"]), (4, ["3", "z"])]
    assert next(csv_rows(path, ["p", "q"], published=["p", "q"])) == (1, ["B", "A"])
    with pytest.raises(UserError, match="lacks the columns D"):
        list(csv_rows(path, ["A", "D"]))
    path.write_text("A,B\n1\n")
    with pytest.raises(UserError, match=r"Line 2 .*1 fields"):
        list(csv_rows(path, ["A", "B"]))
    path.write_text('A,B\n1,"' + "x\n" * 200_000)
    with pytest.raises(UserError, match="not CSV"):
        list(csv_rows(path, ["A", "B"]))
    path.write_text("a b\n\nc\n")
    with pytest.raises(UserError, match=r"Line 3 .*1 words, not 2"):
        list(words(path, 2))


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1]}')
    assert read_json(path, 100) == {"a": [1]}
    with pytest.raises(UserError, match="larger"):
        read_json(path, 5)
    for text in ("[" * 100_000, "{", "\x00"):
        path.write_text(text)
        with pytest.raises(UserError, match="not JSON"):
            read_json(path, 1_000_000)


def test_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for array in (np.array("3"), np.array(0.5), np.arange(6.0).reshape(2, 3)):
        np.save(path, array)
        assert np.array_equal(read_array(path), array)
    np.save(path, np.array([object()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError):
        read_array(path)
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    for data in (b"", b"junk", pickle.dumps(3), b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header):
        path.write_bytes(data)
        with pytest.raises(ValueError):
            read_array(path)
    path.write_bytes(bytes(70_000))
    with pytest.raises(ValueError, match="too large"):
        read_array(path)


def test_five_of_68() -> None:
    points = [(float(n), float(-n)) for n in range(68)]
    assert five_of_68(points) == ((38.5, -38.5), (44.5, -44.5), (30.0, -30.0), (48.0, -48.0), (54.0, -54.0))


def test_a_listing_is_a_sequence() -> None:
    listing = Listing(3, lambda n: Item(f"{n}.jpg", "a"))
    assert [item.file for item in listing] == ["0.jpg", "1.jpg", "2.jpg"] and listing[-1].file == "2.jpg"
    assert [item.file for item in listing[1:9]] == ["1.jpg", "2.jpg"]
    with pytest.raises(IndexError):
        listing[3]
