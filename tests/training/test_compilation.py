from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from anon.errors import UserError
from anon.training.adversarial.compilation import check_gradients


class Scales(nn.Module):
    """x·a·b; ``broken``: compiled, b has no gradient, as after a compiler's mistake, and the output is right."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.a, self.b, self.broken = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.tensor(3.0)), broken
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        b = self.b.detach() if self.broken and torch.compiler.is_compiling() else self.b
        return x * self.a * b


@pytest.fixture(params=[False, True], ids=["whole", "broken"])
def network(request: pytest.FixtureRequest) -> Scales:
    torch._dynamo.reset()
    found = Scales(request.param)
    found.compile(backend="aot_eager")
    return found


def test_a_wrong_gradient_is_refused(network: Scales) -> None:
    """Without b's gradient of 2·4 beside a's of 3·4, the vector is off by 8 of sqrt(12² + 8²): 0.55."""

    def backward() -> None:
        network(torch.tensor(4.0)).backward()

    if network.broken:
        with pytest.raises(UserError, match=r"the generator's gradients wrong .*0\.55.*model\.compile=false"):
            check_gradients({"generator": network}, backward)
    else:
        check_gradients({"generator": network}, backward)


def test_nothing_is_left_behind(network: Scales) -> None:
    network.broken = False
    collected = torch.tensor(7.0)
    network.a.grad = collected
    check_gradients({"generator": network}, lambda: network(torch.tensor(4.0)).backward())
    assert network.a.grad is collected and network.b.grad is None and network.seen == 0
