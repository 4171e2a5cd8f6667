"""What is read and what it becomes: a file, a folder, a pattern or a camera, each to a place that is no input's.

A folder of results holds ``anonymize.json``, what it was begun with and what became of every input; each result has its
own report beside it, and ``anonymize.html`` sums them up. Stopped or killed, the same command goes on: a result whose
report is there, of the same input, stays.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

import anon
from anon import plain
from anon.errors import UserError
from anon.faces.images import is_photograph
from anon.faces.live import Source, source_of
from anon.faces.tree import files_below, spelled
from anon.faces.video import is_still, is_video
from anon.printable import flat
from anon.progress import track
from anon.video import clips, photographs, report
from anon.video.live import record
from anon.video.page import page
from anon.video.pipeline import Anonymizing

BEGUN = "anonymize.json"  # in a folder of results
SUMMARY = "anonymize.html"  # of all of them
LOCK = ".anonymize.lock"


class Job(NamedTuple):
    """A file and what it becomes."""

    source: Path
    target: Path
    video: bool
    live: Source | None = None  # a camera or a pipe, which is read once


class Jobs(NamedTuple):
    """All that is to be done."""

    jobs: list[Job]
    folder: Path | None  # of results; None: one file
    aside: dict[str, str]  # what is not read, and why


def jobs_of(given: str, output: str) -> Jobs:
    """What ``input=`` and ``output=`` mean.

    Raises:
        UserError: nothing is there, nothing to read, a result would lie where an input does, or cannot be written so.
    """
    if not given.strip() or not output.strip():
        raise UserError("input=<photograph, video or folder> and output=<place> must not be empty.")
    source, target = Path(given).expanduser(), Path(output).expanduser()
    live = source_of(given)
    if live is not None:
        return Jobs([_live(live, target, output)], None, {})
    if source.is_dir():
        found, aside = _of_folder(source, target)
    elif not os.path.lexists(source) and glob.has_magic(given):
        results = f"{os.path.realpath(target)}{os.sep}"  # of the run before, which continues
        names = sorted(
            name
            for name in glob.glob(str(source), recursive=True)
            if not os.path.isdir(name) and not os.path.realpath(name).startswith(results)
        )
        base = Path(os.path.commonpath([os.path.dirname(name) or "." for name in names])) if names else source
        found, aside = _split([(Path(name), Path(os.path.relpath(name, base))) for name in names], target)
        if not found:
            raise UserError(f"input={given} matches no photograph or video.")
    else:
        return Jobs([_alone(source, target, output)], None, {})
    if target.exists() and not target.is_dir():
        raise UserError(f"output={output} is a file; the results of several inputs need a folder.")
    _check_apart(found)
    return Jobs(found, target, aside)


def _live(live: Source, target: Path, output: str) -> Job:
    if target.is_dir() or target.suffix.lower() not in clips.FORMATS:
        raise UserError(f"output={output}: what is live becomes one of {', '.join(clips.FORMATS)}; name a file.")
    job = Job(Path(live.file), target, True, live)
    _check_apart([job])
    _check_free(target, output)
    return job


def _alone(source: Path, target: Path, output: str) -> Job:
    if not os.path.lexists(source):
        raise UserError(f"input={source}: there is no such file or folder.")
    if target.is_dir() or output.endswith("/"):
        target = target / _named(Path(source.name), source)
    known = is_video(source.name) or is_photograph(source.name)
    video = _is_video(source) if known else target.suffix.lower() in clips.FORMATS
    formats = clips.FORMATS if video else photographs.FORMATS
    if target.suffix.lower() not in formats:
        kind = "video" if video else "photograph"
        raise UserError(f"output={target}: a {kind} is written as {', '.join(formats)}; name a file that ends so.")
    job = Job(source, target, video)
    _check_apart([job])
    _check_free(target, f"{target}")
    return job


def _check_free(target: Path, output: str) -> None:
    """See that a result and its report take the place of nothing but an earlier run's."""
    beside = report.report_of(target)
    done = _report_at(beside)
    for place in (target, beside, report.page_of(target)):  # Google Takeout, too, lays a .json beside every photograph
        if os.path.lexists(place) and (done is None or (place == target and not _made(place, done))):
            raise UserError(f"output={output}: {place} is there already and not of this program; name another file.")


def written(jobs: Jobs) -> Iterator[Path]:
    """Every file that :func:`run` reads or makes."""
    for job in jobs.jobs:
        yield from (job.source, job.target, report.report_of(job.target), report.page_of(job.target))
    if jobs.folder is not None:
        yield from (jobs.folder / name for name in (BEGUN, SUMMARY, LOCK))


def _report_at(path: Path) -> dict[str, Any] | None:
    """What this program wrote there; None of anything else."""
    try:
        found = plain.read_json(path)
    except (UserError, OSError):
        return None
    return found if isinstance(found, dict) and {"anon", "settings", "input"} <= found.keys() else None


def _made(result: Path, by: dict[str, Any]) -> bool:
    """Whether a result is the one that its report tells of; a run that was stopped has told no size yet."""
    return "bytes" not in by or by["bytes"] == result.stat().st_size


def _of_folder(source: Path, target: Path) -> tuple[list[Job], dict[str, str]]:
    entries = list(files_below(source, f"input={source}", target))
    aside = {entry.file: entry.aside for entry in entries if entry.aside is not None}
    found, more = _split([(Path(e.path), Path(e.name)) for e in entries if e.aside is None], target)
    if not found:
        raise UserError(f"input={source} holds no photograph or video.")
    return found, {**aside, **more}


def _split(files: list[tuple[Path, Path]], target: Path) -> tuple[list[Job], dict[str, str]]:
    """Jobs of files with their places below the folder of results, and what is no picture by its name."""
    found, aside = list[Job](), dict[str, str]()
    for path, place in files:
        if is_video(path.name) or is_photograph(path.name):
            found.append(Job(path, target / _named(place, path), _is_video(path)))
        else:
            aside[spelled(str(place))] = "no photograph or video by its name"
    return found, aside


def _is_video(path: Path) -> bool:
    return is_video(path.name) and not is_still(path)


def _named(place: Path, source: Path) -> Path:
    """The same name, with another ending after it where that format is not written."""
    formats, other = (clips.FORMATS, ".mp4") if _is_video(source) else (photographs.FORMATS, ".png")
    return place if place.suffix.lower() in formats else place.with_name(place.name + other)


def _check_apart(jobs: list[Job]) -> None:
    """No result may take the place of an input, or of another result."""
    inputs = {os.path.realpath(job.source) for job in jobs}
    taken: set[str] = set()
    for job in jobs:
        place = os.path.realpath(job.target)
        beside = (report.report_of(job.target), report.page_of(job.target))
        if place in inputs or any(os.path.realpath(each) in inputs for each in beside) or _same(job):
            raise UserError(f"output={job.target} is an input; the original would be lost, so name another place.")
        if place in taken:
            raise UserError(f"two inputs would both become {job.target}; anonymize them apart.")
        taken.add(place)


def _same(job: Job) -> bool:
    try:
        return os.path.samefile(job.source, job.target)  # a hard link
    except OSError:
        return False


def run(jobs: Jobs, by: Anonymizing) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Do all of them; gives each job with its report, those that an earlier run has finished, too.

    Raises:
        UserError: the one file, or some of several, cannot be anonymized; or the folder is another run's.
    """
    if jobs.folder is None:
        (job,) = jobs.jobs
        told = report.page_of(job.target)
        with _aside(told, job.target):
            done = _do(job, by)
        _write(told, page(done))
        yield job, done
        return
    _begin(jobs.folder, by)
    try:
        with FileLock(jobs.folder / LOCK).acquire(timeout=0):
            yield from _several(jobs, jobs.folder, by)
    except Timeout as error:
        raise UserError(f"output={jobs.folder} is being filled by another run; wait for it.") from error


def _several(jobs: Jobs, folder: Path, by: Anonymizing) -> Iterator[tuple[Job, dict[str, Any]]]:
    failed, finished = dict[str, str](), list[dict[str, Any]]()
    _write(folder / BEGUN, {"settings": by.settings})  # stopped, it tells no counts of an earlier run
    (folder / SUMMARY).unlink(missing_ok=True)
    every: Iterable[Job] = jobs.jobs
    if not any(job.video for job in jobs.jobs):  # a video has a bar of its own
        every = track(jobs.jobs, "anonymizing files", len(jobs.jobs), unit="files")
    for job in every:
        name = spelled(str(job.target.relative_to(folder)))
        try:
            done = _finished(job, by) or _do(job, by)
        except UserError as error:
            told = str(error).replace(str(job.source), job.source.name).replace(f"{folder}{os.sep}", "")
            failed[name] = flat(told)  # a report tells no folders
        else:
            finished.append({name: done[name] for name in report.SUMMED})
            yield job, done
    _write(folder / BEGUN, {"settings": by.settings, "files": len(jobs.jobs), "failed": failed, "not_read": jobs.aside})
    whole = report.summed(finished, by.settings, len(failed), len(jobs.aside))
    _write(folder / SUMMARY, page(whole))
    if failed:
        raise UserError(
            f"{len(failed)} of {len(jobs.jobs)} files were not written, the first because {next(iter(failed.values()))}"
            f" All reasons are in {folder / BEGUN}."
        )


def _do(job: Job, by: Anonymizing) -> dict[str, Any]:
    """The report of a file that is anonymized now.

    Raises:
        UserError: it cannot be read, anonymized or written.
    """
    beside = report.report_of(job.target)
    _clear(job.target)
    stamp, before, old = {} if job.live else _stamp(job.source), clips.state_of(job.target), _report_at(beside)
    # Killed between result and report, the same command knows that both are its own; and none tells of an old result.
    _write(beside, {"anon": anon.__version__, "settings": by.settings, "input": stamp})
    try:
        if job.live is not None:
            done = record(by, job.live, job.target)
        else:
            done = by.video(job.source, job.target) if job.video else by.photograph(job.source, job.target)
        done |= {"input": stamp, "bytes": job.target.stat().st_size}
    except BaseException as error:
        if old is None:
            beside.unlink(missing_ok=True)
        elif before == clips.state_of(job.target):  # that result is still there
            _write(beside, old)
        if isinstance(error, OSError):  # a full disk; what is wrong with the input is a UserError already
            raise _unwritten(job.target, error) from error
        raise
    _write(beside, done)
    return done


@contextlib.contextmanager
def _aside(told: Path, result: Path) -> Iterator[None]:
    """A page does not lie there meanwhile, nor afterwards unless the result that it tells of still does."""
    before, hidden = clips.state_of(result), told.with_name(f".{told.name}.{os.getpid()}.part")
    with contextlib.suppress(OSError):  # there is none, or no place to write, which is told by what is written next
        told.replace(hidden)
    try:
        yield
    except BaseException:
        if before == clips.state_of(result):
            with contextlib.suppress(OSError):
                hidden.replace(told)
        raise
    finally:
        with contextlib.suppress(OSError):
            hidden.unlink()


def _clear(target: Path) -> None:
    """Make the folder of a result; what killed runs began to write there goes away.

    Raises:
        UserError: there can be no such folder or file.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f".{glob.escape(target.name)}*.part"):
            owner = left.name.split(".")[-2]
            if Path("/proc/self").exists() and not Path("/proc", owner).exists():  # elsewhere nobody knows who lives
                left.unlink()
    except OSError as error:
        raise _unwritten(target, error) from error


def _write(path: Path, content: dict[str, Any] | str) -> None:
    try:
        report.write(path, content)
    except OSError as error:
        raise _unwritten(path, error) from error


def _unwritten(path: Path, error: OSError) -> UserError:
    return UserError(f"'{path}' cannot be written ({error.strerror or type(error).__name__}).")


def _stamp(path: Path, salt: str = "") -> dict[str, str]:
    """Tells an input from another, and not when it was made or how large it is."""
    salt = salt or secrets.token_hex(16)
    try:
        status = os.stat(path)
    except OSError:  # a link to nowhere: unreadable, as whoever opens it says
        return {}
    told = f"{salt} {status.st_size} {status.st_mtime_ns}".encode()
    return {"salt": salt, "sha256": hashlib.sha256(told).hexdigest()}


def _finished(job: Job, by: Anonymizing) -> dict[str, Any] | None:
    """The report of a result that is whole, and of this input as it is now."""
    path = report.report_of(job.target)
    try:
        if not path.is_file() or not job.target.is_file():
            return None
        done = plain.read_json(path)
        same = done["settings"] == by.settings and done["input"] == _stamp(job.source, str(done["input"]["salt"]))
        return done if same and done["bytes"] == job.target.stat().st_size else None
    except (UserError, OSError, KeyError, TypeError):
        return None


def _begin(folder: Path, by: Anonymizing) -> None:
    """Begin a folder of results, or see that it was begun with the same settings."""
    path = folder / BEGUN
    _clear(path)
    if not check_folder(folder, by):
        _write(path, {"settings": by.settings})


def check_folder(folder: Path, by: Anonymizing) -> bool:
    """Whether results with these settings were begun in a folder; one that holds nothing, or is not there, is free.

    Raises:
        UserError: it holds something else.
    """
    path = folder / BEGUN
    if not path.is_file():
        strange = sorted(name for name in os.listdir(folder) if not name.startswith(".")) if folder.is_dir() else []
        if strange:
            raise UserError(
                f"output={folder} holds what this program did not write ('{flat(strange[0])}'): name a new folder, or "
                "an empty one."
            )
        return False
    begun = plain.read_json(path)
    before = begun.get("settings") if isinstance(begun, dict) else None
    if before != by.settings:
        differing = [
            key for key, value in by.settings.items() if not isinstance(before, dict) or before.get(key) != value
        ]
        raise UserError(
            f"output={folder} was begun with other settings ({', '.join(differing)}); give those again or another "
            "output."
        )
    return True
