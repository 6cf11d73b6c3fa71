"""The laws of encoders, over the folder and what their knobs change: padding and batch-mates change nothing."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from saccade.decoders import Decoder
from saccade.encoders import Encoder
from saccade.encoders.recurrent import reversed_rows
from saccade.errors import UsageError
from saccade.families import choose
from saccade.layers.cross_entropy import cross_entropy
from saccade.models import Seq2Seq
from saccade.types import BOS, EOS, Encoding, Padded, pad

from .parts import CELLS, ENCODERS, POSITIONS, SCORES, VARIANTS, V, sources

EXACT = {"atol": 1e-5, "rtol": 1e-5}

RECURRENT = {
    "recurrent-one-way": {"bidirectional": False},
    "recurrent-reverse": {"bidirectional": False, "reverse": True, "cell": "lstm"},
    "recurrent-both-reverse": {"reverse": True, "layers": 1},
    "recurrent-residual": {"residual": True, "layers": 3},
    "recurrent-residual-one-way": {"residual": True, "bidirectional": False, "reverse": True},
    "recurrent-narrow": {"embedding": 5, "cell": "elman"},
}
TRANSFORMER = {
    "transformer-post": {"norm": "post", "activation": "gelu"},
    "transformer-narrow": {"feed_forward": 5, "heads": 1},
}
KNOBS: dict[str, dict] = {name: {"name": name} for name in ENCODERS}
KNOBS |= {name: {"name": "recurrent", **knobs} for name, knobs in RECURRENT.items()}
KNOBS |= {f"recurrent-{cell}": {"name": "recurrent", "cell": cell} for cell in CELLS}
KNOBS |= {name: {"name": "transformer", **knobs} for name, knobs in TRANSFORMER.items()}
KNOBS |= {f"transformer-{position}": {"name": "transformer", "position": position} for position in POSITIONS}
KNOBS |= {f"transformer-{score}": {"name": "transformer", "score": score, "norm": "post"} for score in SCORES}
every_encoder = pytest.mark.parametrize("name", KNOBS)


def make(name: str, **chosen: object) -> Encoder:
    """A small encoder whose every weight matters; it neither drops nor remembers."""
    torch.manual_seed(0)
    knobs = {"dim": 8, "layers": 2, **({"heads": 2} if KNOBS[name]["name"] == "transformer" else {}), **KNOBS[name], **chosen}
    encoder = choose(Encoder, **knobs)(V)
    for weight in encoder.parameters():
        nn.init.normal_(weight, std=0.5)
    return encoder.eval()


class Sum(NamedTuple):
    """A number that depends on everything an encoding says about real symbols, row by row, and how the weights would change it."""

    rows: Tensor
    gradients: dict[str, Tensor]


def probe(encoder: Encoder, source: Padded) -> Sum:
    encoder.zero_grad()
    encoding = encoder(source)
    generator = torch.Generator().manual_seed(5)
    direction = torch.randn(30, encoder.dim, generator=generator).to(encoding.final.device)
    real = encoding.outputs.masked_fill(~encoding.mask[..., None], 0.0)
    rows = (real * direction[: real.shape[1]]).sum((1, 2)) + (encoding.final * direction[-1]).sum(1)
    rows.sum().backward()
    return Sum(rows.detach(), {place: weight.grad.clone() for place, weight in encoder.named_parameters() if weight.grad is not None})


def real_outputs(encoding: Encoding) -> list[Tensor]:
    return [outputs[mask] for outputs, mask in zip(encoding.outputs, encoding.mask, strict=True)]


@every_encoder
def test_an_encoding_says_what_it_should(name: str) -> None:
    encoder, source = make(name), pad(sources())
    encoding = encoder(source)
    assert isinstance(encoding, Encoding)
    assert encoding.outputs.shape == (3, 5, encoder.dim)
    assert encoding.final.shape == (3, encoder.dim)
    assert torch.equal(encoding.mask, source.mask)
    assert torch.equal(encoding.tokens, source.ids)
    assert encoder.embedding.num_embeddings == V


@pytest.mark.parametrize("fill", [0, 4])
@every_encoder
def test_padding_changes_nothing(name: str, fill: int) -> None:
    """Neither how much of it there is nor what it is made of: not what is said, and not what is learned."""
    encoder, rows = make(name), sources()
    short, long = pad(rows), pad(rows, 12)
    long = long._replace(ids=long.ids.masked_fill(~long.mask, fill))
    one, two = encoder(short), encoder(long)
    torch.testing.assert_close(real_outputs(two), real_outputs(one), **EXACT)
    torch.testing.assert_close(two.final, one.final, **EXACT)
    torch.testing.assert_close(probe(encoder, long), probe(encoder, short), atol=1e-4, rtol=1e-5)


@every_encoder
def test_batch_mates_do_not_matter(name: str) -> None:
    """And the gradient of a batch is the sum of the gradients of its rows."""
    encoder, rows = make(name), sources()
    together = encoder(pad(rows))
    whole, parts = probe(encoder, pad(rows)), [probe(encoder, pad([row])) for row in rows]
    for i, row in enumerate(rows):
        alone = encoder(pad([row]))
        torch.testing.assert_close(alone.outputs[0], real_outputs(together)[i], **EXACT)
        torch.testing.assert_close(alone.final[0], together.final[i], **EXACT)
    for place, gradient in whole.gradients.items():
        torch.testing.assert_close(sum(part.gradients[place] for part in parts), gradient, atol=1e-4, rtol=1e-5)


@every_encoder
def test_every_weight_gets_a_gradient(name: str) -> None:
    encoder = make(name).train()
    found = probe(encoder, pad(sources())).gradients
    idle = {place for place, _ in encoder.named_parameters() if place not in found or not found[place].isfinite().all() or not (found[place] != 0).any()}
    assert not idle


@every_encoder
def test_every_real_symbol_is_heard(name: str) -> None:
    encoder, rows = make(name), sources()
    before = encoder(pad(rows))
    for i, row in enumerate(rows):
        for place in range(len(row)):
            other = [list(each) for each in rows]
            other[i][place] = 1
            after = encoder(pad(other))
            heard = (after.final - before.final).abs().amax(1) > 1e-6
            assert heard.tolist() == [i == j for j in range(3)]


@every_encoder
def test_dropout_is_for_training_only(name: str) -> None:
    encoder, source = make(name, dropout=0.5), pad(sources())
    calm = encoder(source)
    assert torch.equal(encoder(source).outputs, calm.outputs)
    assert not torch.allclose(encoder.train()(source).outputs, calm.outputs)
    torch.testing.assert_close(tuple(make(name, dropout=0.0).train()(source)), tuple(calm), **EXACT)


@every_encoder
def test_a_row_of_one_symbol_is_a_row(name: str) -> None:
    encoding = make(name)(pad([[4], [2, 3]]))
    torch.testing.assert_close(make(name)(pad([[4]])).final[0], encoding.final[0], **EXACT)


@pytest.mark.parametrize("name", ["recurrent-one-way", "recurrent-reverse"])
def test_one_way_hears_no_further_than_it_has_read(name: str) -> None:
    encoder = make(name)
    one, two = encoder(pad([[4, 5, 3, 4], [5, 4]])).outputs, encoder(pad([[4, 5, 1, 4], [5, 4]])).outputs
    unread = slice(3, None) if name == "recurrent-reverse" else slice(0, 2)
    torch.testing.assert_close(one[0, unread], two[0, unread], **EXACT)
    read = slice(0, 3) if name == "recurrent-reverse" else slice(2, None)
    assert ((one[0, read] - two[0, read]).abs().amax(-1) > 1e-6).all()


def test_the_final_vector_was_said_last() -> None:
    """At the end of a row for the reader that goes forward, at its beginning for the one that goes backward."""
    source = pad(sources())
    ends = (source.lengths - 1)[:, None, None]
    one_way = make("recurrent-one-way")(source)
    assert torch.equal(one_way.final, one_way.outputs.take_along_dim(ends, 1)[:, 0])
    reverse = make("recurrent-reverse")(source)
    assert torch.equal(reverse.final, reverse.outputs[:, 0])
    both = make("recurrent")(source)
    assert torch.equal(both.final, torch.cat([both.outputs.take_along_dim(ends, 1)[:, 0, :8], both.outputs[:, 0, 8:]], -1))
    looked = make("transformer")(source)
    means = torch.stack([outputs.mean(0) for outputs in real_outputs(looked)])
    torch.testing.assert_close(looked.final, means, **EXACT)


def test_rows_are_reversed_by_their_own_lengths() -> None:
    ids, lengths = pad([[1, 2, 3, 4], [5, 2], [3]])
    ids[1, 2:] = 7
    turned = reversed_rows(ids, lengths)
    assert turned.tolist() == [[4, 3, 2, 1], [2, 5, 7, 7], [3, 0, 0, 0]]
    assert torch.equal(reversed_rows(turned, lengths), ids)
    features = torch.stack([ids, ids * 10], -1)
    assert torch.equal(reversed_rows(features, lengths), torch.stack([turned, turned * 10], -1))


@pytest.mark.parametrize("chosen", [{"bidirectional": False}, {"bidirectional": True}, {"bidirectional": False, "residual": True}], ids=str)
def test_reverse_reads_each_row_from_its_end(chosen: dict[str, Any]) -> None:
    source = pad(sources())
    backward = make("recurrent", reverse=True, **chosen)(source)
    forward = make("recurrent", **chosen)(Padded(reversed_rows(source.ids, source.lengths), source.lengths))
    torch.testing.assert_close(backward.outputs, reversed_rows(forward.outputs, source.lengths), **EXACT)
    torch.testing.assert_close(backward.final, forward.final, **EXACT)


def test_a_residual_adds_what_went_in() -> None:
    encoder, source = make("recurrent-residual"), pad(sources())
    first, *others = encoder.layers
    x, _ = first(encoder.embedding(source.ids), source.lengths)  # 8 features become 16: nothing to add to
    for layer in others:
        y, _ = layer(x, source.lengths)
        x = x + y
    torch.testing.assert_close(encoder(source).outputs, x.masked_fill(~source.mask[..., None], 0.0), **EXACT)


def test_without_positions_a_transformer_reads_a_bag() -> None:
    order = torch.tensor([3, 0, 4, 2, 1])
    row = torch.tensor(sources()[:1])
    source, turned = Padded(row, torch.tensor([5])), Padded(row[:, order], torch.tensor([5]))
    for position in POSITIONS:
        encoder = make("transformer", position=position)
        same = torch.allclose(encoder(turned).outputs, encoder(source).outputs[:, order], atol=1e-5)
        assert same == (position == "none"), position


def make_model(encoder: str, decoder: dict[str, Any], share: bool = False) -> Seq2Seq:
    torch.manual_seed(0)
    knobs = {"dim": 8, "layers": 2, **decoder}
    width = {"heads": 2} if KNOBS[encoder]["name"] == "transformer" else {}
    return Seq2Seq(V, V, choose(Encoder, **{"dim": 8, "layers": 2, **width, **KNOBS[encoder]}), choose(Decoder, **knobs), share).eval()


@pytest.mark.parametrize(("encoder", "decoder"), [("recurrent", "recurrent"), ("recurrent-reverse", "recurrent-blind"), ("transformer", "transformer")])
def test_the_loss_of_a_padded_batch_is_the_sum_over_its_sentences(encoder: str, decoder: str) -> None:
    """Source and target are ragged; the loss and every gradient are what the sentences alone would give."""
    model = make_model(encoder, VARIANTS[decoder])
    targets = [[BOS, 4, EOS], [BOS, 5, 3, 5, 4, EOS], [BOS, EOS]]

    def loss_of(rows: list[int], spare: int = 0) -> list[Tensor]:
        model.zero_grad()
        source, target = pad([sources()[i] for i in rows], 5 + spare), pad([targets[i] for i in rows], 6 + spare if spare else 0)
        loss = cross_entropy(model(source, target.ids[:, :-1]), target.ids[:, 1:], 0.1)
        loss.total.backward()
        return [loss.total.detach(), loss.nll, loss.count, *(weight.grad.clone() for weight in model.parameters())]

    together, padded, alone = loss_of([0, 1, 2]), loss_of([0, 1, 2], 7), [loss_of([i]) for i in range(3)]
    torch.testing.assert_close(padded, together, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close([sum(parts) for parts in zip(*alone, strict=True)], together, atol=1e-4, rtol=1e-5)


def test_a_shared_matrix_is_one_matrix() -> None:
    model = make_model("transformer", VARIANTS["transformer"], share=True)
    assert model.encoder.embedding.weight is model.decoder.embedding.weight is model.decoder.output.weight
    with pytest.raises(UsageError) as refused:
        make_model("recurrent-narrow", VARIANTS["recurrent"], share=True)
    assert (refused.value.code, refused.value.headline) == ("C012", "shared embeddings need one size: encoder (6, 5), decoder (6, 8)")
    assert refused.value.parts["fix"] == ["the same dim (and embedding) on both sides, or share_embeddings = false"]
