"""Which recognizers may judge: they recognize, and are no network that trained a generator.

Whether two recognizers are one network is asked of their weights, whatever is done to pictures before them or to
embeddings behind them, and of their embeddings: the distances between pairs of fixed pictures are alike for a copy in
half precision, an export to ONNX, or one whose embeddings were turned.

Two settings of one file (another mean, blue first) and a layer behind its embedding measure other distances, and are
one network all the same. A matrix or kernel is found where the other network has one of the same size whose rows point
the same way (mean |cosine| above .9): a copy in half precision, one with noise, one with folded batch norms.
"""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import cast

import torch
from onnx import ModelProto, TensorProto, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import Failed, UserError
from anon.evaluation.embeddings import embedded
from anon.evaluation.protocol import Calibration, Protocol
from anon.faces.contract import to_float
from anon.faces.synthetic import parameters
from anon.faces.synthetic.render import render
from anon.identity.contract import JudgeLike
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.identity.onnx import OnnxBackbone
from anon.identity.openvino_judge import OpenVinoJudge
from anon.identity.verification import distances
from anon.provenance import made_of

ONE = 0.99  # correlation of the distances from which on two recognizers are one network
SAME = 0.5  # share of a network's weights from which on the other holds it
ALIKE = 0.7  # correlation of impostor scores from which on a reader is told
PEOPLE, SIDE = 32, 112  # of the fixed pictures
_TURNED = 0.9  # mean |cosine| of the rows of two tensors from which on they are one
_LEAST = 256  # numbers of a tensor that tells something
_SOME = 2000  # pictures whose impostor scores are compared, at most
_KNOWN: dict[str, Tensor] = {}  # the distances of this process's recognizers


def recognizes(found: Calibration, rule: Protocol) -> bool:
    """Whether a recognizer tells people apart, by its calibration on faces that nobody changed."""
    return found.eer <= rule.max_eer and found.threshold > 0


def check_recognizes(found: Calibration, judge: JudgeLike, rule: Protocol) -> None:
    """See that the judge tells people apart whose faces nobody changed.

    One of random weights, or fed another mean and deviation, finds nobody again, whatever is done to the faces.

    Raises:
        UserError: its equal error rate on the background people is above ``rule.max_eer``, or it accepts no distance.
    """
    if not recognizes(found, rule):
        raise UserError(
            f"The judge '{judge.name}' does not recognize unchanged faces (equal error rate {found.eer:.1%} on the "
            f"background people, threshold {found.threshold:.3g}), so that it finds nobody in changed ones means "
            "nothing; check its weights, its mean and std and how the faces are aligned, or raise suite.max_eer "
            f"({rule.max_eer:g})."
        )


def check_adversary(
    recognizer: JudgeLike,
    encoder: Encoder | None,
    rule: Protocol,
    who: str,
    treated: Calibration,
    plain: Callable[[], Calibration],
) -> None:
    """The door of a recognizer that an adversary brings, to whom a good method may well leave nothing.

    Args:
        encoder: that conditioned the method; None: none did.
        treated: its calibration on people treated as it treats those whom it enrols.
        plain: the same on the people as they are.

    Raises:
        UserError: it is the encoder that the method learned to hide from, and the protocol does not allow that.
        Failed: it recognizes nobody in either form, so that it finds nobody means nothing.
    """
    if encoder is not None and not rule.allow_training_encoder and is_one(recognizer, encoder):
        raise UserError(
            f"The recognizer of '{who}' is the encoder that the method was trained to deceive, which finds less than "
            "any other; give the adversary another, or say suite.allow_training_encoder=true."
        )
    if not recognizes(treated, rule) and not recognizes(found := plain(), rule):
        raise Failed(
            f"The recognizer of '{who}' does not recognize unchanged faces (equal error rate {found.eer:.1%} on the "
            "background people), so that it finds nobody means nothing."
        )


def judge_notes(encoder: Encoder, judge: JudgeLike, rule: Protocol, trained: str = "the generator") -> list[str]:
    """What a reader of the table must know of the judge: that it is the training encoder and may be, or built like it.

    Args:
        encoder: that conditioned and trained ``trained``, which is what it is called in the sentence.

    Raises:
        UserError: judge and encoder are one network, and the protocol does not allow that.
    """
    if not is_one(judge, encoder):
        shared = architecture(judge)
        if shared is None or shared != architecture(encoder):
            return []
        return [
            f"The judge {judge.name} and the encoder that {trained} was trained with are both a {shared}: networks of "
            "one architecture are fooled by the same changes, and a judge of another finds more."
        ]
    if not rule.allow_training_encoder:
        raise UserError(
            f"The judge '{judge.name}' is the encoder that {trained} was trained with{_told(judge, encoder)}, which "
            "would flatter every figure; choose another judge=..., or say suite.allow_training_encoder=true."
        )
    return [f"The judge {judge.name} is the encoder that {trained} was trained with: the figures flatter it."]


def kinship_notes(
    judge: JudgeLike, z_judge: Tensor, z_encoder: Tensor, labels: Tensor, trained: str = "the generator"
) -> list[str]:
    """What a reader must know where judge and training encoder take the same strangers for alike.

    Args:
        z_judge, z_encoder: (N, D) and (N, E) embeddings of the same background pictures of people (N,).
    """
    found = impostor_correlation(z_judge, z_encoder, labels, (judge.metric, "cosine"))
    if not found > ALIKE:
        return []
    return [
        f"Impostor scores of the judge {judge.name} and of the encoder that {trained} was trained with correlate "
        f"{found:.2f} (more than {ALIKE:g}): what hides from one tends to hide from the other."
    ]


def impostor_correlation(
    first: Tensor, second: Tensor, labels: Tensor, metrics: tuple[str, str] = ("cosine", "cosine")
) -> float:
    """Correlation of two recognizers' scores over pairs of different people, of at most 2,000 pictures evenly.

    Args:
        first, second: (N, D) and (N, E) embeddings of pictures of people (N,).
        metrics: the recognizers'. Scores are cosines, or distances with a minus.
    """
    rows = torch.linspace(0, len(labels) - 1, min(_SOME, len(labels))).round().long()
    pairs = torch.ones(len(rows), len(rows)).triu(1).bool() & (labels[rows][:, None] != labels[rows][None])

    def scores(z: Tensor, metric: str) -> Tensor:
        return z @ z.T if metric == "cosine" else -distances(z, z, metric)

    both = zip((first, second), metrics, strict=True)
    return _correlation(*(scores(z[rows], metric)[pairs].double() for z, metric in both))


def is_one(judge: JudgeLike, encoder: Encoder) -> bool:
    """Whether judge and encoder are one network, by weights or embeddings, with or without the mirror image."""
    if judge.fingerprint == encoder.fingerprint or share_of_weights(judge, encoder) > SAME:
        return True
    return any(likeness(judge, cast(JudgeLike, Judge(encoder, flip=flip))) >= ONE for flip in (False, True))


def are_one(first: JudgeLike, second: JudgeLike) -> bool:
    """Whether two judges are one network, by weights or embeddings."""
    return (
        first.fingerprint == second.fingerprint
        or share_of_weights(first, second) > SAME
        or likeness(first, second) >= ONE
    )


def _told(judge: JudgeLike, encoder: Encoder) -> str:
    """What its settings and name may hide."""
    share = share_of_weights(judge, encoder)
    return f" ({share:.0%} of the weights are the same, whatever mean, std or colour order it is given)" * (
        share > SAME
    )


def likeness(first: JudgeLike, second: JudgeLike) -> float:
    """Correlation of the distances between pairs of the fixed pictures, as two recognizers measure them."""
    return _correlation(_apart(first), _apart(second))


def _correlation(first: Tensor, second: Tensor) -> float:
    """Of values (P,); 0 where one of both is the same for all pairs, or there are no two."""
    if len(first) < 2 or min(float(first.std()), float(second.std())) < 1e-7:
        return 0.0
    return float(torch.corrcoef(torch.stack([first, second]))[0, 1])


@torch.no_grad()
def _apart(recognizer: JudgeLike) -> Tensor:
    """(P,) float64 distances of all pairs; Euclidean ones squared, as cosine distances of unit vectors are."""
    key = made_of(recognizer, recognizer.fingerprint)
    if key not in _KNOWN:
        weights = next(iter(getattr(recognizer, "parameters", list)()), torch.zeros(()))
        z = embedded(recognizer, fixed_pictures().to(weights.device)).double().cpu()
        apart = distances(z, z, recognizer.metric)[torch.ones(len(z), len(z)).triu(1).bool()]
        _KNOWN[key] = apart.square() if recognizer.metric == "euclidean" else apart
    return _KNOWN[key]


@functools.cache
def fixed_pictures() -> Tensor:
    """(32, 3, 112, 112) in [-1, 1]: one rendered picture of each of 32 people, the same everywhere."""
    people = torch.arange(PEOPLE).split(16)
    shown = [
        render(parameters.people(part.tolist()), parameters.stills(part.tolist(), [0] * len(part)), SIDE).images
        for part in people
    ]
    return to_float(torch.cat(shown))


def settings_of(judge: JudgeLike) -> str:
    """SHA-256 of a judge's weights and of how it is shown a picture: a threshold holds for these alone."""
    inner = getattr(judge, "encoder", judge)
    shown = [getattr(judge, "flip", None), getattr(inner, "size", None), getattr(inner, "bgr", None)]
    for name in ("mean", "std"):
        value = getattr(inner, name, None)
        shown.append([round(part, 5) for part in value.flatten().tolist()] if isinstance(value, Tensor) else value)
    return hashlib.sha256(repr([judge.fingerprint, judge.metric, *shown]).encode()).hexdigest()


def architecture(recognizer: object) -> str | None:
    """The name of the network's class; None of a graph in a file, which has none."""
    backbone = getattr(getattr(recognizer, "encoder", recognizer), "backbone", None)
    if not isinstance(backbone, nn.Module) or isinstance(backbone, OnnxBackbone):
        return None
    return type(backbone).__name__


def share_of_weights(first: object, second: object) -> float:
    """The share of the smaller network's weights that the other has; 0 where one shows none.

    Args:
        first, second: recognizers: modules, or judges with an ONNX or OpenVINO graph.
    """
    shown = [list(_matrices(each)) for each in (first, second)]
    few, many = sorted(shown, key=lambda matrices: sum(each.numel() for each in matrices))
    by_size: dict[int, list[Tensor]] = defaultdict(list)
    for each in many:
        by_size[each.numel()].append(each)
    total = found = 0
    for each in few:
        total += each.numel()
        found += each.numel() * any(_alike(each, other) for other in by_size[each.numel()])
    return found / total if total else 0.0


def _alike(first: Tensor, second: Tensor) -> bool:
    """Of (N, M) and (N, M), or (M, N)."""
    turned = [second] if first.shape == second.shape else []
    turned += [second.T] if first.shape == second.T.shape else []
    return any(float(F.cosine_similarity(first, each).abs().mean()) > _TURNED for each in turned)


def _matrices(recognizer: object) -> Iterator[Tensor]:
    """(N, M) float32 of every kernel and matrix, one row for each output."""
    for value in _weights(recognizer):
        if value.ndim >= 2 and value.numel() >= _LEAST:
            yield value.detach().cpu().float().flatten(1)


def _weights(recognizer: object) -> Iterator[Tensor]:
    model = getattr(getattr(recognizer, "recognizer", None), "model", None)
    if isinstance(model, ModelProto):
        for constant in model.graph.initializer:
            if constant.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE):
                yield torch.from_numpy(numpy_helper.to_array(constant).copy())
    elif isinstance(recognizer, OpenVinoJudge):
        yield from recognizer.constants()
    elif isinstance(recognizer, nn.Module):
        yield from (value for value in recognizer.state_dict().values() if value.is_floating_point())
