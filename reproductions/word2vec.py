"""Word vectors agree with gensim's: Mikolov et al. (2013b), skip-grams with negative samples, the same settings in both.

    pip install gensim
    python -m reproductions.word2vec DIR_OF_WIKITEXT2 [DIR_OF_WORD_SIMILARITY]          a quarter of an hour on one core

The claims: the loss (fixed words left out, windows and negatives, the same for all models, drawn by saccade) is within 2 % of gensim's
mean; the ten nearest neighbours of the 1,000 most frequent words agree with gensim's at least half as well as gensim's agree between two
seeds; and the products v . u of pairs seen often correlate with PMI - log k at 0.5 at least (Levy and Goldberg 2014).
"""

import csv
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from saccade.layers.word_vectors import WordVectors
from saccade.recipe import read_recipe
from saccade.run import Model, Run, load
from saccade.text.corpus import read_lines

SEEDS = (1, 2)
FREQUENT = 1000
NEIGHBOURS = 10
SEEN = 50
"""How often a pair must occur to count as frequent."""
WITHIN, OVERLAP, CORRELATION = 0.02, 0.5, 0.5


class Found(NamedTuple):
    """One model: weights as ours, row by row of our vocabulary."""

    name: str
    network: WordVectors
    seconds: float  # of the processor


def train_ours(folder: Path, run: Path, seed: int) -> tuple[Model, float]:
    """The recipe, from the command line's own path."""
    recipe = read_recipe("wikitext2-word2vec", overrides=[f"data.folder={folder}", f"seed={seed}", "training.device=cpu"])
    begun = time.process_time()
    for event in Run.begin(recipe, run).train():
        print(event, flush=True)
    return load(run, device="cpu"), time.process_time() - begun


def train_gensim(ours: Model, lines: Sequence[str], seed: int) -> Found:
    """gensim with the settings of the recipe, one worker (more are not reproducible), its vectors in a model of ours."""
    from gensim.models import Word2Vec

    task, begun = ours.task, time.process_time()
    sentences = [words for line in lines if (words := line.split())]
    settings = {"vector_size": task.dim, "window": task.window, "negative": task.negatives, "sample": task.subsample, "min_count": 5, "epochs": 5, "sg": 1}
    trained = Word2Vec(sentences, workers=1, seed=seed, **settings)
    network, places = task.build(), task.places
    if set(trained.wv.index_to_key) != set(places):
        raise ValueError("the vocabularies differ")
    rows = [trained.wv.key_to_index[word] for word in places]
    with torch.no_grad():
        network.input.weight[list(places.values())] = torch.from_numpy(trained.wv.vectors[rows])
        network.output.weight[list(places.values())] = torch.from_numpy(trained.syn1neg[rows])
    return Found(f"gensim, seed {seed}", network.eval(), time.process_time() - begun)


def neighbours(ours: Model, found: Found) -> np.ndarray:
    """The rows of the nearest words of the frequent ones."""
    vectors = ours.task.vectors(found.network)
    cosines = vectors[:FREQUENT] @ vectors.T
    cosines[torch.arange(FREQUENT), torch.arange(FREQUENT)] = -2.0
    return cosines.topk(NEIGHBOURS).indices.numpy()


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """The mean share of neighbours that two models have in common."""
    return float(np.mean([len(np.intersect1d(a, b)) / NEIGHBOURS for a, b in zip(one, other, strict=True)]))


def frequent_pairs(ours: Model, lines: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Words, words near them, and PMI - log k, of the pairs that five epochs of sampling saw often."""
    task, size, coins = ours.task, ours.task.tokenizer.size, torch.Generator().manual_seed(5)
    examples, seen = task.examples(lines), []
    for epoch in range(5):
        for rows in examples.plan(50_000, 0, epoch):
            given, said = ours.network.pairs(examples.batch(rows.tolist()), coins)
            seen.append((given[:, 0] * size + said).numpy())
    codes, counts = np.unique(np.concatenate(seen), return_counts=True)
    given, said = np.divmod(codes, size)
    singles = [np.bincount(side, weights=counts, minlength=size) for side in (given, said)]
    pmi = np.log(counts * float(counts.sum()) / (singles[0][given] * singles[1][said]))
    often = counts >= SEEN
    return given[often], said[often], (pmi - np.log(task.negatives))[often]


def products(network: WordVectors, given: np.ndarray, said: np.ndarray) -> np.ndarray:
    """v . u of many pairs."""
    with torch.no_grad():
        return (network.input.weight[given] * network.output.weight[said]).sum(1).numpy()


def ranks(values: Sequence[float]) -> np.ndarray:
    """From 0; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[inverse]


def judged_pairs(ours: Model, file: Path) -> list[tuple[int, int, float]]:
    """Rows of both words and people's judgement, of the pairs that are known (as they are written, or in lower case)."""
    place = {word: row for row, word in enumerate(ours.task.places)}
    with file.open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["similarity"]]  # two of the files end in an empty one
    known = [(*(place.get(row[side], place.get(row[side].lower())) for side in ("word1", "word2")), float(row["similarity"])) for row in rows]
    return [(a, b, score) for a, b, score in known if a is not None and b is not None]


def similarity(ours: Model, found: Found, pairs: Sequence[tuple[int, int, float]]) -> float:
    """Spearman's correlation of the cosines with people's judgements."""
    vectors = ours.task.vectors(found.network)
    cosines = [float(vectors[a] @ vectors[b]) for a, b, _ in pairs]
    return float(np.corrcoef(ranks(cosines), ranks([score for *_, score in pairs]))[0, 1])


def main(folder: Path, judged: Path | None = None) -> bool:
    """Everything: a table and the verdicts; true if all hold."""
    torch.set_num_threads(1)
    train, valid = (read_lines(folder / f"{name}.txt.gz") for name in ("train", "valid"))
    with tempfile.TemporaryDirectory() as place:
        ours, seconds = train_ours(folder, Path(place) / "run", 1)
    models = [Found("saccade", ours.network, seconds), *(train_gensim(ours, train, seed) for seed in SEEDS)]
    losses = np.array([[ours.task.evaluate(each.network, part, ours.recipe.search)[0].value for part in (train[::10], valid)] for each in models])
    near = [neighbours(ours, each) for each in models]
    given, said, shifted = frequent_pairs(ours, train)
    correlations = [float(np.corrcoef(products(each.network, given, said), shifted)[0, 1]) for each in models]
    print(f"{'':<18}{'seconds':>9}{'loss train':>12}{'valid':>9}{'PMI':>7}")
    for each, loss, correlation in zip(models, losses, correlations, strict=True):
        print(f"{each.name:<18}{each.seconds:>9.0f}{loss[0]:>12.4f}{loss[1]:>9.4f}{correlation:>7.3f}")
    apart = losses[0] / losses[1:].mean(0) - 1
    itself, agree = overlap(near[1], near[2]), (overlap(near[0], near[1]) + overlap(near[0], near[2])) / 2
    verdicts = {
        f"loss {apart[0]:+.2%} (train), {apart[1]:+.2%} (valid) of gensim's; claim: within {WITHIN:.0%}": bool((abs(apart) <= WITHIN).all()),
        f"neighbours shared with gensim {agree:.3f}, gensim with itself {itself:.3f}; claim: at least {OVERLAP} of that": agree >= OVERLAP * itself,
        f"correlation with PMI - log k {correlations[0]:.3f} on {len(given):,} pairs; claim: at least {CORRELATION}": correlations[0] >= CORRELATION,
    }
    for said_, held in verdicts.items():
        print(f"{'held' if held else 'FAILED'}: {said_}")
    for file in sorted(judged.glob("*.csv")) if judged else []:
        pairs = judged_pairs(ours, file)
        print(f"{file.stem}, {len(pairs)} pairs: " + ", ".join(f"{each.name} {similarity(ours, each, pairs):.3f}" for each in models))
    return all(verdicts.values())


if __name__ == "__main__":
    sys.exit(not main(*map(Path, sys.argv[1:])))
