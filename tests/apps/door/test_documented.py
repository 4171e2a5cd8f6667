"""Every command of README.md and docs/ composes and passes the checks at the door.

The kind: a command that the documentation prints and nobody had run (``data=packed data.size=112`` with a network of
powers of two; a filter that is "any callable"). A command in a new document is collected by itself; a word that stands
for something (``<faces>``, ``...``) becomes a name, and what needs more than this machine has is in :data:`NEEDS`.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from anon import weights
from anon.apps import identities, ifsr, ship
from anon.apps.config import composed
from anon.apps.demo import serve as demo
from anon.apps.door.config import check_config
from anon.apps.door.words import of_files, readable
from anon.apps.evaluate import SECTIONS
from anon.apps.export import wish
from anon.evaluation.compare.__main__ import main as compare
from anon.evaluation.harness.suite import plans
from anon.evaluation.report.__main__ import main as report
from anon.faces.prepare.__main__ import _parser
from anon.faces.prepare.points import main as points
from anon.generators.editing.contract import Editor
from anon.generators.inpainting.contract import Inpainter
from anon.identity.onnx import main as onnx
from tests.conftest import ROOT

#: Words that need an extra or a cluster; the rest of their command is checked.
NEEDS = ("-m", "--help", "+sweep=", "hydra/launcher=", "hydra.launcher.", "hydra.sweeper.", "model.lr=tag(")
#: Commands of other programs.
OTHERS = ("make", "pip", "wandb", "tensorboard", "docker", "conda", ".venv/bin/")
#: Commands of ``anon`` whose words are no settings.
OF_PARSERS = ("identities", "prepare", "demo", "report", "compare", "zoo", "ship", "export")
RUN = (
    r"(?:python (?:train\.py|evaluate\.py|anonymize\.py|-m anon[\w.]+)|sbatch |"
    rf"anon (?:anonymize|recover|train|evaluate|{'|'.join(OF_PARSERS)}) )"
)


def documents() -> list[Path]:
    """All but results, whose commands are the runs' own and what their lines need, and benchmarks."""
    written = [path for path in sorted((ROOT / "docs").rglob("*.md")) if path.name != "results.md"]
    written = [path for path in written if path.parent.name not in ("results", "benchmarks")]
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *written]


def commands() -> list[tuple[str, str]]:
    """(document, command) of every block, fenced or indented, and of every line of code in a text; each once."""
    found: dict[str, str] = {}
    for document in documents():
        text = re.sub(r"\\\n\s*", " ", document.read_text(encoding="utf-8"))
        fenced = False
        for line in text.splitlines():
            if line.startswith("```"):
                fenced = not fenced
            elif fenced or line.startswith("    "):
                if re.match(rf"\s*({RUN}|{'|'.join(map(re.escape, OTHERS))})", line):
                    found.setdefault(line.partition(" # ")[0].strip(), document.name)
            else:
                found = dict.fromkeys(re.findall(rf"`({RUN}[^`]*)`", line), document.name) | found
    return [(where, command) for command, where in found.items()]


def words(command: str) -> list[str]:
    """The words after the program, with names in the place of what they stand for."""
    command = command.replace("--collection <name>", "--collection lfw").replace("experiment=<name>", "experiment=fiva")
    command = command.replace(".<name>=", ".pixelate=").replace("[attack.pairs=96]", "attack.pairs=96")
    command = re.sub(r"<[^>]*>|(?<==)\.\.\.|\$ANON_REAL", "something", command)
    return [each for each in shlex.split(command, comments=True)[1:] if each != "..."]


COMMANDS = commands()
TRAINS = r"python (train|evaluate|anonymize)\.py|anon (anonymize|recover|train|evaluate) |sbatch .*(train|sweep)\w*\.sb"
APPS = [(where, each) for where, each in COMMANDS if re.match(TRAINS, each)]
FIRST = ("README.md", "tutorial.md")  # what people try first, and every test run does; the rest is slow
OF_MODULES = ("python -m", *(f"anon {each} " for each in OF_PARSERS))
MODULES = [(where, each) for where, each in COMMANDS if f"{each} ".startswith(OF_MODULES) or "prepare.sh" in each]


def test_all_are_collected() -> None:
    """None falls between the lists, and there are as many as a reader sees."""
    others = [each for _, each in COMMANDS if each.startswith(OTHERS)]
    assert len(APPS) + len(MODULES) + len(others) == len(COMMANDS)
    assert len(APPS) > 50 and len(MODULES) > 15
    print(f"\n{len(APPS)} commands of the two scripts, {len(MODULES)} of modules, {len(others)} of other programs")


def own_parts() -> list[tuple[str, str]]:
    """The blocks that say where they stand: (path below /my, content)."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs" / "howto").glob("*.md"))]
    block = r"```(?:python|yaml)\n(# /my/(\S+)\n.*?)```"
    return [
        (found[2], found[1])
        for page in pages
        for found in re.finditer(block, page.read_text(encoding="utf-8"), re.DOTALL)
    ]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The documentation's own method, ``conf/method/mine.yaml``, as it is printed, and a class for it."""
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    (tmp_path / "method").mkdir()
    block = re.search(r"```yaml\n(# /my/conf/method/mine\.yaml.*?)```", text, re.DOTALL)
    assert block is not None
    (tmp_path / "method" / "mine.yaml").write_text(block[1], encoding="utf-8")
    for path, content in own_parts():  # of README.md and docs/howto
        place = tmp_path / path.removeprefix("conf/")
        place.parent.mkdir(exist_ok=True)
        place.write_text(content, encoding="utf-8")
        monkeypatch.delitem(sys.modules, place.stem, raising=False)
    measure = re.search(r"```python\n(class Brightness:.*?)```", text, re.DOTALL)
    assert measure is not None
    (tmp_path / "my_package.py").write_text(
        "from __future__ import annotations\n\nfrom anon.evaluation.document.metric_info import MetricInfo\n\n\n"
        f"{measure[1]}\n\nclass MyAnonymizer:\n    def __init__(self, strength):\n        self.strength = strength\n"
        "    def __call__(self, images):\n        return images * (1 - self.strength)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_package", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("where", "command"), [pytest.param(*each, marks=[pytest.mark.slow] * (each[0] not in FIRST)) for each in APPS]
)
def test_trains_or_evaluates(where: str, command: str, mine: Path) -> None:
    """Old code: ``data=packed data.root=packed/mine data.size=112`` is refused by the discriminator."""
    program, *rest = shlex.split(command, comments=True)[:1] + words(command)
    if program == "sbatch":
        rest = rest[next(at for at, each in enumerate(rest) if each.endswith(".sbatch")) + 1 :]
        rest = ["train.py", *(each for each in rest if "=" in each)]
    app, *settings = rest
    own = [f"hydra.searchpath=[file://{mine}]"] * any(each.startswith("hydra.searchpath=") for each in settings)
    kept = [each for each in settings if not each.startswith((*NEEDS, "hydra.searchpath="))]
    chosen = [re.sub(r"^([^=\[{]+=[^,\[{]*),[^=]*$", r"\1", each) if "-m" in settings else each for each in kept]
    name = "anonymize" if app == "recover" else app.removesuffix(".py")
    chosen += ["recover=true", "policy=rotation"] * (app == "recover")
    chosen = of_files(chosen) if name == "anonymize" else chosen
    chosen += ["paths.runs=runs"] * bool({"+sweep=defenses", "+sweep=methods"} & set(chosen))  # a job's, of a multirun
    config = composed(name, [*readable(chosen), *own])
    if name == "evaluate":
        config = OmegaConf.masked_copy(config, SECTIONS)
        check_config(config)
        if config.suite._target_.endswith("Suite"):
            assert plans(instantiate(config.suite))
        return
    check_config(config)
    if config.get("generator") is not None and config.get("discriminator") is not None:
        generator, discriminator = instantiate(config.generator).eval(), instantiate(config.discriminator).eval()
        images = torch.zeros(1, 3, config.data.size, config.data.size)
        edits = isinstance(generator, Editor)
        told_of = torch.zeros(1, len(generator.attributes) if edits else config.encoder.dim)
        given = (images,) if config.attack is not None else (images, told_of, told_of) if edits else (images, told_of)
        with torch.no_grad():
            drawn = generator(*given)
            drawn = drawn if config.attack is not None or edits else drawn.image
            told = {"seen": generator.see(images)} if isinstance(generator, Inpainter) else {}
            assert drawn.shape == images.shape and discriminator(drawn, **told).shape[0] == 1


@pytest.mark.parametrize(("where", "command"), MODULES)
def test_modules_take_the_words(
    where: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    given = words(command)
    if given[0] == "identities":
        assert identities.command(given[1:]) == 2  # there is no such store
        told = capsys.readouterr().err
        assert "there is no such identity store" in told
        if "find" in given:
            check_config(composed("anonymize", readable(given[given.index("find") + 1 : given.index("--key-file")])))
        return
    if given[0] == "export":
        assert wish(readable(given[1:])).target.suffix in (".onnx", ".pt")
        return
    if given[0] == "demo":
        asked = demo.asked(given[1:])
        check_config(composed("anonymize", readable(asked.settings)))
        return
    if given[0] == "zoo":  # tests/apps/test_zoo.py runs it
        assert given[1] in ("list", "verify") and set(given[2:]) <= weights.index().keys()
        return
    if given[0] == "prepare" or "prepare.sh" in command:
        rest = given[1 + next(at for at, each in enumerate(given) if each.endswith(("prepare", "prepare.sh"))) :]
        if len(rest) > 4:  # else a part of a command
            _parser().parse_args(rest)
        return
    module = given[1] if given[0] == "-m" else given[0]
    rest = given[given.index(module) + 1 :]
    if module in ("anon.faces.synthetic", "anon.faces.synthetic.export"):
        return  # pictures, which take a while; test_odd_inputs.py and tests/apps/test_folder_method.py run them
    entry = {"apps.ifsr": ifsr.command, "ship": ship.command, "compare": compare, "report": report}
    entry |= {"identity.onnx": onnx, "faces.prepare.points": points}
    if rest:
        assert entry[module.removeprefix("anon.")](rest) == 2  # there is nothing of that name here
        assert "--help" not in capsys.readouterr().err
