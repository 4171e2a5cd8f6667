"""What an attribute editor wants, and what its critic does.

    G    - D(edit(X, a)) w_adv + w_att BCE(attributes of edit(X, a), wanted) + w_rec |X - back|_1
    D    D(edit(X, a)) - D(X) + w_gp penalty + w_read BCE(attributes of X, own)

(eqs. 4.7 to 4.13 of Wen et al., *Face De-identification*, Springer 2024, with the penalty's sign as Gulrajani et al.
have it.) ``back`` is the face edited to its own attributes (STGAN) or the edited face edited back (StarGAN).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from anon.attributes.classifier import soft_margin


class EditingLoss(nn.Module):
    """The weights, and the generator's terms.

    Args:
        adversarial: w_adv.
        attribute: w_att.
        reconstruction: w_rec.
        read: w_read, of the critic.
        penalty: w_gp, of the critic.
    """

    def __init__(
        self,
        adversarial: float = 1.0,
        attribute: float = 10.0,
        reconstruction: float = 100.0,
        read: float = 1.0,
        penalty: float = 10.0,
    ) -> None:
        super().__init__()
        self.adversarial, self.attribute, self.reconstruction = adversarial, attribute, reconstruction
        self.read, self.penalty = read, penalty

    def forward(
        self, real: Tensor, logits: Tensor, wanted: Tensor, back: Tensor, target: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum, and each term before its weight.

        Args:
            real: D of the edited faces (B,).
            logits: of their attributes (B, c).
            wanted: (B, c) of 0, 1 and NaN, which nobody asks for.
            back, target: faces (B, 3, H, W) that should be equal.
        """
        terms = {"adversarial": -real.mean(), "attribute": soft_margin(logits, wanted)}
        terms["reconstruction"] = F.l1_loss(back, target)
        total = (
            self.adversarial * terms["adversarial"]
            + self.attribute * terms["attribute"]
            + self.reconstruction * terms["reconstruction"]
        )
        return total, terms
