"""Fixed: Child et al. (2019), section 4.3.  For what has no period, as text: some places of every block sum it up for all that follows."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import UsageError
from ...layers.dropout import Dropout
from ..masks import block, fixed
from ..scores import Score
from ..sparse import blocks, joint_weights
from . import Pairs, Pattern


class Fixed(Pattern):
    """Its block of `stride` places, and the last `summary` places of every block before."""

    def __init__(self, *, stride: int = 32, summary: int = 4) -> None:
        super().__init__(stride=stride)
        if not 1 <= summary <= stride:
            raise UsageError("C012", f"summary = {summary}: of a block of {stride} places, 1 to {stride} can sum it up", fix=f"summary = {max(1, stride // 8)}")
        self.summary = summary

    def sets(self, queries: int, keys: int, device: torch.device | None = None) -> tuple[Bool[Tensor, "Q S"], Bool[Tensor, "Q S"]]:
        """Its block so far; summaries so far."""
        return block(queries, keys, self.stride, device), fixed(queries, keys, self.stride, self.summary, device)

    def seen_from(self, place: int) -> Pairs:
        """Summaries in its own block, and the place itself, are both near and far."""
        before, inside = divmod(place, self.stride)
        both = max(1, inside + 1 - (self.stride - self.summary))
        return Pairs(inside + 1, before * self.summary + both, inside + 1 + before * self.summary)

    def attend(
        self, parts: tuple[Score, Dropout], query: Float[Tensor, "*batch T Dq"], keys: Float[Tensor, "*batch T Dp"], values: Float[Tensor, "*batch T Dv"]
    ) -> Float[Tensor, "*batch T Dv"]:
        """Blocks look at themselves, and all places at all summaries, of which those of later blocks are hidden."""
        length, (score, dropout) = query.shape[-2], parts
        query, keys, values = (blocks(x, self.stride) for x in (query, keys, values))
        near = score.compare(query, keys)
        far = score.compare(query.flatten(-3, -2), self._summaries(keys)).unflatten(-2, (-1, self.stride))
        inside, before = joint_weights(near, far, self._seen(keys.shape[-3], keys.device), dropout)
        values = values.to(inside.dtype)
        context = (inside @ values).flatten(-3, -2) + before.flatten(-3, -2) @ self._summaries(values)
        return context[..., :length, :]

    def _summaries(self, x: Float[Tensor, "*batch M L d"]) -> Float[Tensor, "*batch M_c d"]:
        """The last places of every block, one after the other."""
        return x[..., -self.summary :, :].flatten(-3, -2)

    def _seen(self, count: int, device: torch.device) -> Bool[Tensor, "M L S"]:
        """Of its block what is not after; of summaries those of the blocks before, for its own are in the block."""
        near = torch.ones(self.stride, self.stride, dtype=torch.bool, device=device).tril().expand(count, -1, -1)
        before = torch.ones(count, count, dtype=torch.bool, device=device).tril(-1).repeat_interleave(self.summary, 1)
        return torch.cat([near, before[:, None].expand(-1, self.stride, -1)], -1)
