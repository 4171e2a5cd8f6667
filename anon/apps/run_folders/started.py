"""``started.json`` in a run folder: when it was first started, by which overrides, its choices of groups.

{"time": "2026-11-28T20:14:07.331450+00:00", "overrides": ["experiment=fiva"], "choices": {"data": "packed"}}
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from anon.apps.config import CONFIG, config_dir
from anon.apps.untrusted import read_config
from anon.errors import UserError
from anon.plain import MAX_YAML, read_json, read_text

STARTED = "started.json"
_NAME = "%Y-%m-%d_%H-%M-%S"  # how the name of a run folder begins
_COMMAND = "%Y-%m-%d %H:%M:%S"  # how a line of command.txt begins
_CALLED: ContextVar[tuple[str, ...] | None] = ContextVar("called", default=None)  # words of a call from Python


def run_config(folder: Path) -> DictConfig:
    """The configuration of the run in a folder.

    Raises:
        UserError: it is not readable.
    """
    return read_config(read_text(folder / CONFIG, MAX_YAML), folder / CONFIG)


def overrides() -> list[str]:
    """What the command line of this start, or its sweeper, or a call from Python, changes of the configuration."""
    called = _CALLED.get()
    if called is not None:
        return list(called)
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


@contextmanager
def called_with(words: Sequence[str]) -> Iterator[None]:
    """Where a configuration was composed by a function: within, :func:`overrides` are its words."""
    token = _CALLED.set(tuple(words))
    try:
        yield
    finally:
        _CALLED.reset(token)


def choices() -> dict[str, Any]:
    """What this start takes of each group, such as ``defense@attack.defense``."""
    called = _CALLED.get()
    if called is not None:
        words = (word.split("=", 1) for word in called if "=" in word)
        return {group: choice for group, choice in words if (config_dir() / group.partition("@")[0]).is_dir()}
    chosen = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    return {str(group): choice for group, choice in chosen.items() if not str(group).startswith("hydra/")}


def start_record(folder: Path) -> dict[str, Any]:
    """What ``started.json`` holds; empty where it is not there, or not readable."""
    with suppress(UserError):
        content = read_json(folder / STARTED, MAX_YAML)
        return content if isinstance(content, dict) else {}
    return {}


def started_at(folder: Path) -> float:
    """When a run was first started, in seconds since 1970: by its records, by its name, or else by its files."""
    with suppress(KeyError, ValueError, TypeError, OverflowError):
        moment = datetime.fromisoformat(start_record(folder)["time"])
        return moment.replace(tzinfo=moment.tzinfo or timezone.utc).timestamp()
    with suppress(UserError, ValueError, OverflowError):
        return time.mktime(time.strptime(read_text(folder / "command.txt", MAX_YAML)[:19], _COMMAND))
    for form, length in ((_NAME, 19), (_NAME[:8], 10)):  # the day alone will do
        with suppress(ValueError, OverflowError):
            return time.mktime(time.strptime(folder.name[:length], form))
    with suppress(OSError):
        return (folder / CONFIG).stat().st_mtime
    return 0.0


def start_text(folder: Path, continued: bool) -> str:
    """What to write into ``started.json`` now; a run that is continued keeps its time and overrides."""
    if not continued:
        now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
        return json.dumps({"time": now, "overrides": overrides(), "choices": choices()}, indent=2) + "\n"
    record, given = start_record(folder), {word.lstrip("+~").partition("=")[0] for word in overrides()}
    known = record.get("choices")
    record["time"] = datetime.fromtimestamp(started_at(folder), timezone.utc).isoformat(timespec="microseconds")
    record["choices"] = known if isinstance(known, dict) else {}
    record["choices"] |= {group: choice for group, choice in choices().items() if group in given}
    return json.dumps(record, indent=2) + "\n"
