"""Counting the Penn Treebank: Kneser-Ney beside what was there before it (Chen and Goodman 1999; Mikolov and Zweig 2012, table 1).

    python -m reproductions.kneser DIR            DIR holds ptb.train.txt, ptb.valid.txt, ptb.test.txt, gzipped or not

Every line is a text of its own, BOS before it and EOS, which is counted, behind it: 82,430 symbols of the test text.  The k of add-k is
the best of a few on the validation text; everything else is as it comes.  With KenLM installed, it reads the model and has its say.
"""

import math
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from saccade.decoders.ngram import Ngram
from saccade.interop.arpa import spelled, write_arpa
from saccade.text.corpus import read_lines
from saccade.text.vocabulary import Vocabulary
from saccade.types import BOS, EOS, PAD, pad

ORDERS = (1, 2, 3, 4, 5)
SMOOTHINGS = ("add_k", "good_turing", "kneser_ney", "modified_kneser_ney")
TRIED = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
Texts = list[list[int]]


def words_of(folder: Path, split: str) -> list[list[str]]:
    """The words of every line."""
    path = folder / f"ptb.{split}.txt"
    return [line.split() for line in read_lines(path if path.exists() else path.with_name(f"{path.name}.gz"))]


def scores(decoder: Ngram, texts: Texts, what: str = "logprobs") -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """What `decoder` says of each symbol, and which symbols are there, a few hundred texts at a time."""
    for left in range(0, len(texts), 256):
        rows = pad(texts[left : left + 256]).ids
        memory, state = decoder.start(None, len(rows))
        yield getattr(decoder, what)(rows[:, :-1], rows[:, 1:], state, memory)[0], rows[:, 1:] != PAD


def perplexity(decoder: Ngram, texts: Texts) -> float:
    """Per symbol."""
    found = [said[real] for said, real in scores(decoder, texts)]
    return math.exp(-torch.cat(found).mean().item())


def furthest_from_one(decoder: Ngram, texts: Texts, histories: int = 1000) -> float:
    """The largest error of a sum of probabilities: after the beginnings of test sentences, and after words drawn at random."""
    draw, read = random.Random(1), []
    for number in range(histories):
        text = draw.choice(texts)
        begun = text[: draw.randrange(1, len(text))] if number % 2 else [draw.randrange(EOS, decoder.vocab) for _ in range(draw.randrange(1, 6))]
        read.append([*[PAD] * 6, *begun][-6:])  # before a text there is nothing but PAD
    worst = 0.0
    for rows in torch.tensor(read).split(100):
        memory, state = decoder.start(None, len(rows))
        _, state = decoder.logprobs(rows[:, :-1], rows[:, 1:], state, memory)
        worst = max(worst, (decoder(rows[:, -1:], state, memory)[0].exp().sum(-1) - 1).abs().max().item())
    return worst


def counted(texts: Sequence[np.ndarray], vocab: int, order: int, smoothing: str, k: float = 0.01) -> tuple[Ngram, float]:
    """A model, and how many seconds it took."""
    decoder = Ngram(vocab, None, order=order, smoothing=smoothing, k=k)  # type: ignore[arg-type]
    before = time.perf_counter()
    decoder.count(texts)
    return decoder, time.perf_counter() - before


def best_k(texts: Sequence[np.ndarray], vocab: int, order: int, valid: Texts) -> float:
    """The first of `TRIED` that a smaller one does not better on the validation text."""
    best, least = TRIED[0], math.inf
    for k in TRIED:
        found = perplexity(counted(texts, vocab, order, "add_k", k)[0], valid)
        if found > least:
            break
        best, least = k, found
    return best


def beside_kenlm(decoder: Ngram, symbols: list[str], texts: Texts) -> str:
    """The largest difference of a log-probability, base 10."""
    try:
        import kenlm
    except ImportError:
        return "not compared with KenLM: pip install kenlm"
    with tempfile.TemporaryDirectory() as folder:
        write_arpa(decoder, symbols, Path(folder) / "ptb.arpa")
        theirs, words = kenlm.Model(f"{folder}/ptb.arpa"), spelled(symbols)
        ours = torch.cat([said[real] for said, real in scores(decoder, texts)]) / math.log(10)
        lengths = torch.cat([said[real] for said, real in scores(decoder, texts, "orders")])
        found = [each for text in texts for each in theirs.full_scores(" ".join(words[symbol] for symbol in text[1:-1]))]
    worst = (ours - torch.tensor([score for score, _, _ in found], dtype=torch.float64)).abs().max().item()
    alike = (lengths == torch.tensor([length for _, length, _ in found])).double().mean().item()
    return f"KenLM: {len(found):,} log10 probabilities differ by {worst:.1e} at most; {100 * alike:.2f} % come from n-grams of the same length"


def main(folder: Path) -> None:
    """Print every figure."""
    words = {split: words_of(folder, split) for split in ("train", "valid", "test")}
    vocabulary = Vocabulary.count(word for text in words["train"] for word in text)
    train, valid, test = ([[BOS, *vocabulary.ids(text), EOS] for text in words[split]] for split in ("train", "valid", "test"))
    texts, vocab = [np.array(text) for text in train], len(vocabulary)
    print(f"{sum(map(len, train)) - len(train):,} symbols to count, {sum(map(len, test)) - len(test):,} to predict, {vocab - 2:,} that can be said")
    for smoothing in SMOOTHINGS:
        for order in ORDERS:
            k = best_k(texts, vocab, order, valid) if smoothing == "add_k" else 0.01
            decoder, seconds = counted(texts, vocab, order, smoothing, k)
            chosen = f"  k = {k}" if smoothing == "add_k" else ""
            print(
                f"{smoothing:<20} order {order}  valid {perplexity(decoder, valid):9.2f}  test {perplexity(decoder, test):9.2f}  "
                f"|sum - 1| <= {furthest_from_one(decoder, test):.1e}  {seconds:.1f} s{chosen}",
                flush=True,
            )
        if smoothing == SMOOTHINGS[-1]:
            print(beside_kenlm(decoder, vocabulary.symbols(range(vocab)), test), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
