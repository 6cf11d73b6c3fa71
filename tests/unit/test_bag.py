"""A bag does not know the order of what is in it."""

import pytest
import torch

from saccade.decoders.bag import Bag
from saccade.errors import UsageError

V, DIM = 9, 8


def last_feature(decoder: Bag, tokens: torch.Tensor) -> torch.Tensor:
    memory, state = decoder.start(None, len(tokens))
    return decoder.features(tokens, state, memory)[0][:, -1]


def test_the_order_of_the_context_does_not_matter_unless_it_fades() -> None:
    tokens = torch.randint(V, (4, 7))
    mixed = tokens[:, torch.tensor([3, 0, 6, 1, 5, 2, 4])]
    bag, fading = Bag(V, None, dim=DIM).eval(), Bag(V, None, dim=DIM, decay=0.5).eval()
    torch.testing.assert_close(last_feature(bag, mixed), last_feature(bag, tokens), atol=1e-6, rtol=1e-5)
    assert not torch.allclose(last_feature(fading, mixed), last_feature(fading, tokens), atol=1e-3)


@pytest.mark.parametrize("decay", [1.0, 0.6])
def test_the_bag_is_a_mean(decay: float) -> None:
    """Each symbol weighs `decay` times as much as the one after it; written out, one place at a time."""
    decoder = Bag(V, None, dim=DIM, decay=decay).eval()
    vectors = torch.randn(2, 5, DIM)
    heard = decoder.gather(vectors, decoder.start(None, 2)[1])
    for place in range(5):
        weights = torch.tensor([decay ** (place - earlier) for earlier in range(place + 1)])
        mean = (weights[:, None] * vectors[:, : place + 1]).sum(1) / weights.sum()
        torch.testing.assert_close((heard.total / heard.many)[:, place], mean, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("decay", [0.0, 1.5, -0.5])
def test_an_impossible_decay_is_refused(decay: float) -> None:
    with pytest.raises(UsageError) as refused:
        Bag(V, None, decay=decay)
    assert (refused.value.code, refused.value.headline) == ("C012", f"decay = {decay}; it must be above 0 and at most 1")
    assert refused.value.parts["fix"] == ["decay = 1.0"]
