"""word2vec: one sentence through gensim's own code and through ours, from the same weights with the same draws."""

import numpy as np
import pytest
import torch

from saccade.layers.word_vectors import WordVectors, kept

gensim = pytest.importorskip("gensim", reason="PARITY NOT CHECKED: word vectors against gensim need it (pip install gensim)")

RATE, DIM = 0.025, 6
WORDS = ["a", "b", "noise"]


@pytest.fixture(params=[False, True], ids=["skip_gram", "bag"])
def theirs(request):
    """gensim with three words, random vectors, windows of 1, and noise that is always the third word."""
    from gensim.models import Word2Vec

    chosen = {"vector_size": DIM, "window": 1, "negative": 3, "min_count": 1, "sample": 0, "alpha": RATE, "min_alpha": RATE, "workers": 1, "epochs": 1}
    model = Word2Vec(sg=int(not request.param), seed=1, **chosen)
    model.build_vocab([["a"] * 3, ["b"] * 2, ["noise"]])
    assert model.wv.index_to_key == WORDS
    rng = np.random.default_rng(0)
    model.wv.vectors[:], model.syn1neg[:] = rng.normal(size=(2, 3, DIM)) * 0.6
    model.cum_table[:] = [0, 0, 2**31 - 1]
    return model


def ours(theirs) -> WordVectors:
    """The same in ours, behind the four ids that are no words."""
    model = WordVectors(torch.tensor([0, 0, 0, 0, 3, 2, 1]), dim=DIM, window=1, negatives=3, subsample=0.0, bag=not theirs.sg)
    with torch.no_grad():
        model.input.weight[4:] = torch.from_numpy(theirs.wv.vectors.copy())
        model.output.weight[4:] = torch.from_numpy(theirs.syn1neg.copy())
    model.drawn = lambda true, generator: torch.cat([true[:, None], torch.full((len(true), 3), 6)], 1)
    return model


def test_a_sentence_moves_the_same_words_as_far(theirs):
    """gensim takes what "a b a" says one after the other; its logistic is a table with steps of 0.012, so a few parts in a hundred may differ."""
    pairs = [([5], 4), ([4], 5), ([4], 5), ([5], 4)] if theirs.sg else [([5], 4), ([4, 4], 5), ([5], 4)]
    model = ours(theirs)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    before = [table.weight.detach()[4:].clone() for table in (model.input, model.output)]
    for seen, said in pairs:
        loss = model.loss(torch.tensor([seen]), torch.tensor([said]), torch.Generator())
        optimizer.zero_grad()
        (loss.total / loss.count).backward()
        optimizer.step()
    theirs.train([["a", "b", "a"]], total_examples=1, epochs=1)
    for table, start, expected in zip((model.input, model.output), before, (theirs.wv.vectors, theirs.syn1neg), strict=True):
        moved, wanted = table.weight.detach()[4:] - start, torch.from_numpy(expected) - start
        assert float(wanted.abs().max()) > RATE
        np.testing.assert_allclose(moved, wanted, atol=RATE * 0.05)


def test_words_are_left_out_as_often():
    from gensim.models import Word2Vec

    counts = [4000, 300, 20, 1]
    model = Word2Vec(min_count=1, sample=1e-3, vector_size=2)
    model.build_vocab_from_freq({f"w{i}": count for i, count in enumerate(counts)})
    expected = [model.wv.get_vecattr(f"w{i}", "sample_int") / (2**32 - 1) for i in range(4)]
    np.testing.assert_allclose(kept(torch.tensor(counts).double(), 1e-3), expected, atol=1e-6)
