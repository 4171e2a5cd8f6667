"""``prepare --verify``: packed shards are read as they are, so whether they are as they were written is asked for.

The kind: a file that is trusted by its size. A flipped byte in the middle of a shard is another face, not an error.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from anon.faces.packed import Pack
from anon.faces.prepare.__main__ import main
from tests.faces.prepare.material import photographs


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photographs in three shards."""
    root = tmp_path_factory.mktemp("photos") / "root"
    photographs(root, 6, 2)
    assert main([*arguments(root, root.parent / "out"), "--workers", "1"]) == 0
    return root.parent / "out"


def arguments(root: Path, out: Path) -> list[str]:
    given = ["--root", root, "--points", f"{root}.csv", "--out", out, "--size", 64, "--min-size", 8, "--unit", 5]
    return [str(each) for each in given]


def verified(out: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["--verify", "--out", str(out)])
    shown = capsys.readouterr()
    return code, shown.out if code == 0 else next(row for row in shown.err.splitlines() if row.startswith("error: "))


def test_untouched(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verified(packed, capsys) == (0, f"6 files of {packed} are as they were written.\n")
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    if shutil.which(command[0]):
        assert subprocess.run(command, cwd=packed, stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_each_mismatch_is_named(packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    shutil.copytree(packed, out)
    for name in ("shard-000001.tar", "files.jsonl"):
        content = bytearray((out / name).read_bytes())
        content[len(content) // 2] ^= 1
        (out / name).write_bytes(content)
    Pack(out)  # the loader does not see it
    (out / "shard-000002.tar").unlink()
    code, said = verified(out, capsys)
    assert code == 2 and "shard-000000" not in said
    for part in (
        "'files.jsonl' has another content",
        "'shard-000001.tar' has another",
        "'shard-000002.tar' is missing",
    ):
        assert part in said
    for name in ("shard-000001.tar", "files.jsonl"):
        (out / name).unlink()
    assert main([*arguments(packed.parent / "root", out), "--workers", "1"]) == 0
    assert verified(out, capsys)[0] == 0
    assert all((out / name).read_bytes() == (packed / name).read_bytes() for name in ("SHA256SUMS", "files.jsonl"))


def test_a_damaged_shard_that_is_finished_again_is_still_found(
    packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its checksum is that of the packing, not of what lies there when the index is written."""
    out = tmp_path / "out"
    shutil.copytree(packed, out)
    shard = out / "shard-000000.tar"
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(content)
    assert main([*arguments(packed.parent / "root", out), "--workers", "1"]) == 0
    code, said = verified(out, capsys)
    assert code == 2 and "'shard-000000.tar' has another content" in said


def test_lists_that_do_not_fit(packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    shutil.copytree(packed, out)
    sums = (packed / "SHA256SUMS").read_text()
    (out / "SHA256SUMS").write_text("".join(row for row in sums.splitlines(True) if "shard-000001" not in row))
    assert verified(out, capsys)[1].count("'shard-000001.tar' has no checksum") == 1
    for text in (sums + "more\n", "", sums.replace("  shard", "  ../shard"), sums[:-30]):
        (out / "SHA256SUMS").write_text(text)
        assert verified(out, capsys) == (
            2,
            f"error: '{out / 'SHA256SUMS'}' is damaged; run the same prepare command again.",
        )
    (out / "SHA256SUMS").unlink()
    assert verified(out, capsys)[1].startswith(f"error: '{out}' has no SHA256SUMS, as sets of older versions;")
    assert verified(tmp_path, capsys)[1].startswith(f"error: '{tmp_path}' is no finished packed data set;")


def test_a_set_that_an_older_version_began_is_not_continued(
    packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its faces were chosen otherwise, so the whole would be neither; what it finished is read all the same."""
    out = tmp_path / "out"
    shutil.copytree(packed, out)
    begun = json.loads((out / "prepare.json").read_text())
    begun["options"]["version"] = 1
    (out / "prepare.json").write_text(json.dumps(begun))
    assert main([*arguments(packed.parent / "root", out), "--workers", "1"]) == 2
    assert "was begun with other options (version)" in capsys.readouterr().err
    assert Pack(out).count == Pack(packed).count


def test_packing_still_needs_a_root(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", "nowhere", "--points", "none.csv"]) == 2
    assert "Give --root" in capsys.readouterr().err


def test_links_are_followed_no_further_than_by_the_loader(
    packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that links to what has no end (/dev/zero, /proc/self/pagemap) was read for ever."""
    out = tmp_path / "out"
    shutil.copytree(packed, out)
    for name in ("shard-000001.tar", "files.jsonl"):
        (out / name).rename(tmp_path / name)
        (out / name).symlink_to(tmp_path / name)
    code, said = verified(out, capsys)
    assert code == 2
    assert "'files.jsonl' is missing or a link, 'shard-000001.tar' is missing or a link" in said
