"""The words of a command line, before Hydra reads them, and what it has to say of them afterwards.

Hydra's grammar knows few characters outside of quotes: neither ``data.root=~/faces`` nor a name with an umlaut is a
value. What it cannot read and holds nothing that it gives a meaning to is text here, as it stands. A comma, a brace, a
bracket, a parenthesis or a quote has a meaning, so such a text needs quotes, and the sentence says which.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from anon.errors import UserError

_SETTING = re.compile(r"([+~]{0,2}[^=\s]+)=(.*)", re.DOTALL)
_APART = re.compile(r"([\w.@/+~]+)=(\w+:\d+)")  # of {a:1,b:2}, which bash makes two words of; shipped:a is no such
_MEANING = set("[]{}(),'\"")  # of Hydra's grammar, outside of quotes
_TAKES_A_WORD = {"--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", "--package", "-p"}
_TAKES_A_WORD |= {"--experimental-rerun", "--cfg", "-c", "--info", "-i"}


def readable(words: Sequence[str], is_group: Callable[[str], bool] = lambda name: False) -> list[str]:
    """The words with quotes around the values that Hydra cannot read without.

    Args:
        is_group: whether a name is that of a group of choices.

    >>> readable(["data.root=/faces/Zoë", "steps=4", "model.betas=[0.5,0.9]"])
    ['data.root="/faces/Zoë"', 'steps=4', 'model.betas=[0.5,0.9]']

    Raises:
        UserError: an option that there is none of, bytes that are no text, or a choice that is no name.
    """
    for word in words:
        if word.startswith("="):
            raise UserError(f"'{word}' is no setting; write <key>=<value>, such as steps=100.")
        if re.search("[\ud800-\udfff]", word):
            raise UserError(f"'{word}' is not UTF-8 text; rename the file or the folder, or name it by a link.")
    apart = [match for match in map(_APART.fullmatch, words) if match]
    twice = next((match for match in apart if [each[1] for each in apart].count(match[1]) > 1), None)
    if twice is not None:
        raise UserError(f"the shell took the braces of {twice[1]} apart; quote it: '{twice[1]}={{{twice[2]}, ...}}'.")
    options, unknown = get_args_parser().parse_known_args(list(words))
    if unknown and not unknown[0].startswith("-"):
        raise UserError(f"{unknown[0]} stands apart from the other settings; write the options before all of them.")
    if unknown:
        name = unknown[0].lstrip("-").partition("=")[0] or "steps"
        raise UserError(f"{unknown[0]} is no option; settings are written without dashes, as in {name}=<value>.")
    for name, given in (("--resolve", options.resolve), ("--package", options.package)):
        if given and options.cfg is None and not options.help:
            raise UserError(f"{name} goes with --cfg job, which prints the configuration and runs nothing.")
    if sum((options.run, options.multirun, options.cfg is not None, options.info is not None)) > 1:
        raise UserError("only one of --run, --multirun (-m), --cfg and --info can be had at a time.")
    taken = [False, *(word in _TAKES_A_WORD for word in words)]
    found = [word if skip or word.startswith("-") else _quoted(word) for word, skip in zip(words, taken, strict=False)]
    for word in found:
        group = word.partition("=")[0].partition("@")[0].lstrip("+")
        if "=" not in word or not is_group(group) or not _reads(word):
            continue
        override = OverridesParser.create().parse_override(word)
        if not override.is_sweep_override() and not isinstance(override.value(), (str, list)):
            raise UserError(f"{word} is no choice; a name of conf/{group} is, and '~{group}' leaves the group out.")
    return found


def spelled_out(words: Sequence[str]) -> list[str]:
    """The words without short forms: ``originals=<folder>`` is ``data=folder data.root=<folder>``.

    >>> spelled_out(["suite=table1", "originals=~/faces"])
    ['suite=table1', 'data=folder', 'data.root=~/faces']

    Raises:
        UserError: other data are named, too.
    """
    found: list[str] = []
    for word in words:
        key, given, value = word.partition("=")
        found += ["data=folder", f"data.root={value}"] if key == "originals" and given else [word]
    twice = [word for word in words if word.startswith(("data=", "data.root="))]
    if len(found) > len(words) and twice:
        raise UserError(f"originals=<folder> is data=folder data.root=<folder>; leave {twice[0]} out, or originals.")
    return found


_THRESHOLD = re.compile(r"(judge|panel\.\w+)\.threshold=")  # what most judges take, and few configurations have
_FLAGS = {"--dry-run": "dry_run=true", "--strict": "strict=true"}
#: What rendered faces are anonymized and judged by, where nothing is named.
_RENDERED = {"method": "fiva", "judge": "synthetic"}


def of_files(words: Sequence[str]) -> list[str]:
    """``anonymize.py``'s words as its configuration names them; ``domain=synthetic`` brings that domain's defaults.

    ``input`` and ``output`` are ``files.input`` and ``files.output``, for ``input`` alone is a group of choices, and
    ``store`` is ``store.file``.

    >>> of_files(["input=a.jpg", "output=b.jpg", "--dry-run"])
    ['files.input=a.jpg', 'files.output=b.jpg', 'dry_run=true']
    >>> of_files(["domain=synthetic", "method=blur"]), of_files(["input=0"])
    (['domain=synthetic', 'method=blur', 'judge=synthetic'], ['files.input="0"'])
    """
    found = [_FLAGS.get(word, f"files.{word}" if word.startswith(("input=", "output=")) else word) for word in words]
    found = [re.sub(r"^files\.input=(\d+)$", r'files.input="\1"', word) for word in found]  # a camera's number
    found = [f"store.file={word.partition('=')[2]}" if word.startswith("store=") else word for word in found]
    found = [f"++{word}" if _THRESHOLD.match(word) else word for word in found]
    return _with_domain(found)


def _with_domain(words: list[str]) -> list[str]:
    """With what rendered faces are anonymized and judged by, where nothing is named."""
    given = {word.partition("=")[0].lstrip("+~") for word in words}
    rendered = _RENDERED.items() if "domain=synthetic" in words else ()
    return words + [f"{group}={choice}" for group, choice in rendered if group not in given]


def of_clips(words: Sequence[str]) -> list[str]:
    """``evaluate.py``'s words; ``input`` of ``suite=video`` is ``suite.input``, for it alone is a group of choices.

    Without it the clips are rendered, and have that domain's defaults, as :func:`of_files` has them.

    >>> of_clips(["suite=video", "input=a.mp4"])
    ['suite=video', 'suite.input=a.mp4']
    >>> of_clips(["suite=video", "method=blur"])
    ['suite=video', 'method=blur', 'domain=synthetic', 'judge=synthetic']
    >>> of_clips(["suite=table1"])
    ['suite=table1']
    """
    if "suite=video" not in words:
        return list(words)
    found = [f"suite.{word}" if word.startswith("input=") else word for word in words]
    found = [f"++{word}" if _THRESHOLD.match(word) else word for word in found]
    if not any(word.startswith(("suite.input=", "domain=")) for word in found):
        found.append("domain=synthetic")
    return _with_domain(found)


def _quoted(word: str) -> str:
    found = _SETTING.fullmatch(word)
    if found is None or set(found[2]) & _MEANING or "${" in found[2] or _reads(word):
        return word
    quoted = in_quotes(f"{found[1]}={os.path.expanduser(found[2])}")  # a shell leaves the ~ behind a = as it is
    return quoted if _reads(quoted) else word


def _reads(word: str) -> bool:
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return False
    return True


def with_panel(words: Sequence[str]) -> list[str]:
    """``judge=[a,b]`` in words that Hydra composes a panel of: a list of one group would be merged into one judge.

    The first stays the judge, every further one is ``panel.<choice>``.

    >>> with_panel(["judge=[edgeface,facenet]", "seed=1"])
    ['judge=edgeface', '+judge@panel.facenet=facenet', 'seed=1']

    Raises:
        UserError: the list holds what is no choice, one choice twice, or there are several lists.
    """
    found: list[str] = []
    for word in words:
        if not word.startswith("judge=") or "[" not in word or not _reads(word):
            found.append(word)
            continue
        override = OverridesParser.create().parse_override(word)
        if override.is_sweep_override():
            raise UserError(f"{word} is several panels of judges; evaluate one of them at a time: judge=[<a>,<b>].")
        chosen = override.value()
        if not isinstance(chosen, list) or not chosen or not all(isinstance(name, str) and name for name in chosen):
            raise UserError(f"{word} is no list of judges; name choices of conf/judge: judge=[edgeface,facenet].")
        twice = next((name for name in chosen if chosen.count(name) > 1), None)
        if twice is not None:
            raise UserError(
                f"{word} names {twice} twice; two judges of one choice are written judge={twice} "
                f"+judge@panel.<name>={twice}, and differ by panel.<name>.<setting>=<value>."
            )
        first, *others = chosen
        found += [f"judge={first}", *(f"+judge@panel.{_place(name)}={name}" for name in others)]
    return found


def _place(choice: str) -> str:
    """The name of a setting for a choice that may lie in a folder of its group, or have other characters."""
    return re.sub(r"\W", "_", choice.rpartition("/")[2])


def in_quotes(word: str) -> str:
    """``key=value`` with the value as a text in Hydra's double quotes."""
    key, _, value = word.partition("=")
    value = re.sub(r'(\\*)(")', r'\1\1\\"', value)  # backslashes count only before a quote
    value += "\\" * (len(value) - len(value.rstrip("\\")))
    return f'{key}="{value}"'


def unreadable(word: str) -> str:
    """The sentence for a word that Hydra's grammar refuses."""
    if _SETTING.fullmatch(word) is None:
        return f"'{word}' is no setting; write <key>=<value>, such as steps=100."
    key, _, value = word.partition("=")
    if not _reads(in_quotes(word)):
        return f"'{key}' is no name of a setting; keys are letters, digits, _ and dots, such as data.root=<folder>."
    hint = shlex.quote(in_quotes(word))
    return f"the value of {key}={value} cannot be read; a text with any of , [ ] {{ }} ( ) ' \" is quoted so: {hint}."


def several(word: str) -> str:
    """The sentence for a value with commas where one value belongs."""
    key, _, value = word.partition("=")
    return (
        f"{word} is several values: add -m for a run of each, write {key}=[{value}] for a list, or "
        f"{shlex.quote(in_quotes(word))} for a text with commas."
    )


def did_you_mean(name: str, known: Iterable[object]) -> str:
    """The nearest of the known names as the end of a sentence, or nothing.

    >>> did_you_mean("facenit", ["facenet", "onnx"])
    "; did you mean 'facenet'?"
    """
    near = get_close_matches(name, [str(each) for each in known], 1)
    return f"; did you mean '{near[0]}'?" if near else "."
