"""Attacks on a key: wrong keys in bulk, short keys, pictures under one key, and known pairs (policy=rotation).

Everything is published in eight bits, and judged against the original picture, as the book judges recovery (Wen et al.,
Springer 2024, eq. 6.23): the first picture of each person, of half of the people where pairs are known.

guess_verified   a wrong key gives somebody whom the judge takes for the person, mean over ``guesses`` keys
guess_any        one of these keys does, at least
short_found      of ``short`` keys, one of them right, the adversary takes the one whose picture is nearest to anybody
                 enrolled: that is the right person, below the threshold of averages
short_key        it was the right key; by chance 1 / ``short``
guess_seconds    to recover and look at one face, on this machine; a password costs ``kdf_seconds`` more, once
kdf_seconds      scrypt of one password (anon.identity.keys)
linked_same      two pictures of a person under one key are one person to the judge, and
linked_apart     under two keys
known_<m>        a picture recovered by the rotation that m pairs under its key give (anon.attacks.known_pairs) is
                 taken for the person; no pair is of that person
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from anon.anonymizers.composed import Anonymizer
from anon.attacks.known_pairs import undone
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.embeddings import embedded
from anon.evaluation.harness.context import CHANGED, TARGET, MeasureContext
from anon.evaluation.harness.pictures import READING, drawn
from anon.evaluation.harness.store import Tensors, key_of
from anon.evaluation.harness.suite import NONE
from anon.evaluation.protocol import first_of_each
from anon.faces.contract import published, to_float
from anon.identity.keys import key_of as key_of_password
from anon.identity.rotation import WORDS, KeyedRotation
from anon.identity.verification import distance
from anon.provenance import code

_ONE = ("target", "own", "one", "again_one", "again_own")  # pictures of each person


class Keys:
    """The measure.

    Args:
        guesses: wrong keys for each face.
        short: candidates of a short key.
        few: faces whose short keys are tried.
        pairs: how many pairs are known.
    """

    def __init__(
        self, guesses: int = 16, short: int = 64, few: int = 32, pairs: Sequence[int] = (1, 8, 32, 64)
    ) -> None:
        self.guesses, self.short, self.few, self.pairs = guesses, short, few, tuple(pairs)

    @property
    def metrics(self) -> Mapping[str, MetricInfo]:
        """What it gives; all of it is the adversary's success, or his cost."""
        return {
            "guess_verified": share("wrong key, verified", "privacy", False),
            "guess_any": share(f"any of {self.guesses} wrong keys", "privacy", False),
            "short_found": share(f"best of {self.short} keys, person", "privacy", False),
            "short_key": share(f"best of {self.short} keys, key", "privacy", False),
            "guess_seconds": MetricInfo("a guess", "cost", None, "s", low=0.0, judged=False),
            "kdf_seconds": MetricInfo("scrypt", "cost", None, "s", low=0.0, judged=False),
            "linked_same": share("linked under one key", "privacy", False),
            "linked_apart": share("linked under two keys", "privacy", False),
            **{f"known_{m}": share(f"{m} known pairs", "privacy", False) for m in self.pairs},
        }

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; none of what has no key, and none with a defense or an attack."""
        method = context.method.pristine
        if context.one.defense != NONE or context.one.attack != NONE:
            return {}
        if not isinstance(method, Anonymizer) or not isinstance(method.policy, KeyedRotation):
            return {}
        rows = first_of_each(context.labels, 2).nonzero()[:, 0]
        labels, counts = context.labels[rows].unique(return_counts=True)
        if len(labels) < 4 or int(counts.min()) < 2:
            return dict.fromkeys(self.metrics, Estimate.absent("n/a (needs four people with two pictures each)"))
        order = rows[context.labels[rows].argsort(stable=True)]
        found = context.kept(
            "keys", lambda: self._judged(context, order), of=(TARGET, CHANGED), **{k: v for k, v in vars(self).items()}
        )
        return self._figures(context, labels, found)

    def _figures(self, context: MeasureContext, labels: Tensor, found: Tensors) -> dict[str, Estimate]:
        boot, gallery = context.bootstrap, context.gallery
        figures: dict[str, Estimate] = {
            "guess_verified": boot.mean(found["wrong"].double().mean(1), labels, True),
            "guess_any": boot.mean(found["wrong"].any(1).double(), labels, True),
            "linked_same": boot.mean(found["linked_one"].double(), labels, True),
            "linked_apart": boot.mean(found["linked_own"].double(), labels, True),
            "guess_seconds": Estimate(float(found["seconds"]), n=1),
            "kdf_seconds": Estimate(float(found["kdf"]), n=1),
        }
        few = labels[: len(found["short"])]
        person = (found["short_people"] == few) & (found["short_distance"] < gallery.threshold)
        figures["short_found"] = boot.mean(person.double(), few, True)
        figures["short_key"] = boot.mean((found["short"] == 0).double(), few, True)
        victims = labels[len(labels) // 2 :]
        for m in self.pairs:
            known = found.get(f"known_{m}")
            lacks = Estimate.absent(f"n/a ({len(labels) // 2} people for pairs)")
            figures[f"known_{m}"] = lacks if known is None else boot.mean(known.double(), victims, True)
        return figures

    def _judged(self, context: MeasureContext, order: Tensor) -> Tensors:
        """Who is taken for whom, by the judge: bool but for the cost, and the best of the short keys."""
        kept = self._pictures(context, order)
        judge, size, device = context.stages.judge.recognizer, context.stages.suite.batch_size, context.stages.device

        def seen(images: Tensor) -> Tensor:
            flat = images.flatten(0, -4)  # (N, H, W, 3)
            z = torch.cat([embedded(judge, to_float(part).to(device)).cpu() for part in flat.split(size)])
            return z.reshape(*images.shape[:-3], -1)

        def same(a: Tensor, b: Tensor) -> Tensor:
            a, b = torch.broadcast_tensors(a, b)
            apart = distance(a.flatten(0, -2), b.flatten(0, -2), context.metric)
            return (apart < context.threshold).reshape(a.shape[:-1])

        began = time.perf_counter()
        z_wrong = seen(kept["wrong"])
        looked = (time.perf_counter() - began) / z_wrong[..., 0].numel()
        z = {name: seen(kept[name]) for name in _ONE}
        found: Tensors = {
            "wrong": same(z_wrong, z["target"][:, None]),
            "linked_one": same(z["one"], z["again_one"]),
            "linked_own": same(z["own"], z["again_own"]),
            "seconds": kept["seconds"] + looked,
            "kdf": kept["kdf"],
        }
        found |= self._short(context, seen(kept["short"]))
        half = len(order) // 4
        for m in self.pairs:
            if f"known_{m}" in kept:
                found[f"known_{m}"] = same(seen(kept[f"known_{m}"]), z["target"][half:])
        return found

    @staticmethod
    def _short(context: MeasureContext, z: Tensor) -> Tensors:
        """Of candidates (F, S, D): the place of the nearest to anybody enrolled, who that is, and how far."""
        people, averages = context.gallery.people, context.gallery.averages
        flat = z.flatten(0, 1)
        every = torch.stack([distance(flat, each.expand_as(flat), context.metric) for each in averages], 1)
        every = every.unflatten(0, z.shape[:2])  # (F, S, G)
        nearest, who = every.min(2)
        best = nearest.argmin(1)
        rows = torch.arange(len(best))
        return {"short": best, "short_people": people[who[rows, best]], "short_distance": nearest[rows, best]}

    def _pictures(self, context: MeasureContext, order: Tensor) -> Tensors:
        """uint8 (P, ..., H, W, 3) of P people, two pictures each in ``order``; drawn once for all judges."""
        stages, method, target = context.stages, context.method, context.view(TARGET)

        @torch.no_grad()
        def make() -> Tensors:
            anonymizer = cast(Anonymizer, method.fresh())
            rng = torch.Generator().manual_seed(stages.seed)
            first, second = target.eight_bits()[order].unflatten(0, (-1, 2)).unbind(1)
            people = len(first)

            def keys(*shape: int) -> Tensor:
                return torch.randint(-(2**63), 2**63 - 1, (*shape, WORDS), generator=rng)

            def batched(act: Any, images: Tensor, *others: Tensor) -> Tensor:
                parts = []
                for rows in torch.arange(len(images)).split(stages.suite.batch_size):
                    faces = to_float(images[rows]).to(stages.device)
                    parts.append(drawn(act(faces, *(o[rows] for o in others)), faces, method.title))
                return torch.cat(parts)

            def change(images: Tensor, key: Tensor) -> Tensor:
                return batched(lambda x, k: published(anonymizer(x, key=k), x, method.title), images, key)

            one, own, other = keys(1).expand(people, -1), keys(people), keys(people)
            found: dict[str, Tensor] = {"target": first, "own": change(first, own), "one": change(first, one)}
            found |= {"again_one": change(second, one), "again_own": change(second, other)}
            wrong = keys(people, self.guesses)
            each = found["own"].repeat_interleave(self.guesses, 0)
            began = time.perf_counter()
            found["wrong"] = batched(anonymizer.recover, each, wrong.flatten(0, 1)).unflatten(0, (people, -1))
            seconds = torch.tensor((time.perf_counter() - began) / len(each))
            few = min(self.few, people)
            tried = keys(few, self.short)
            tried[:, 0] = own[:few]
            each = found["own"][:few].repeat_interleave(self.short, 0)
            found["short"] = batched(anonymizer.recover, each, tried.flatten(0, 1)).unflatten(0, (few, -1))
            found |= self._known(anonymizer, first, found["one"], batched)
            began = time.perf_counter()
            key_of_password(b"a password of some length")
            return found | {"seconds": seconds, "kdf": torch.tensor(time.perf_counter() - began)}

        key = key_of(
            of=target.key,
            rows=order.tolist(),
            method=method.key,
            settings=vars(self),
            seed=stages.seed,
            batch=stages.suite.batch_size,
            device=stages.device.type,
            code=code(Keys._pictures, Keys._known, undone, *READING),
        )
        return stages.store.get("keys", key, make)

    def _known(self, anonymizer: Anonymizer, first: Tensor, one: Tensor, batched: Any) -> Tensors:
        """The second half of the people recovered by pairs of the first half, all under one key."""
        half, space = len(first) // 2, cast(KeyedRotation, anonymizer.policy).space

        def seen(images: Tensor) -> Tensor:
            return torch.cat([anonymizer.identify(to_float(part).to(space.device)) for part in images.split(64)])

        z, w = seen(first[:half]), seen(one[:half])
        found: Tensors = {}
        for m in (m for m in self.pairs if m <= half):

            def back(faces: Tensor, m: int = m) -> Tensor:
                wanted = undone(anonymizer.identify(faces), space, (z[:m], w[:m]))
                return anonymizer.draw(faces, wanted).blend(faces).clamp(-1.0, 1.0)

            found[f"known_{m}"] = batched(back, one[half:])
        return found
