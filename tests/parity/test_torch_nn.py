"""Against torch.nn with the same weights: what is said and every gradient.

Laws cannot see a wrong gate order, a missing square root or a mask of the wrong polarity; these can.
torch.nn's boolean masks are True where one may NOT look, ours where one may (as in F.scaled_dot_product_attention).
"""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade.attention import MultiHead, watching
from saccade.attention.masks import causal, padding
from saccade.attention.scores.scaled_dot import ScaledDot
from saccade.decoders.transformer import Block, Seen
from saccade.decoders.transformer import Layer as DecoderLayer
from saccade.decoders.transformer import Transformer as TransformerDecoder
from saccade.encoders.recurrent import Recurrent
from saccade.encoders.transformer import Layer as EncoderLayer
from saccade.encoders.transformer import Transformer as TransformerEncoder
from saccade.families import choose, find
from saccade.layers.cells import Cell
from saccade.layers.feedforward import FeedForward
from saccade.layers.positions.none import NoPosition
from saccade.types import Encoding, pad

M = TypeVar("M", bound=nn.Module)
Pairs = list[tuple[list[Tensor], Tensor]]
"""Weights of ours, which side by side are one of theirs."""

EXACT = {"atol": 1e-5, "rtol": 1e-5}
D, HEADS, HIDDEN, MEMORY, S, T = 8, 2, 12, 6, 5, 4
THEIRS = {"lstm": nn.LSTM, "gru": nn.GRU, "elman": nn.RNN}
LENGTHS = torch.tensor([3, 5, 1])
MASK = torch.arange(S) < LENGTHS[:, None]


def shake(module: M) -> M:
    """Weights large enough that each of them shows."""
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.5)
    return module


def expect_same(ours: Tensor, theirs: Tensor, leaves: list[tuple[Tensor, Tensor]], pairs: Pairs) -> None:
    """Equal outputs; equal gradients of the inputs `leaves` (ours, theirs) and of the weights `pairs` (parts of ours, theirs)."""
    torch.testing.assert_close(ours, theirs, **EXACT)
    direction = torch.randn(ours.shape)
    for output in (ours, theirs):
        (output * direction).sum().backward()
    for one, other in leaves:
        assert other.grad.abs().max() > 0
        torch.testing.assert_close(one.grad, other.grad, **EXACT)
    for one, other in pairs:
        assert other.grad.abs().max() > 0
        torch.testing.assert_close(torch.cat([weight.grad for weight in one]), other.grad, **EXACT)


def copy(pairs: Pairs) -> Pairs:
    with torch.no_grad():
        for ours, theirs in pairs:
            theirs.copy_(torch.cat(list(ours)))
    return pairs


def leaf(*shape: int) -> tuple[Tensor, Tensor]:
    """The same input twice, to be differentiated twice."""
    x = torch.randn(shape)
    return x.clone().requires_grad_(), x.clone().requires_grad_()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", THEIRS)
def test_cells(name: str, fused: bool) -> None:
    cell, theirs = shake(choose(Cell, name)(6, D)), THEIRS[name](6, D, batch_first=True)
    pairs = copy([([weight], dict(theirs.named_parameters())[place]) for place, weight in cell.whole.named_parameters()])
    (x, y), state = leaf(3, S, 6), tuple(torch.randn(3, D) for _ in range(cell.parts))
    if fused:
        outputs, after = cell.sequence(x, state)
    else:
        outputs, after = cell.plain(x, state)
    expected, last = theirs(y, tuple(part[None] for part in state) if cell.parts == 2 else state[0][None])
    expect_same(
        torch.cat([outputs.flatten(1), *after], 1),
        torch.cat([expected.flatten(1), *(part[0] for part in (last if cell.parts == 2 else [last]))], 1),
        [(x, y)],
        pairs,
    )


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("name", THEIRS)
def test_a_recurrent_encoder_is_a_packed_one(name: str, bidirectional: bool) -> None:
    """Rows of different lengths, not sorted: forward reading ends at each row's own end, backward reading starts there."""
    encoder = shake(Recurrent(7, cell=find(Cell, name), dim=D, layers=2, embedding=6, bidirectional=bidirectional, dropout=0.0))
    theirs, embedding = THEIRS[name](6, D, num_layers=2, batch_first=True, bidirectional=bidirectional), nn.Embedding(7, 6)
    weights, pairs = dict(theirs.named_parameters()), [([encoder.embedding.weight], embedding.weight)]
    for i, layer in enumerate(encoder.layers):
        for cell, ending in ((layer.ahead, ""), (layer.back, "_reverse")):
            if cell is not None:
                pairs += [([weight], weights[f"{place[:-1]}{i}{ending}"]) for place, weight in cell.whole.named_parameters()]
    assert len(pairs) == len(weights) + 1
    copy(pairs)
    source = pad([[1, 2, 3], [4, 5, 6, 1, 2], [3]])
    encoding = encoder(source)
    packed = nn.utils.rnn.pack_padded_sequence(embedding(source.ids), source.lengths, batch_first=True, enforce_sorted=False)
    outputs, last = theirs(packed)
    outputs, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)
    hidden = last[0] if name == "lstm" else last
    final = torch.cat(list(hidden[-2:] if bidirectional else hidden[-1:]), -1)
    expect_same(torch.cat([encoding.outputs.flatten(1), encoding.final], 1), torch.cat([outputs.flatten(1), final], 1), [], pairs)


def multi_head(ours: Any, theirs: Any) -> Pairs:
    """(ours, theirs) weights of one multi-head attention; ours keeps keys and values in one matrix, theirs all three."""
    weight, bias = ours.key_value.weight, ours.key_value.bias
    if theirs.in_proj_weight is not None:
        return [([ours.query.weight, weight], theirs.in_proj_weight), ([ours.query.bias, bias], theirs.in_proj_bias), *output_of(ours, theirs)]
    return [([ours.query.bias, bias], theirs.in_proj_bias), *output_of(ours, theirs), ([ours.query.weight], theirs.q_proj_weight)]


def output_of(ours: Any, theirs: Any) -> Pairs:
    return [([ours.output.weight], theirs.out_proj.weight), ([ours.output.bias], theirs.out_proj.bias)]


MHA_MASKS = {
    "none": (None, {}),
    "padding": (padding(MASK), {"key_padding_mask": ~MASK}),
    "causal": (causal(S, S)[None, None], {"attn_mask": ~causal(S, S)}),
    "both": (causal(S, S) & padding(MASK), {"attn_mask": ~causal(S, S), "key_padding_mask": ~MASK}),
}


@pytest.mark.parametrize("mask", MHA_MASKS)
@pytest.mark.parametrize("memory_dim", [D, MEMORY])
def test_multi_head_attention(memory_dim: int, mask: str) -> None:
    ours = shake(MultiHead(D, memory_dim, ScaledDot, heads=HEADS))
    theirs = nn.MultiheadAttention(D, HEADS, batch_first=True, kdim=memory_dim, vdim=memory_dim)
    pairs = copy(multi_head(ours, theirs))
    if memory_dim != D:
        with torch.no_grad():
            theirs.k_proj_weight.copy_(ours.key_value.weight[:D])
            theirs.v_proj_weight.copy_(ours.key_value.weight[D:])
    (query, asked), (memory, kept) = leaf(3, S, D), leaf(3, S, memory_dim)
    mine, other = MHA_MASKS[mask]
    with watching(ours) as seen:
        said = ours(query, *ours.project(memory), mine)
    expected, weights = theirs(asked, kept, kept, average_attn_weights=False, **other)
    torch.testing.assert_close(seen["attention"][0], weights.detach(), **EXACT)
    if mine is not None and mask != "both":  # the same mask taken the other way round says something else (or nothing)
        assert not torch.allclose(ours(query, *ours.project(memory), ~mine), expected, atol=1e-2)
    expect_same(said, expected, [(query, asked), (memory, kept)], pairs)
    if memory_dim != D:
        torch.testing.assert_close(ours.key_value.weight.grad, torch.cat([theirs.k_proj_weight.grad, theirs.v_proj_weight.grad]), **EXACT)


def named(parts: list[tuple[nn.Module, nn.Module]]) -> Pairs:
    """(ours, theirs) weight and bias of each pair of modules."""
    return [([getattr(ours, part)], getattr(theirs, part)) for ours, theirs in parts for part in ("weight", "bias")]


def encoder_pairs(ours: Any, theirs: Any) -> Pairs:
    parts = [(ours.feed_forward.expand, theirs.linear1), (ours.feed_forward.contract, theirs.linear2)]
    return [*multi_head(ours.self_attention, theirs.self_attn), *named([*parts, (ours.looking.norm, theirs.norm1), (ours.thinking.norm, theirs.norm2)])]


def decoder_pairs(ours: Any, theirs: Any) -> Pairs:
    parts = [(ours.feed_forward.expand, theirs.linear1), (ours.feed_forward.contract, theirs.linear2)]
    norms = [(ours.looking_back.norm, theirs.norm1), (ours.looking_across.norm, theirs.norm2), (ours.thinking.norm, theirs.norm3)]
    attentions = [*multi_head(ours.self_attention, theirs.self_attn), *multi_head(ours.cross_attention, theirs.multihead_attn)]
    return [*attentions, *named([*parts, *norms])]


both_norms = pytest.mark.parametrize("norm", ["pre", "post"])
both_bends = pytest.mark.parametrize("activation", ["relu", "gelu"])


def knobs(norm: str, activation: str) -> dict[str, Any]:
    return {"dim_feedforward": HIDDEN, "dropout": 0.0, "activation": activation, "batch_first": True, "norm_first": norm == "pre"}


@both_bends
@both_norms
def test_an_encoder_layer(norm: str, activation: str) -> None:
    ours = shake(EncoderLayer(D, MultiHead(D, D, ScaledDot, heads=HEADS), FeedForward(D, HIDDEN, activation=activation), norm, 0.0))
    theirs = nn.TransformerEncoderLayer(D, HEADS, **knobs(norm, activation))
    pairs, (x, y) = copy(encoder_pairs(ours, theirs)), leaf(3, S, D)
    assert len(pairs) == len(list(theirs.parameters()))
    real = MASK[..., None]
    expect_same(ours(x, padding(MASK), NoPosition(D, HEADS)) * real, theirs(y, src_key_padding_mask=~MASK) * real, [(x, y)], pairs)


@both_bends
@both_norms
def test_a_decoder_layer(norm: str, activation: str) -> None:
    attentions = MultiHead(D, D, ScaledDot, heads=HEADS), MultiHead(D, D, ScaledDot, heads=HEADS)
    ours = shake(DecoderLayer(D, *attentions, FeedForward(D, HIDDEN, activation=activation), norm, 0.0))
    theirs = nn.TransformerDecoderLayer(D, HEADS, **knobs(norm, activation))
    pairs, (x, y), (memory, kept) = copy(decoder_pairs(ours, theirs)), leaf(3, T, D), leaf(3, S, D)
    assert len(pairs) == len(list(theirs.parameters()))
    nothing = torch.zeros(3, HEADS, 0, D // HEADS)
    masks = [Block(0, T, 0, T, causal(T, T)[None, None])], padding(MASK)
    said, seen = ours(x, Seen(nothing, nothing), Seen(*ours.cross_attention.project(memory)), masks, NoPosition(D, HEADS))
    assert seen.keys.shape == seen.values.shape == (3, HEADS, T, D // HEADS)
    expected = theirs(y, kept, tgt_mask=~causal(T, T), memory_key_padding_mask=~MASK)
    expect_same(said, expected, [(x, y), (memory, kept)], pairs)


def waves(length: int, dim: int) -> Tensor:
    """Vaswani et al. (2017), section 3.5, one number at a time."""
    table = torch.zeros(length, dim, dtype=torch.double)
    for place in range(length):
        for i in range(0, dim, 2):
            angle = torch.tensor(place / 10000 ** (i / dim), dtype=torch.double)
            table[place, i], table[place, i + 1] = angle.sin(), angle.cos()
    return table.float()


def copy_stack(ours: Any, theirs: Any, pairs_of: Callable[[Any, Any], Pairs], norm: str) -> Pairs:
    pairs = [pair for mine, other in zip(ours.layers, theirs.layers, strict=True) for pair in pairs_of(mine, other)]
    return copy([*pairs, *(named([(ours.norm, theirs.norm)]) if norm == "pre" else [])])


@both_norms
def test_a_whole_transformer(norm: str) -> None:
    """Scaled embedding plus waves, two layers on each side, the last norm where norms come first, a tied output."""
    ours = shake(TransformerEncoder(7, dim=D, layers=2, heads=HEADS, feed_forward=HIDDEN, norm=norm, dropout=0.0))
    layer, last = nn.TransformerEncoderLayer(D, HEADS, **knobs(norm, "relu")), nn.LayerNorm(D) if norm == "pre" else None
    theirs = nn.TransformerEncoder(layer, 2, last, enable_nested_tensor=False)
    pairs = copy_stack(ours, theirs, encoder_pairs, norm)
    source, real = pad([[1, 2, 3], [4, 5, 6, 1, 2], [3]]), MASK[..., None]
    x = functional.embedding(source.ids, ours.embedding.weight.detach()) * D**0.5 + waves(S, D)
    encoding = ours(source)
    expect_same(encoding.outputs * real, theirs(x, src_key_padding_mask=~MASK) * real, [], pairs)

    speaker = shake(TransformerDecoder(7, D, dim=D, layers=2, heads=HEADS, feed_forward=HIDDEN, norm=norm, dropout=0.0))
    layer, last = nn.TransformerDecoderLayer(D, HEADS, **knobs(norm, "relu")), nn.LayerNorm(D) if norm == "pre" else None
    other = nn.TransformerDecoder(layer, 2, last)
    pairs = copy_stack(speaker, other, decoder_pairs, norm)
    tokens, (outputs, kept), table = torch.randint(7, (3, T)), leaf(3, S, D), speaker.embedding.weight
    memory, state = speaker.start(Encoding(outputs, MASK, outputs[:, 0]), 3)
    y = functional.embedding(tokens, table.detach()) * D**0.5 + waves(T, D)
    expected = other(y, kept, tgt_mask=~causal(T, T), memory_key_padding_mask=~MASK) @ table.detach().T + speaker.output.bias.detach()
    expect_same(speaker(tokens, state, memory)[0], expected, [(outputs, kept)], pairs)
