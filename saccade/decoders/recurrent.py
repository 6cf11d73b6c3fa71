"""Recurrent decoder: Sutskever et al. (2014), Bahdanau et al. (2015), Luong et al. (2015); without a source, Mikolov et al. (2010), Zaremba et al. (2014)."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..attention.attention import Attention
from ..attention.scores import Score
from ..attention.scores.additive import Additive
from ..attention.stepwise import asked_stepwise
from ..errors import UsageError
from ..families import Make
from ..layers.cells import Cell, CellState
from ..layers.cells.gru import Gru
from ..layers.dropout import Dropout
from ..layers.embedding import Embedding, Output
from ..types import Encoding
from . import Decoder


class Source(NamedTuple):
    """What may be looked at; None without a source or without attention."""

    keys: Float[Tensor, "B S Dp"]
    values: Float[Tensor, "B S Dv"]
    mask: Bool[Tensor, "B 1 S"]


class Said(NamedTuple):
    """The state of every layer, and the readout that is fed back (zeros unless `input_feeding`)."""

    cells: tuple[CellState, ...]
    fed: Float[Tensor, "B D"]


class Recurrent(Decoder):
    """A stack of cells that looks at the source at each step.

    `attend` "before": the previous state asks, what it found enters the cells (Bahdanau); "after": the new state asks, and with
    `input_feeding` the answer enters the next step (Luong, section 3.3).  Without feeding the whole target runs through fused
    cells and asks at once.  `score` "none" leaves attention out (Sutskever).  `readout` joins state and context: "tanh"
    (Luong, equation 5) or "maxout" over pairs, the symbol's vector included (Bahdanau, appendix A.2.2,
    with the new state where the paper takes the one before); with "none" the output layer reads the state itself (Zaremba).

    Dropout is on what goes into a layer and into the output, never from step to step (Zaremba, equation 4); "variational" draws it
    once for all steps of a call, and once for what each layer reads of its own past (Gal and Ghahramani 2016, equation 7; symbols are
    not dropped).  `uniform` draws every matrix from U(-uniform, uniform).  `UsageError` C012 for what does not go together.
    """

    def __init__(
        self,
        vocab: int,
        memory_dim: int | None,
        *,
        cell: Make[Cell] = Gru,
        dim: int = 256,
        layers: int = 1,
        embedding: int | None = None,
        score: Make[Score] | None = Additive,
        attend: Literal["before", "after"] = "after",
        input_feeding: bool = True,
        readout: Literal["tanh", "maxout", "none"] = "tanh",
        residual: bool = False,
        dropout: float = 0.2,
        dropout_form: Literal["plain", "variational"] = "plain",
        tied: bool = True,
        uniform: float | None = None,
    ) -> None:
        super().__init__(vocab, memory_dim)
        width = embedding or dim
        looks = score is not None and memory_dim is not None
        context = memory_dim if looks and memory_dim is not None else 0
        self.attend_before = looks and attend == "before"
        self.feeds = looks and attend == "after" and input_feeding
        self.residual, self.maxout, self.variational, self.dim = residual, readout == "maxout", dropout_form == "variational", dim
        _require(not tied or width == dim, f"a tied output needs embedding = dim, found {width} and {dim}", "tied = false, or leave embedding out")
        _require(readout != "none" or not looks, "readout = 'none' has no place for what attention finds", "readout = 'tanh', or score = 'none'")
        sequential = "input_feeding" if self.feeds else "attend = 'before'" if self.attend_before else ""
        wanted = "dropout_form = 'plain', or attend = 'after' and input_feeding = false"
        _require(not self.variational or not sequential, f"variational dropout needs all steps at once, and {sequential} takes them one by one", wanted)
        _require(uniform is None or uniform > 0, f"uniform = {uniform}; it must be above 0", "uniform = 0.1")
        self.embedding = Embedding(vocab, width)
        extra = dim if self.feeds else context if self.attend_before else 0
        self.cells = nn.ModuleList(cell(dim if i else width + extra, dim) for i in range(layers))
        self.cross_attention = Attention(score(dim, memory_dim)) if score is not None and looks else None
        self.bridge = None if memory_dim is None else nn.Linear(memory_dim, dim * sum(c.parts for c in self.cells))
        joined = dim + context + (width if self.maxout else 0)
        self.readout = None if readout == "none" else nn.Linear(joined, dim * 2 if self.maxout else dim)
        self.dropout = Dropout(dropout)
        self.output = Output(vocab, dim, self.embedding if tied else None)
        for weight in self.parameters():
            if uniform is not None and weight.ndim > 1:
                nn.init.uniform_(weight, -uniform, uniform)

    def start(self, encoding: Encoding | None, batch: int) -> tuple[Source | None, Said]:
        """Prepared keys; every state vector is a bent linear image of the source's final vector (Bahdanau, appendix A.2.2)."""
        fed = self.output.weight.new_zeros(batch, self.dim)
        if encoding is None or self.bridge is None:
            return None, Said(tuple(cell.start(batch) for cell in self.cells), fed)
        vectors = iter(self.bridge(encoding.final).tanh().chunk(sum(c.parts for c in self.cells), -1))
        cells = tuple(tuple(next(vectors) for _ in range(cell.parts)) for cell in self.cells)
        if self.cross_attention is None:
            return None, Said(cells, fed)
        return Source(self.cross_attention.prepare(encoding.outputs), encoding.outputs, encoding.mask[:, None]), Said(cells, fed)

    def features(self, tokens: Int[Tensor, "B T"], state: Said, memory: Source | None) -> tuple[Float[Tensor, "B T D"], Said]:
        """The readout after each of `tokens`, and the state after the last."""
        embedded = self.drop(self.embedding(tokens))
        sequential = self.feeds or self.attend_before
        said, state = self.step_by_step(embedded, state, memory) if sequential else self.at_once(embedded, state, memory)
        return self.drop(said), state

    def drop(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Dropout between layers: of every step by itself, or of all alike."""
        return x * self.dropout(x.new_ones(len(x), 1, x.shape[-1])) if self.variational else self.dropout(x)

    def at_once(self, embedded: Float[Tensor, "B T De"], state: Said, memory: Source | None) -> tuple[Float[Tensor, "B T D"], Said]:
        """The fused path: no step needs to know what an earlier one found."""
        x, after = embedded, []
        for number, (cell, before) in enumerate(zip(self.cells, state.cells, strict=True)):
            kept = self.dropout(torch.ones_like(before[0])) if self.variational and self.training else None
            y, last = cell.sequence(self.drop(x) if number else x, before, kept)
            after.append(last)
            x = x + y if self.residual and number else y
        return self.join(x, embedded, self.look(x, memory)), Said(tuple(after), state.fed)

    def step_by_step(self, embedded: Float[Tensor, "B T De"], state: Said, memory: Source | None) -> tuple[Float[Tensor, "B T D"], Said]:
        """The plain path: what was found enters the next step."""
        said = []
        cells, fed = state
        look = None if memory is None or self.cross_attention is None else asked_stepwise(self.cross_attention, *memory)
        for symbol in embedded.unbind(1):
            found = look(cells[-1][0][:, None]) if look is not None and self.attend_before else None
            extra = [fed] if self.feeds else [found[:, 0]] if found is not None else []
            top, cells = self.stack(torch.cat([symbol, *extra], -1), cells)
            if look is not None and not self.attend_before:
                found = look(top[:, None])
            fed = self.join(top[:, None], symbol[:, None], found)[:, 0]
            said.append(fed)
        return torch.stack(said, 1), Said(cells, fed if self.feeds else state.fed)

    def stack(self, x: Float[Tensor, "B Din"], states: tuple[CellState, ...]) -> tuple[Float[Tensor, "B D"], tuple[CellState, ...]]:
        """One step through all layers."""
        after = []
        for number, (cell, before) in enumerate(zip(self.cells, states, strict=True)):
            y, last = cell(self.dropout(x) if number else x, before)
            after.append(last)
            x = x + y if self.residual and number else y
        return x, tuple(after)

    def look(self, query: Float[Tensor, "B T D"], memory: Source | None) -> Float[Tensor, "B T Dv"] | None:
        """What the source answers."""
        if self.cross_attention is None or memory is None:
            return None
        return self.cross_attention(query, memory.keys, memory.values, memory.mask)[0]

    def join(self, top: Float[Tensor, "B T D"], embedded: Float[Tensor, "B T De"], found: Float[Tensor, "B T Dv"] | None) -> Float[Tensor, "B T D"]:
        """State and context (and, for maxout, the symbol) become what the output layer reads."""
        if self.readout is None:
            return top
        parts = [top, *([found] if found is not None else []), *([embedded] if self.maxout else [])]
        joined = self.readout(torch.cat(parts, -1))
        return joined.unflatten(-1, (-1, 2)).amax(-1) if self.maxout else joined.tanh()


def _require(holds: bool, found: str, fix: str) -> None:
    """`UsageError` C012 unless the condition holds."""
    if not holds:
        raise UsageError("C012", found, fix=fix)
