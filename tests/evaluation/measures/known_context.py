"""A context whose embeddings, readings and pictures are given, for figures that are worked out by hand."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import torch
from torch import Tensor

from anon.evaluation.harness.attackers import Adversary
from anon.evaluation.harness.context import ATTACKED, CHANGED, PUBLISHED, TARGET, MeasureContext
from anon.evaluation.harness.suite import Combination
from anon.evaluation.intervals.bootstrap import Bootstrap
from anon.evaluation.judges.gallery import Gallery
from anon.evaluation.judges.thresholds import as_given
from anon.evaluation.protocol import Calibration


class KnownContext(MeasureContext):
    """Rows of people ``labels``; everything else by its name and state, ``z={"target": ..., "changed": ...}``.

    The published and the attacked faces are the changed ones unless they are given too.
    """

    def __init__(
        self,
        labels,
        z=None,
        images=None,
        gallery=None,
        read=None,
        truth=None,
        beside=None,
        clips=None,
        clip_labels=None,
        encoder=None,
        method="known",
        reads=None,
        annotations=None,
        **place,
    ) -> None:
        self.labels = torch.tensor(labels)
        self.rows = torch.arange(len(labels))
        self.bootstrap = Bootstrap(self.labels, resamples=200, seed=0)
        self.one = Combination("known", method, **place)
        self.given_z, self.given_images, self.given_read = z or {}, images or {}, read or {}
        self.given_truth, self.given_beside, self.given_clips = truth or {}, beside or {}, clips or {}
        self.given_gallery, self.given_clip_labels = gallery, clip_labels
        made_on = () if encoder is None else (encoder,)
        self.given_method = SimpleNamespace(
            encoder=encoder, made_on=made_on, source=False, sources=None, pristine=object()
        )
        estimator = None if reads is None else SimpleNamespace(name="reader", reads=reads)
        self.people = SimpleNamespace(
            clips=torch.zeros(len(clip_labels or [])),
            truth=self.given_truth,
            attacked=self.rows,
            annotations=annotations or {},
            synthetic=True,
        )
        self.stages = SimpleNamespace(
            suite=SimpleNamespace(far=0.25, attacked_probes=4, batch_size=8, resamples=200),
            judge=SimpleNamespace(recognizer=SimpleNamespace(name="judge", metric="cosine")),
            readers=SimpleNamespace(attributes=estimator, detectors={}),
            is_swept=lambda one: False,
            donors=SimpleNamespace(of=lambda one: self.people, data=lambda one: one.data),
        )

    @property
    def method(self):
        return self.given_method

    @functools.cached_property
    def adversary(self) -> Adversary:
        gallery = self.given_gallery
        accepts = as_given(Calibration(gallery.threshold, 0.25, 0.1, 12))
        return Adversary(gallery, accepts, False, self.stages.judge.recognizer)

    @property
    def threshold(self) -> float:
        return self.given_gallery.threshold

    @property
    def levels(self) -> Tensor:
        return torch.zeros(0)

    @property
    def clip_labels(self) -> Tensor:
        return torch.tensor(self.given_clip_labels)

    def z(self, of):
        return _state(self.given_z, of)

    def clips(self, of=CHANGED):
        return _state(self.given_clips, of) if self.given_clips else torch.zeros(0, 2, 1)

    def truth(self):
        return self.given_truth

    def read(self, of):
        return _state(self.given_read, of) if self.given_read else {}

    def read_clips(self, of):
        return {name: value[None] for name, value in self.read(of).items()} if self.given_clip_labels else {}

    def beside(self, name):
        return self.given_beside.get(name)

    def by_encoder(self, of):
        return _state(self.given_z, of), self.given_gallery

    def by_recognizer(self, of, recognizer):
        return self.by_encoder(of)

    def compared(self, name, function, of=PUBLISHED, against=TARGET, **settings):
        return function(_state(self.given_images, of), _state(self.given_images, against))

    def applied(self, name, function, of=PUBLISHED, **settings):
        return function(_state(self.given_images, of))

    def kept(self, name, make, of, **settings):
        return make()


def _state(given, of):
    if of in given:
        return given[of]
    return given[CHANGED if of in (PUBLISHED, ATTACKED) else of]


def three_people(threshold: float = 0.3) -> Gallery:
    """People 7, 8 and 9 on three axes, one picture each."""
    return Gallery(torch.eye(3), torch.tensor([7, 8, 9]), torch.eye(3), torch.tensor([7, 8, 9]), threshold)
