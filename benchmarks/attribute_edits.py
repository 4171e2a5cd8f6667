"""Whether edits are seen: ``python benchmarks/attribute_edits.py <checkpoint of experiment=stgan or stargan>``.

One picture of each of 128 rendered evaluation people. Each attribute is turned over by itself, and a classifier that
took no part in the editor's training reads what comes of it: how often it then reads the attribute as wanted, beside
how often it does where nothing is asked, and how often the other attributes stay. Then all of a set that AnonymousNet
selects, read again: the k, l and t that its pictures have. Brackets are 95 % intervals over people.
"""

from __future__ import annotations

import sys

import torch
from hydra.utils import instantiate
from torch import Tensor

from anon.anonymizers.attributes.edited import first_pictures
from anon.anonymizers.cloaks.photos import photos
from anon.apps.config import composed
from anon.apps.editors import restore_classifier, restore_editor
from anon.attributes.selection import anonymity, joint, select
from anon.evaluation.intervals.shares import share_ends
from anon.faces.attributes import binary

HEAD = ("attribute", "has it", "read rightly", "given", "taken", "the same, nothing asked", "others stay")


def share(values: Tensor) -> str:
    """Mean of values (N,) in [0, 1] of a person each, with its interval; "-" of nobody."""
    if not len(values):
        return "-"
    low, high = share_ends(values.double())
    return f"{float(values.double().mean()):.3f} [{low:.3f}, {high:.3f}]"


@torch.no_grad()
def main() -> None:
    """Two tables."""
    editor = restore_editor(sys.argv[1])
    reader = restore_classifier("shipped:attribute_classifier", editor.attributes)
    faces = instantiate(composed("evaluate", ["method=blur", "data=synthetic", *sys.argv[2:]]).data).faces("evaluation")
    rows = first_pictures(faces)
    images, truth = photos(faces, rows).images, binary(faces, editor.attributes)[rows]
    own = reader.read(images)[1]
    same = editor(images, own, own).clamp(-1, 1)
    errors = -10 * ((same - images).square().flatten(1).mean(1) / 4).log10()
    psnr = f"{float(errors.mean()):.2f} dB (std {float(errors.std()):.2f})"
    print(f"{len(images)} people; nothing changed: PSNR {psnr}")
    print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|")
    unasked = reader.read(same)[1]
    for place, name in enumerate(editor.attributes):
        wanted = own.clone()
        wanted[:, place] = 1 - own[:, place]
        read = reader.read(editor(images, own, wanted).clamp(-1, 1))[1]
        hit, had = read[:, place] == wanted[:, place], own[:, place] == 1
        others = torch.ones(len(editor.attributes), dtype=torch.bool)
        others[place] = False
        cells = [share(own[:, place] == truth[:, place]), share(hit[~had]), share(hit[had])]
        cells += [share(unasked[:, place] == wanted[:, place]), share((read == own)[:, others].double().mean(1))]
        print(f"| {name} | {int(truth[:, place].nansum())} | " + " | ".join(cells) + " |", flush=True)
    method = composed("evaluate", ["method=anonymous_net"]).method.anonymizer
    names = list(editor.attributes)
    quasi, kept = ([names.index(name) for name in method[key]] for key in ("identifying", "sensitive"))
    people = torch.arange(len(images))
    selected = own.clone()
    selected[:, quasi] = select(own[:, quasi], joint(own[:, kept]), people, method.k, method.l, method.t)
    again = reader.read(editor(images, own, selected).clamp(-1, 1))[1]
    print("\n| attributes | codes | k | l | t |\n|---|---|---|---|---|")
    for what, shown in (("as read", own), ("as asked for", selected), ("as read again", again)):
        found = anonymity(shown[:, quasi], joint(shown[:, kept]), people)
        print(f"| {what} | {len(shown[:, quasi].unique(dim=0))} | {found.k} | {found.l} | {found.t:.3f} |")
    reached = (again[:, quasi] == selected[:, quasi]).all(1)
    print(f"\nthe whole code is read again as it was asked for: {share(reached)}")


if __name__ == "__main__":
    main()
