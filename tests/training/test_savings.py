"""What the step saves changes no loss and no gradient: each saving against the step without it, in float32."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from anon.apps.config import config_dir
from anon.generators.discriminator import Discriminator
from anon.generators.patchgan import MultiScale
from anon.generators.simswap import SimSwap
from anon.losses.adversarial import Hinge, HingeCritic, NonSaturating
from anon.losses.features import FeatureMatching, VGGPerceptual
from anon.losses.identity import Cosine
from anon.losses.ifsr import IFSR
from anon.losses.pixel import SamePixelL1
from anon.training import target_oriented
from anon.training.adversarial.critic import critic_losses
from anon.training.augment import Distortion, View
from anon.training.objective import Objective, Term
from anon.training.pairing import AlternatingPairs
from anon.training.target_oriented import TargetOriented
from tests.training import small

#: Of losses and of gradients, relative to the largest.
EXACT = 1e-5

Step = tuple[dict[str, Tensor], Tensor, Tensor]


def gradients(module: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def step(folder: Path, module: TargetOriented) -> Step:
    """Losses and both networks' gradients of the first step."""
    losses: dict[str, Tensor] = {}
    backward = module._backward

    def noted(known: dict[str, Any]) -> dict[str, Tensor]:
        losses.update(backward(known))
        return dict(losses)

    module._backward = noted  # type: ignore[method-assign]
    module._optimize = dict  # type: ignore[method-assign, assignment]
    trainer = small.trainer(folder, 1, max_steps=-1, max_epochs=1, limit_train_batches=1)
    trainer.fit(module, datamodule=small.data())
    return losses, gradients(module.generator), gradients(module.discriminator)


def assert_same(saved: Step, unsaved: Step) -> None:
    assert saved[0].keys() == unsaved[0].keys()
    for name, loss in saved[0].items():
        torch.testing.assert_close(loss, unsaved[0][name], rtol=EXACT, atol=EXACT)
    for ours, theirs in zip(saved[1:], unsaved[1:], strict=True):
        assert ours.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=0, atol=EXACT * float(theirs.abs().max()))


def simswap(gamma: float) -> TargetOriented:
    """A SimSwap of a few thousand parameters with feature matching."""
    encoder = small.encoder()
    torch.manual_seed(0)
    generator, discriminator = SimSwap(4, 1, 1, small.DIM), MultiScale(2, base=4, layers=2)
    terms = {
        "identity": Term(Cosine(), ["z_raw", "z_source"]),
        "feature": Term(FeatureMatching(2), ["features_target", "features_raw"], 10.0),
        "pixel": Term(SamePixelL1(), ["raw", "distorted", "same"]),
        "adversarial": Term(Hinge(), ["logits_raw"]),
    }
    objective = Objective(terms, r1_gamma=gamma, critic=HingeCritic())
    return TargetOriented(generator, discriminator, encoder, objective, pairing=AlternatingPairs())


def test_a_frozen_discriminator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = step(tmp_path, small.module())
    learned = []
    real = TargetOriented._discriminator_backward

    def cleared(self: TargetOriented, known: dict[str, Any]) -> dict[str, Tensor]:
        learned.append(float(gradients(self.discriminator).abs().sum()))
        self.discriminator.zero_grad()
        return real(self, known)

    monkeypatch.setattr(target_oriented, "frozen", lambda network: nullcontext())
    monkeypatch.setattr(TargetOriented, "_discriminator_backward", cleared)
    assert_same(saved, step(tmp_path, small.module()))
    assert learned[0] > 0  # the work that freezing saves


def test_one_encoder_pass_for_identity_and_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = step(tmp_path, small.module(view=View(share=1.0)))

    def apart(self: TargetOriented, names: list[str], images: Tensor) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, part in zip(names, images.chunk(len(names)), strict=True):
            found[f"z_{name}"] = self.encoder(self._view(part, 1)).z
            found[f"maps_{name}"] = self.encoder(self._view(part, 1), self.encoder.layers).maps
        return found

    monkeypatch.setattr(TargetOriented, "_embed", apart)
    assert_same(saved, step(tmp_path, small.module(view=View(share=1.0))))


@pytest.mark.parametrize("distortion", [Distortion(), Distortion(0, 0)], ids=["distorted", "as it is"])
def test_maps_alone_end_the_pass_early(tmp_path: Path, distortion: Distortion) -> None:
    """IFSR of the raw output, of which no embedding is asked, and of the target."""

    def module() -> TargetOriented:
        terms = {
            "identity": Term(Cosine(), ["z_blended", "z_target"]),
            "ifsr": Term(IFSR(), ["maps_target", "maps_raw"]),
            "adversarial": Term(NonSaturating(), ["logits_blended"]),
        }
        return small.module(Objective(terms), distortion=distortion, view=View(share=1.0))

    saving, unsaving = module(), module()
    encoder = unsaving.encoder
    encoder.maps = lambda images, layers: encoder(images, layers).maps  # type: ignore[method-assign]
    ends = {"saving": 0, "unsaving": 0}  # passes that went to the embedding

    def count(name: str, one: TargetOriented) -> None:
        def hook(*args: object) -> None:
            ends[name] += 1

        one.encoder.backbone.fc.register_forward_hook(hook)  # type: ignore[union-attr]

    count("saving", saving), count("unsaving", unsaving)
    assert_same(step(tmp_path, saving), step(tmp_path, unsaving))
    assert ends == {"saving": 2, "unsaving": 4}  # z of target and blended; and with the maps of target and raw


def test_a_prefix_has_the_gradient_of_the_whole_pass() -> None:
    encoder, layers = small.encoder(), ("layer1", "prelu")
    images = small.Pictures().images[:3]
    found = []
    for maps in (encoder.maps, lambda x, names: encoder(x, names).maps):
        x = images.clone().requires_grad_()
        parts = maps(x, layers)
        found.append((*parts, *torch.autograd.grad(sum(part.square().sum() for part in parts), x)))
    for short, whole in zip(*found, strict=True):
        assert torch.equal(short, whole)
    assert not any(module._forward_hooks for module in encoder.backbone.modules())


@pytest.mark.parametrize("gamma", [0.0, 10.0], ids=["without R1", "with R1"])
def test_the_targets_features_and_logits_from_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gamma: float
) -> None:
    passes: list[int] = []

    def counted(module: TargetOriented) -> TargetOriented:
        module.discriminator.scales[0].register_forward_hook(lambda *args: passes.append(len(args[2][0])))
        return module

    saved = step(tmp_path, counted(simswap(gamma)))
    assert passes == [4, 4, 4]  # the target, the drawn for the generator, the drawn for the critic
    passes.clear()

    @torch.no_grad()
    def features(network: nn.Module, objective: Objective, real: Tensor, penalized: bool) -> dict[str, Any]:
        return {"features_target": network.features(real)[1]}  # type: ignore[operator]

    monkeypatch.setattr(target_oriented, "judge_real", features)
    assert_same(saved, step(tmp_path, counted(simswap(gamma))))
    assert sum(passes) == 16


@pytest.mark.parametrize("gamma", [0.0, 3.0], ids=["in one batch", "with R1 of the same pass"])
def test_the_critic_as_the_papers_write_it(gamma: float) -> None:
    """Real and drawn pictures apart, and R1 from a pass of its own."""
    torch.manual_seed(0)
    network = Discriminator(16, base=4)
    real, fake = torch.rand(4, 3, 16, 16) * 2 - 1, torch.rand(4, 3, 16, 16) * 2 - 1
    objective = Objective({"adversarial": Term(NonSaturating(), ["logits_raw"])}, r1_gamma=gamma)
    found = critic_losses(network, objective, {"distorted": real}, fake, gamma > 0, torch.Generator())
    (found["discriminator"] + found.get("r1", torch.zeros(()))).backward()
    ours = gradients(network)
    network.zero_grad()
    loss = F.softplus(-network(real)).mean() + F.softplus(network(fake)).mean()
    torch.testing.assert_close(found["discriminator"], loss, rtol=EXACT, atol=EXACT)
    if gamma:
        seen = real.clone().requires_grad_()
        (slope,) = torch.autograd.grad(network(seen).sum(), seen, create_graph=True)
        r1 = gamma / 2 * slope.square().sum((1, 2, 3)).mean()
        torch.testing.assert_close(found["r1"], r1, rtol=EXACT, atol=EXACT)
        loss = loss + r1
    loss.backward()
    torch.testing.assert_close(ours, gradients(network), rtol=0, atol=EXACT * float(ours.abs().max()))


def test_perceptual_terms_of_flagged_pairs_only(tmp_path: Path) -> None:
    """VGG-16 on all pairs, and the mean over flagged ones afterwards, is what it gives on those alone."""
    torch.manual_seed(0)
    whole = nn.Sequential()
    channels = 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if width:
            whole.extend([nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()])
            nn.init.kaiming_normal_(whole[-2].weight)
            channels = width
        else:
            whole.append(nn.MaxPool2d(2))
    torch.save({f"features.{name}": value for name, value in whole.state_dict().items()}, tmp_path / "vgg16.pth")
    loss = VGGPerceptual(str(tmp_path / "vgg16.pth"))
    target = torch.rand(4, 3, 32, 32) * 2 - 1
    changed = (torch.rand(4, 3, 32, 32) * 2 - 1).requires_grad_()
    same = torch.tensor([False, True, False, True])
    seen: list[int] = []
    loss.features[0].register_forward_hook(lambda *args: seen.append(len(args[2])))
    found = loss(changed, target, same.nonzero().flatten())
    (ours,) = torch.autograd.grad(found, changed)
    assert seen == [4]  # two pairs of the four
    x, y, wanted = (changed - loss.mean) / loss.std, (target - loss.mean) / loss.std, torch.zeros(())
    for layer in whole.requires_grad_(False):
        x, y = layer(x), layer(y)
        if isinstance(layer, nn.MaxPool2d):
            wanted = wanted + ((x - y).abs().mean((1, 2, 3)) * same).sum() / same.sum()
    (theirs,) = torch.autograd.grad(wanted, changed)
    torch.testing.assert_close(found, wanted, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=EXACT * float(theirs.abs().max()))
    assert float(ours[~same].abs().max()) == 0.0


#: ``lift_fresh`` is what ``torch.tensor(...)`` and ``new_tensor`` dispatch to.
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique", "lift_fresh"}


class Reads(TorchDispatchMode):
    """Operations for which the host must wait for the device, and constants that it sends there, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masked = name == "index" and any(part is not None and part.dtype == torch.bool for part in args[1])
        if masked or name in WAITS:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


SMALL = {
    "facedancer": ["generator.base=8", "generator.mapping=16", "discriminator.base=4"],
    "fiva": ["generator.widths=[8,16]", "discriminator.base=4"],
    "reconstruction": ["generator.widths=[8,16]", "discriminator.base=4"],
    "simswap": ["generator.base=8", "generator.blocks=1", "discriminator.base=4"],
}


@pytest.mark.parametrize("experiment", SMALL)
def test_the_host_reads_nothing_inside_a_step(experiment: str, tmp_path: Path) -> None:
    """Two steps, with R1 and without, clipping and both optimizers included; no view: the host draws its size.

    Pairs are the host's own draws, which it sends without waiting.
    """
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        words = [f"experiment={experiment}", "data.size=32", "model.view.share=0", *SMALL[experiment]]
        module = instantiate(compose("train", words).model)
    training_step, reads, pairs = module.training_step, Reads(), module._pairs

    def unwatched(*args: Any) -> Any:
        with _disable_current_modes():
            return pairs(*args)

    module._pairs = unwatched

    def watched(batch: dict[str, Tensor], batch_idx: int) -> None:
        with reads:
            training_step(batch, batch_idx)

    module.training_step = watched
    images = F.interpolate(small.Pictures().images[:8], scale_factor=2, mode="bilinear")
    pictures = [{"image": image, "changed": image.flip(0)} for image in images]
    loader = torch.utils.data.DataLoader(pictures, batch_size=4)  # type: ignore[arg-type]
    small.trainer(tmp_path, 2, log_every_n_steps=50).fit(module, loader)
    assert module.trainer.fit_loop.total_batch_idx == 1
    assert reads.found == []


def test_reading_is_noticed() -> None:
    with Reads() as reads:
        x = torch.arange(4.0)
        float(x.sum()), x[x > 1], x[torch.arange(2)], x.new_tensor([1.0])
    assert reads.found == ["_local_scalar_dense", "index", "lift_fresh"]
