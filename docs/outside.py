"""What the site (mkdocs.yml) needs of the repository beside docs/: README, cards, notebooks, and links that lead there.

Links are written as GitHub reads them. Here one that leads out of docs/ is led to the copy in the site: a page of
:data:`PAGES`, or a file that is small enough. What the site does not hold (weights, folders) is named without a link.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
#: Pages of the repository, by glob; README.md is the site's first page.
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "notebooks/README.md", "anon/weights/*.md")
PLACE = "project"  # of what is not from docs/, in the site
LARGEST = 900_000  # bytes of a linked file that is copied

_LINK = re.compile(r"(!?)\[((?:[^\]\[]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_IMAGE = re.compile(r'(<img [^>]*?src=")([^"]+)(")')
_FENCE = re.compile(r"^ *(```|~~~)")
_ROLE = re.compile(r":(?:func|class|mod|data|attr|meth):(<code>)~?")  # of Sphinx, in docstrings


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository, and what these and those of docs/ link to."""
    for pattern in PAGES:
        for path in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, _in_site(path), abs_src_path=str(path)))
    for file in [each for each in files if each.src_uri.endswith(".md") and not each.inclusion.is_excluded()]:
        source = _source(file)
        text = source.read_text(encoding="utf-8")
        for target in [found[3] for found in _LINK.finditer(text)] + [found[2] for found in _IMAGE.finditer(text)]:
            path = _meant(source, target)
            if path is not None and path.is_file() and _is_copied(path) and _in_site(path) not in files.src_uris:
                files.append(File.generated(config, _in_site(path), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to where their targets lie in the site."""
    source, lines, fenced = _source(page.file), [], False
    for line in markdown.splitlines():
        fenced ^= bool(_FENCE.match(line))
        if not fenced:
            line = _LINK.sub(lambda found: _led(found, source, page, files), line)
            line = _IMAGE.sub(lambda found: f"{found[1]}{_lead(found[2], source, page, files)}{found[3]}", line)
        lines.append(line)
    return "\n".join(lines)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Docstrings name functions by Sphinx's roles, which Markdown does not know."""
    return _ROLE.sub(r"\1", html)


def _led(found: re.Match[str], source: Path, page: Page, files: Files) -> str:
    to = _lead(found[3], source, page, files)
    return found[2] if to is None else f"{found[1]}[{found[2]}]({to})"


def _lead(target: str, source: Path, page: Page, files: Files) -> str | None:
    """The target as the site's page has it; None: the site does not hold it."""
    path = _meant(source, target)
    if path is None:
        return target
    if path.is_dir() and (path / "README.md").is_file():
        path = path / "README.md"
    if not path.exists():
        return target  # a broken link, which the build refuses
    there = _in_site(path)
    if there not in files.src_uris:
        return None
    mark = target.partition("#")[2]
    relative = posixpath.relpath(there, posixpath.dirname(page.file.src_uri) or ".")
    return relative + (f"#{mark}" if mark else "")


def _meant(source: Path, target: str) -> Path | None:
    """The file or folder that a relative link means; None: another address, or a mark in the page itself."""
    place = target.partition("#")[0]
    if not place or re.match(r"[a-z]+:|/", place):
        return None
    path = Path(posixpath.normpath((source.parent / place).as_posix()))
    return path if path.is_relative_to(ROOT) else None


def _source(file: File) -> Path:
    return Path(str(file.abs_src_path))


def _in_site(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    if name in ("README.md", "docs/README.md"):
        return "index.md"
    return name.removeprefix("docs/") if name.startswith("docs/") else f"{PLACE}/{name}"


def _is_copied(path: Path) -> bool:
    return path.suffix != ".md" and not path.is_relative_to(ROOT / "docs") and path.stat().st_size <= LARGEST
