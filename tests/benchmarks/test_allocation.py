"""Fresh processes with glibc's default and with kept memory: both are measured, and the kept one needs fewer pages."""

from __future__ import annotations

import platform

import pytest

from benchmarks.allocation import WAYS, kept_against_default

WORDS = ["data.size=64", "generator.widths=[16,32]", "discriminator.base=8"]


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_a_row_a_way() -> None:
    lines = kept_against_default("reconstruction", WORDS, 8, windows=1, steps=4)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [row[0] for row in rows] == list(WAYS)
    for _, default, pages, kept, fewer, ratio in rows:
        assert float(default.split()[0]) > 0 < float(kept.split()[0])
        assert float(fewer.replace(",", "")) < float(pages.replace(",", ""))
        assert float(ratio) > 0
