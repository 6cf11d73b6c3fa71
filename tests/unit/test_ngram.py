"""N-grams against a plain twin: dictionaries, one symbol at a time, every formula as it is published."""

import math
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.decoders.ngram import Ngram
from saccade.errors import ModelError, UsageError
from saccade.models import LanguageModel
from saccade.recipe import on_paper
from saccade.training.checkpoint import load_weights, weights_of
from saccade.types import BOS, EOS, PAD, UNK, pad

V = 12  # of which one, beside the specials, never occurs
SAYABLE = range(EOS, V)
SMOOTHINGS = ["modified_kneser_ney", "kneser_ney", "good_turing", "add_k"]
every_smoothing = pytest.mark.parametrize("smoothing", SMOOTHINGS)
texts_of_few = st.lists(st.lists(st.integers(UNK + 1, UNK + 4), max_size=9), min_size=1, max_size=25)
contexts = st.lists(st.integers(EOS, UNK + 5), max_size=6)


def framed(texts: list[list[int]]) -> list[np.ndarray]:
    return [np.array([BOS, *text, EOS]) for text in texts]


def random_texts(seed: int, many: int = 300) -> list[list[int]]:
    """A chain in which some symbols follow each other often: all counts from 0 to hundreds occur."""
    draw = np.random.default_rng(seed)
    step = draw.dirichlet([0.3] * 7, size=V)
    texts = []
    for _ in range(many):
        text = [4]
        while draw.random() > 0.2:
            text.append(int(draw.choice(range(4, 11), p=step[text[-1]])))
        texts.append(text)
    return texts


class Twin:
    """P(word | history), spelled out."""

    def __init__(self, texts: list[list[int]], order: int, smoothing: str, k: float = 0.01, katz: int = 5) -> None:
        self.order, self.smoothing, self.k, self.katz = order, smoothing, k, katz
        self.raw: Counter = Counter()
        for text in texts:
            symbols = [BOS, *text, EOS]
            self.raw.update(tuple(symbols[i : i + n]) for n in range(1, order + 1) for i in range(len(symbols) - n + 1))
        del self.raw[(BOS,)]
        self.chance = cache(self.chance)
        self.counts = {gram: self.adjusted(gram) for gram in self.raw} if "kneser" in smoothing else dict(self.raw)

    def adjusted(self, gram: tuple[int, ...]) -> int:
        if len(gram) == self.order or gram[0] == BOS:
            return self.raw[gram]
        return len([symbol for symbol in range(V) if (symbol, *gram) in self.raw])

    def met(self, order: int) -> Counter:
        """How many n-grams have each count."""
        return Counter(count for gram, count in self.counts.items() if len(gram) == order)

    def chance(self, word: int, history: tuple[int, ...]) -> float:
        """After at most order - 1 symbols; what stands before BOS is gone."""
        if word in (PAD, BOS):
            return 0.0
        if BOS in history:
            history = history[len(history) - 1 - history[::-1].index(BOS) :]
        history = history[max(len(history) - self.order + 1, 0) :]
        return {"add_k": self.add_k, "good_turing": self.good_turing}.get(self.smoothing, self.kneser_ney)(word, history)

    def lower(self, word: int, history: tuple[int, ...]) -> float:
        return self.chance(word, history[1:]) if history else 1 / len(SAYABLE)

    def kneser_ney(self, word: int, history: tuple[int, ...]) -> float:
        after = [self.counts.get((*history, symbol), 0) for symbol in SAYABLE]
        if not sum(after):
            return self.lower(word, history)
        discount = self.discounts(len(history) + 1)
        own = self.counts.get((*history, word), 0)
        given = sum(discount[min(count, 3)] for count in after)
        return (own - discount[min(own, 3)] + given * self.lower(word, history)) / sum(after)

    def discounts(self, order: int) -> list[float]:
        n = self.met(order)
        if self.smoothing == "kneser_ney":
            return [0, *[n[1] / (n[1] + 2 * n[2]) if n[1] and n[2] else 0.5] * 3]
        if not all(n[i] for i in (1, 2, 3, 4)):
            return [0, 0.5, 1, 1.5]
        y = n[1] / (n[1] + 2 * n[2])
        found = [0, *(i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3))]
        return found if min(found[1:]) > 0 else [0, 0.5, 1, 1.5]

    def add_k(self, word: int, history: tuple[int, ...]) -> float:
        if len(history) < self.order - 1 and history[:1] != (BOS,):
            return 1 / len(SAYABLE)  # shorter contexts are not asked
        after = sum(self.counts.get((*history, symbol), 0) for symbol in SAYABLE)
        if not after and history:
            return 1 / len(SAYABLE)
        return (self.counts.get((*history, word), 0) + self.k) / (after + self.k * len(SAYABLE))

    def good_turing(self, word: int, history: tuple[int, ...]) -> float:
        after = {symbol: count for symbol in SAYABLE if (count := self.counts.get((*history, symbol), 0))}
        if not after:
            return self.lower(word, history)
        ratio = self.turing(len(history) + 1)
        kept = {symbol: count * ratio.get(count, 1.0) for symbol, count in after.items()}
        total = sum(after.values())
        left = total - sum(kept.values())
        if len(after) == len(SAYABLE):
            total, left = sum(kept.values()), 0.0
        elif left < 1e-9:
            total, left = total + 1, 1.0
        if word in after:
            return kept[word] / total
        return left / total * self.lower(word, history) / sum(self.lower(symbol, history) for symbol in SAYABLE if symbol not in after)

    def turing(self, order: int) -> dict[int, float]:
        n = self.met(order)
        for most in range(self.katz, 0, -1):
            if all(n[r] for r in range(1, most + 1)) and (rest := (most + 1) * n[most + 1] / n[1]) < 1:
                ratio = {r: ((r + 1) * n[r + 1] / (r * n[r]) - rest) / (1 - rest) for r in range(1, most + 1)}
                if all(0 < each < 1 for each in ratio.values()):
                    return ratio
        return {}


def counted(texts: list[list[int]], order: int, smoothing: str, **knobs: float) -> Ngram:
    decoder = Ngram(V, None, order=order, smoothing=smoothing, **knobs)
    decoder.count(framed(texts))
    return decoder


def after(decoder: Ngram, history: list[int]) -> torch.Tensor:
    """The probabilities of all symbols."""
    memory, state = decoder.start(None, 1)
    return decoder(torch.tensor([history]), state, memory)[0][0, -1].exp()


def assert_as_the_twin(texts: list[list[int]], history: list[int], order: int, smoothing: str, **knobs: float) -> None:
    decoder, twin = counted(texts, order, smoothing, **knobs), Twin(texts, order, smoothing, **knobs)
    found = after(decoder, history)
    expected = torch.tensor([twin.chance(word, tuple(history)) for word in range(V)], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-9)
    assert found.sum().item() == pytest.approx(1.0, abs=1e-9)
    assert (found[EOS:] > 0).all()


@every_smoothing
@given(texts=texts_of_few, history=contexts, order=st.integers(1, 5), begins=st.booleans(), k=st.sampled_from([0.01, 1.0]))
@settings(max_examples=100, deadline=None)
def test_a_few_texts(smoothing: str, texts: list[list[int]], history: list[int], order: int, begins: bool, k: float) -> None:
    assert_as_the_twin(texts, [BOS, *history] if begins or not history else history, order, smoothing, k=k)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@every_smoothing
def test_texts_whose_counts_of_counts_are_as_they_should_be(smoothing: str, order: int) -> None:
    """Here all three discounts, and Turing's, are their own and not the ones for little data; seen contexts and others."""
    regular = 0
    for seed in range(6):
        texts = random_texts(seed)
        twin = Twin(texts, order, smoothing)
        regular += twin.discounts(order) != [0, 0.5, 1, 1.5] if "kneser" in smoothing else bool(twin.turing(order)) if smoothing == "good_turing" else 1
        for history in ([BOS], [BOS, 4], [4, 5, 6], [BOS, 4, 5, 5], [11, 4], [11], [4, EOS], [6, 6, 6, 6]):
            assert_as_the_twin(texts, history, order, smoothing)
    assert regular or order < 3  # so few symbols


@every_smoothing
def test_targets_alone_are_looked_up_as_in_the_whole_distribution(smoothing: str) -> None:
    """Their probabilities, their loss, and which order answered."""
    texts = random_texts(0)
    decoder, twin = counted(texts, 3, smoothing), Twin(texts, 3, smoothing)
    rows = pad([[BOS, *text, EOS] for text in [[4, 5, 11, 6], [6], random_texts(9, 1)[0], []]]).ids
    tokens, targets = rows[:, :-1], rows[:, 1:]
    memory, state = decoder.start(None, len(rows))
    logits, last = decoder(tokens, state, memory)
    found, after_targets = decoder.logprobs(tokens, targets, state, memory)
    assert torch.equal(last, after_targets)
    torch.testing.assert_close(found, logits.gather(2, targets[..., None])[..., 0], atol=1e-12, rtol=1e-12)
    loss, _ = decoder.loss(tokens, targets, state, memory, 0.1)
    real = targets != PAD
    assert loss.count == real.sum()
    assert loss.total.item() == loss.nll.item() == pytest.approx(-found[real].sum().item(), rel=1e-6)
    orders, _ = decoder.orders(tokens, targets, state, memory)
    for i, place in real.nonzero().tolist():
        symbols = tuple(rows[i, max(place - 1, 0) : place + 2].tolist())
        assert orders[i, place] == max((n for n in (2, 3) if len(symbols) >= n and symbols[-n:] in twin.raw), default=1)
    assert set(orders[real].tolist()) == {1, 2, 3}


def test_nothing_reaches_across_the_beginning_of_a_text() -> None:
    """One stream of many texts is many texts; and what stood before BOS is forgotten."""
    texts = random_texts(1, 50)
    decoder, other = counted(texts, 4, "kneser_ney"), Ngram(V, None, order=4, smoothing="kneser_ney")
    other.count([np.concatenate(framed(texts))])
    for one, two in zip(decoder.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    torch.testing.assert_close(after(decoder, [4, 5, BOS, 4]), after(decoder, [BOS, 4]))


def test_a_symbol_of_no_vocabulary_is_not_counted() -> None:
    with pytest.raises(IndexError, match="ids from 1 to 12 in a vocabulary of 12"):
        Ngram(V, None).count([np.array([BOS, V, EOS])])


def test_before_anything_is_counted_all_is_equally_likely() -> None:
    for smoothing in SMOOTHINGS:
        expected = torch.tensor([0.0, 0.0, *[1 / len(SAYABLE)] * len(SAYABLE)], dtype=torch.float64)
        torch.testing.assert_close(after(Ngram(V, None, smoothing=smoothing), [BOS, 4]), expected)


@pytest.mark.parametrize(
    ("knob", "value", "allowed"),
    [
        ("order", 0, "1 and at most 20"),
        ("order", 21, "1 and at most 20"),
        ("k", 0.0, "1e-09 and at most 1000000000.0"),
        ("k", math.nan, "1e-09 and at most 1000000000.0"),
        ("katz", 0, "1 and at most 1000"),
    ],
)
def test_impossible_knobs_are_refused(knob: str, value: float, allowed: str) -> None:
    with pytest.raises(UsageError) as refused:
        Ngram(V, None, **{knob: value})
    assert (refused.value.code, refused.value.headline) == ("C012", f"{knob} = {value}; it must be at least {allowed}")
    assert refused.value.parts["fix"] == ["leave it out"]


def test_a_source_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        Ngram(V, 16)
    assert (refused.value.code, refused.value.headline) == ("C012", "ngram reads no source: it only knows how a text goes on")
    assert refused.value.parts["fix"] == ['task = "language_model", or another decoder']


def model(order: int = 3) -> LanguageModel:
    return LanguageModel(V, lambda vocab, memory_dim: Ngram(vocab, memory_dim, order=order))


@pytest.mark.parametrize("order", [1, 2, 4])
def test_a_loaded_model_is_the_one_that_was_saved(order: int) -> None:
    ours, theirs = model(order), model(order)
    ours.decoder.count(framed(random_texts(3)))
    with on_paper():
        load_weights(model(order), weights_of(ours), Path("m.safetensors"))
    load_weights(theirs, weights_of(ours), Path("m.safetensors"))
    assert list(dict(ours.named_parameters())) == list(dict(theirs.named_parameters()))
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
        assert not other.requires_grad
    assert torch.equal(after(theirs.decoder, [BOS, 4, 5]), after(ours.decoder, [BOS, 4, 5]))
    theirs.decoder.count(framed([]))  # and it can be counted anew
    assert all(len(keys) == 0 for keys in theirs.decoder.keys)


def test_on_paper_it_takes_no_memory() -> None:
    with on_paper():
        assert all(weight.is_meta for weight in model().parameters())


def spoiled(name: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    ours = model()
    ours.decoder.count(framed(random_texts(3)))
    return {**weights_of(ours), name: value}


def sound(name: str) -> torch.Tensor:
    return spoiled("", torch.zeros(0))[name].clone()


def changed(name: str, place: int, value: float) -> dict[str, torch.Tensor]:
    table = sound(name)
    table[place] = value
    return spoiled(name, table)


KEYS = "the keys of n-grams do not rise from 0 to the number of contexts times that of symbols"
CHANCES = "what should be the logarithm of a probability is none"


@pytest.mark.parametrize(
    ("weights", "code", "said"),
    [
        (changed("decoder.keys.0", -1, V * V), "M010", KEYS),
        (changed("decoder.keys.0", 0, -1), "M010", KEYS),
        (changed("decoder.keys.1", -1, 2**62), "M010", KEYS),
        (changed("decoder.keys.1", 3, 0), "M010", KEYS),
        (spoiled("decoder.keys.0", sound("decoder.keys.0").double() * math.nan), "M010", KEYS),
        (changed("decoder.chances.0", 4, 1.0), "M010", CHANCES),
        (changed("decoder.chances.2", 0, math.nan), "M010", CHANCES),
        (changed("decoder.backoffs.0", 0, math.inf), "M010", CHANCES),
        (changed("decoder.backoffs.1", 0, math.nan), "M010", CHANCES),
        (spoiled("decoder.keys.1", sound("decoder.keys.1")[:-1]), "M014", "decoder.chances.2: "),
        (spoiled("decoder.keys.0", sound("decoder.keys.0")[:0]), "M014", "decoder.chances.1: "),
        (spoiled("decoder.keys.0", sound("decoder.keys.0")[None]), "M014", "decoder.keys.0: 1x"),
        (spoiled("decoder.keys.0", torch.tensor(3)), "M014", "decoder.keys.0: "),
        (spoiled("decoder.backoffs.1", torch.zeros(2)), "M014", "decoder.backoffs.1: 2 in the file"),
        (spoiled("decoder.chances.0", torch.zeros(V + 1)), "M014", "decoder.chances.0: 13 in the file, 12 in the model"),
        ({}, "M014", "missing in the file"),
    ],
)
def test_tables_that_cannot_be_are_refused(weights: dict[str, torch.Tensor], code: str, said: str) -> None:
    with pytest.raises(ModelError) as refused:
        load_weights(model(), weights, Path("m.safetensors"))
    assert refused.value.code == code
    if code == "M010":
        assert refused.value.headline == f"m.safetensors is damaged: decoder: {said}"
        assert refused.value.parts["fix"] == ["copy it again; compare the sizes"]
    else:
        assert any(said in line for line in refused.value.parts["look"])


def test_tables_of_another_order_are_refused() -> None:
    with pytest.raises(ValueError, match="the tables are not those of 3-grams over 12 symbols"):
        model(3).decoder.become(counted([[4]], 2, "add_k").tables())
