"""Against `transformers` with the same random weights: GPT and GPT-2 are knobs of the Transformer decoder; what is said, and every gradient."""

from inspect import signature
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from saccade.decoders.transformer import Transformer
from saccade.families import settings

transformers = pytest.importorskip("transformers", reason="GPT AND GPT-2 ARE NOT COMPARED WITH ANYTHING: pip install transformers")
EXACT = {"atol": 1e-5, "rtol": 1e-5}
V, D, LAYERS, HEADS, LENGTH = 11, 16, 3, 4, 9
FORM = {"dim": D, "layers": LAYERS, "heads": HEADS, "dropout": 0.0, "position": {"name": "learned", "length": LENGTH}, "embedding_scale": False}
OURS = {"gpt": {"norm": "post", "initialisation": "gpt"}, "gpt2": {"norm": "pre", "initialisation": "gpt2"}}
both = pytest.mark.parametrize("name", OURS)


def theirs_of(name: str) -> Any:
    sizes = {"vocab_size": V, "n_positions": LENGTH, "n_embd": D, "n_layer": LAYERS, "n_head": HEADS}
    quiet = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
    if name == "gpt":
        return transformers.OpenAIGPTLMHeadModel(transformers.OpenAIGPTConfig(**sizes, **quiet))
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **quiet))


def make(name: str, activation: str = "gelu_tanh") -> tuple[Transformer, Any, list[tuple[Tensor, Tensor]]]:
    """Ours, theirs, and (ours, theirs) of every weight; theirs keep query, key and value in one matrix, and matrices transposed."""
    torch.manual_seed(0)
    ours, theirs = Transformer(V, None, **settings(Transformer, {**FORM, **OURS[name], "activation": activation}, "decoder")), theirs_of(name)
    for weight in theirs.parameters():
        nn.init.normal_(weight, std=0.3)
    stack = theirs.transformer
    table, places = (stack.tokens_embed, stack.positions_embed) if name == "gpt" else (stack.wte, stack.wpe)
    pairs = [(ours.embedding.weight, table.weight), (ours.position.places.weight, places.weight)]
    for layer, block in zip(ours.layers, stack.h, strict=True):
        linears = [
            (layer.self_attention.output, block.attn.c_proj),
            (layer.feed_forward.expand, block.mlp.c_fc),
            (layer.feed_forward.contract, block.mlp.c_proj),
        ]
        pairs += [(mine.weight, other.weight.T) for mine, other in linears] + [(mine.bias, other.bias) for mine, other in linears]
        norms = [(layer.looking_back.norm, block.ln_1), (layer.thinking.norm, block.ln_2)]
        pairs += [(getattr(mine, part), getattr(other, part)) for mine, other in norms for part in ("weight", "bias")]
    if name == "gpt2":
        pairs += [(ours.norm.weight, stack.ln_f.weight), (ours.norm.bias, stack.ln_f.bias)]
    with torch.no_grad():
        for mine, other in [*pairs, *(pair for layer, block in zip(ours.layers, stack.h, strict=True) for pair in asking(layer, block, "data"))]:
            mine.copy_(other)
    return ours.eval(), theirs.eval(), pairs


def asking(layer: Any, block: Any, of: str) -> list[tuple[Tensor, Tensor]]:
    """(ours, theirs) of queries, keys and values: the data or the gradients."""
    heads, joined = layer.self_attention, block.attn.c_attn
    weight, bias = getattr(joined.weight, of), getattr(joined.bias, of)
    return [
        (getattr(heads.query.weight, of), weight[:, :D].T),
        (getattr(heads.key_value.weight, of), weight[:, D:].T),
        (getattr(heads.query.bias, of), bias[:D]),
        (getattr(heads.key_value.bias, of), bias[D:]),
    ]


def say(ours: Transformer, tokens: Tensor) -> Tensor:
    memory, state = ours.start(None, len(tokens))
    return ours(tokens, state, memory)[0]


@both
def test_what_is_said_and_every_gradient(name: str) -> None:
    ours, theirs, pairs = make(name)
    tokens = torch.randint(V, (3, LENGTH))
    said, expected = say(ours, tokens), theirs(tokens).logits
    torch.testing.assert_close(said, expected, **EXACT)
    assert expected.std() > 0.3
    direction = torch.randn(said.shape) / said.numel() ** 0.5
    for output in (said, expected):
        (output * direction).sum().backward()
    for mine, other in pairs:
        slope = other.grad if other.is_leaf else other._base.grad.T  # a transposed view keeps no gradient of its own
        assert slope.abs().max() > 0
        torch.testing.assert_close(mine.grad, slope, **EXACT)
    for layer, block in zip(ours.layers, theirs.transformer.h, strict=True):
        for mine, other in asking(layer, block, "grad"):
            torch.testing.assert_close(mine, other, **EXACT)
    learned = {id(mine) for mine, _ in pairs} | {id(w) for layer in ours.layers for w in layer.self_attention.parameters()}
    assert {id(weight) for weight in ours.parameters()} == learned | {id(ours.output.bias)}  # theirs has no bias: ours begins at zero


@both
def test_without_a_head(name: str) -> None:
    """GPT2Model and OpenAIGPTModel are the features."""
    ours, theirs, _ = make(name)
    tokens = torch.randint(V, (2, 5))
    memory, state = ours.start(None, 2)
    torch.testing.assert_close(ours.features(tokens, state, memory)[0], theirs.transformer(tokens).last_hidden_state, **EXACT)


@both
def test_the_exact_gelu_is_another(name: str) -> None:
    """The parity above can tell them apart."""
    ours, theirs, _ = make(name, activation="gelu")
    tokens = torch.randint(V, (2, LENGTH))
    assert not torch.allclose(say(ours, tokens), theirs(tokens).logits, **EXACT)


def test_weights_begin_where_theirs_begin() -> None:
    """The spread of every matrix, after both have drawn their own."""
    wide = {"vocab_size": 500, "n_positions": 64, "n_embd": 128, "n_layer": 8, "n_head": 2}
    theirs = transformers.GPT2Model(transformers.GPT2Config(**wide))
    knobs = {**FORM, **OURS["gpt2"], "dim": 128, "layers": 8, "heads": 2, "position": {"name": "learned", "length": 64}}
    ours = Transformer(500, None, **settings(Transformer, knobs, "decoder"))
    layer, block = ours.layers[0], theirs.h[0]
    matrices = [
        (ours.embedding, theirs.wte),
        (ours.position.places, theirs.wpe),
        (layer.self_attention.query, block.attn.c_attn),
        (layer.self_attention.key_value, block.attn.c_attn),
        (layer.self_attention.output, block.attn.c_proj),
        (layer.feed_forward.expand, block.mlp.c_fc),
        (layer.feed_forward.contract, block.mlp.c_proj),
    ]
    for mine, other in matrices:
        assert mine.weight.std().item() == pytest.approx(other.weight.std().item(), rel=0.05)
    assert all((weight == 0).all() for name, weight in ours.named_parameters() if name.endswith("bias"))


@both
def test_a_cached_step_is_a_cached_step(name: str) -> None:
    """One symbol at a time, each with its own cache."""
    ours, theirs, _ = make(name)
    tokens, past = torch.randint(V, (2, 6)), None
    memory, state = ours.start(None, 2)
    cache = "cache" if "cache" in signature(theirs.forward).parameters else "past_key_values"  # its older name
    for place in range(6):
        said, state = ours(tokens[:, place : place + 1], state, memory)
        if name == "gpt":  # keeps no cache
            expected = theirs(tokens[:, : place + 1]).logits[:, -1:]
        else:
            found = theirs(tokens[:, place : place + 1], use_cache=True, **{cache: past})
            expected, past = found.logits, found[cache]
        torch.testing.assert_close(said, expected, **EXACT)
