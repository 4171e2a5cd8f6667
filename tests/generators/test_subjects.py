"""Swap tools of two people: forms, who learns from whom, and what is published of their sizes."""

from __future__ import annotations

import pytest
import torch

from anon.errors import UserError
from anon.generators.subjects.blocks import Attention, Up
from anon.generators.subjects.contract import DONOR, ORIGINAL, SubjectSwapper
from anon.generators.subjects.dfaker import DFaker
from anon.generators.subjects.faceswap_gan import Critics, FaceswapGAN
from anon.generators.subjects.saehd import SAEHD, SAEHDLiae
from anon.generators.subjects.villain import Villain

KINDS = {
    "dfaker": lambda: DFaker(32, 2, 8),
    "saehd_df": lambda: SAEHD(32, 2, 2, 1, 8),
    "saehd_liae": lambda: SAEHDLiae(32, 2, 2, 1, 8),
    "villain": lambda: Villain(32, 4, 8, 1),
    "faceswap_gan": lambda: FaceswapGAN(64, 2, 8, attention=True),
}


@pytest.fixture(params=KINDS)
def tool(request: pytest.FixtureRequest) -> SubjectSwapper:
    torch.manual_seed(0)
    return KINDS[request.param]()


def faces(tool: SubjectSwapper) -> torch.Tensor:
    return torch.rand(2, 3, tool.size, tool.size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_forms_and_ranges(tool: SubjectSwapper) -> None:
    for redrawn in (tool.own(faces(tool), DONOR), tool.own(faces(tool), ORIGINAL), tool.swap(faces(tool))):
        assert redrawn.image.shape == (2, 3, tool.size, tool.size) and redrawn.image.abs().max() <= 1
        assert redrawn.mask is not None and redrawn.mask.shape == (2, 1, tool.size, tool.size)
        assert redrawn.mask.min() >= 0 and redrawn.mask.max() <= 1


def moved_by(tool: SubjectSwapper, person: int) -> set[str]:
    """The parts that learn when one person's faces are redrawn as themselves."""
    tool.zero_grad()
    redrawn = tool.own(faces(tool), person)
    assert redrawn.mask is not None
    (redrawn.image.mean() + redrawn.mask.mean()).backward()
    return {
        ".".join(name.split(".")[: 2 if name.startswith("decoders") else 1])
        for name, parameter in tool.named_parameters()
        if parameter.grad is not None
    }


def test_a_step_of_one_person_leaves_the_others_part(tool: SubjectSwapper) -> None:
    if isinstance(tool, SAEHDLiae):
        assert moved_by(tool, DONOR) == {"encoder", "inter_ab", "decoder"}
        assert moved_by(tool, ORIGINAL) == {"encoder", "inter_ab", "inter_b", "decoder"}
    else:
        assert moved_by(tool, DONOR) == {"encoder", f"decoders.{DONOR}"}
        assert moved_by(tool, ORIGINAL) == {"encoder", f"decoders.{ORIGINAL}"}


def test_a_swap_is_the_donor_s_way_from_the_original_s_face(tool: SubjectSwapper) -> None:
    """It does not depend on what belongs to the original alone, and does on what is the donor's."""
    shown = faces(tool)
    before = tool.swap(shown).image
    own = tool.inter_b if isinstance(tool, SAEHDLiae) else tool.decoders[ORIGINAL]  # type: ignore[index]
    with torch.no_grad():
        for parameter in own.parameters():  # type: ignore[union-attr]
            parameter.add_(1.0)
    assert torch.equal(tool.swap(shown).image, before)
    assert not torch.equal(tool.swap(-shown).image, before)


def test_liae_gives_both_codes_of_the_original_and_one_twice_of_the_donor() -> None:
    tool = SAEHDLiae(32, 2, 2, 1, 8)
    seen: list[torch.Tensor] = []
    tool.decoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    tool.own(faces(tool), DONOR)
    tool.own(faces(tool), ORIGINAL)
    donor, original = ((part[:, :16], part[:, 16:]) for part in seen)  # each code has 2 · 8 channels
    assert torch.equal(*donor) and not torch.equal(*original) and torch.equal(original[1], donor[1])


def test_published_sizes() -> None:
    """Of 128 pixels: 4 x 4 x 1024 numbers into DFaker's and Villain's codes of 1024, 8 x 8 x 1024 out of Villain's."""
    with torch.device("meta"):
        dfaker, villain = DFaker(128, 128, 1024), Villain(128, 128, 1024, 16)
        gan, liae = FaceswapGAN(64, 64, 1024), SAEHDLiae(128, 64, 64, 22, 256)
    assert dfaker.encoder.shrink.weight.shape == (1024, 4 * 4 * 1024) == villain.encoder.shrink.weight.shape
    assert dfaker.encoder.widen.weight.shape == (4 * 4 * 1024, 1024) == gan.encoder.widen.weight.shape
    assert villain.encoder.widen.weight.shape == (8 * 8 * 1024, 1024)
    assert dfaker.encoder.up.conv.weight.shape[0] == 4 * 512 == gan.encoder.up.conv.weight.shape[0]
    assert [block.conv.weight.shape[0] // 4 for block in dfaker.decoders[0].picture[0] if isinstance(block, Up)] == [
        *(512, 256, 128, 64)
    ]
    assert liae.inter_ab.shrink.weight.shape == (256, 8 * 8 * 512) and liae.inter_ab.up.conv.weight.shape[:2] == (
        4 * 512,
        512,
    )
    assert liae.decoder.picture[0][0].conv.weight.shape[1] == 2 * 512  # two codes


def test_the_code_of_saehd_has_a_mean_square_of_one() -> None:
    code = SAEHD(32, 2, 2, 1, 8).encoder[0](torch.rand(3, 3, 32, 32))
    assert torch.allclose(code.square().mean(1), torch.ones(3), atol=0.05)


def test_attention_begins_as_nothing_and_then_mixes_places() -> None:
    part, x = Attention(4), torch.rand(1, 4, 3, 3)
    assert torch.equal(part(x), x)
    with torch.no_grad():
        part.gamma.fill_(1.0)
        for conv in (part.query, part.key):
            conv.weight.zero_()
            conv.bias.zero_()  # equal weights: every place gets the mean over places
        part.value.weight.copy_(torch.eye(4)[..., None, None])
        part.value.bias.zero_()
    assert torch.allclose(part(x), x + x.mean((2, 3), keepdim=True), atol=1e-6)


def test_critics_are_one_for_each_person_and_see_what_was_given() -> None:
    critics, x = Critics(64, 2), torch.rand(2, 3, 64, 64)
    assert critics(x, x, DONOR).shape[:2] == (2, 1)
    assert not torch.equal(critics(x, x, DONOR), critics(x, x, ORIGINAL))
    assert not torch.equal(critics(x, x, DONOR), critics(x, -x, DONOR))


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: DFaker(72), "multiple of 32 pixels, not 72; take 64"),
        (lambda: SAEHD(8), "multiple of 16 pixels, not 8; take 16"),
        (lambda: Villain(64, 6), "multiple of 4"),
        (lambda: FaceswapGAN(192), "power of two from 64 on, not 192"),
    ],
)
def test_other_sizes_are_refused(made: object, told: str) -> None:
    with pytest.raises(UserError, match=told):
        made()  # type: ignore[operator]
