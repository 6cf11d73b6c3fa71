"""Laws of every metric: statistics add, perfection is best, nothing cannot be scored.  Then what each metric counts."""

import math
import random
from collections.abc import Callable

import pytest

from saccade.errors import UsageError
from saccade.families import choose, find, members
from saccade.metrics import Metric
from saccade.metrics.bits import Bits
from saccade.metrics.bleu import Bleu
from saccade.metrics.chrf import ChrF
from saccade.metrics.error_rate import ErrorRate, _distance
from saccade.metrics.exact import Exact
from saccade.metrics.perplexity import Perplexity

Make = Callable[[], Metric]

NEEDS_PROBABILITIES = {"perplexity", "bits"}
VARIANTS: dict[str, Make] = {
    "bleu-lowercase-char": lambda: Bleu(tokenize="char", lowercase=True),
    "chrf-words": lambda: ChrF(word_order=2),
    "error_rate-words": lambda: ErrorRate(unit="words"),
}
"""Every metric of texts, and what its knobs change; a new file in the folder joins by itself."""
for _name in members("saccade.metrics"):
    if _name not in NEEDS_PROBABILITIES:
        VARIANTS[_name] = choose(Metric, _name)
every_metric = pytest.mark.parametrize("make", VARIANTS.values(), ids=VARIANTS)


def texts(count: int, seed: int) -> tuple[list[str], list[str]]:
    """References of four words or more, and predictions that are equal, damaged, empty or about something else."""
    chance = random.Random(seed)
    words = ["Ein", "kleines", "Haus", "steht", "am", "See,", "und", "der", "Mond", "scheint.", "naïve", "北京"]
    references = [" ".join(chance.choices(words, k=chance.randint(4, 12))) for _ in range(count)]
    predictions = [
        chance.choice([text, text, text[:-1], text.upper(), "", " ".join(chance.choices(words, k=5)), text.replace("e", "x", 1)]) for text in references
    ]
    return predictions, references


@every_metric
@pytest.mark.parametrize("seed", range(4))
def test_statistics_add_over_any_split(make: Make, seed: int) -> None:
    predictions, references = texts(30, seed)
    chance = random.Random(seed)
    part_of = [chance.randrange(4) for _ in references]
    parts = [[i for i, part in enumerate(part_of) if part == wanted] for wanted in range(4)]
    whole = make().statistics(predictions, references)
    pieces = [make().statistics([predictions[i] for i in rows], [references[i] for i in rows]) for rows in parts if rows]
    summed = [sum(column) for column in zip(*pieces, strict=True)]
    assert summed == whole
    assert all(type(value) is float for value in whole)
    # A fresh metric, which has seen no text, scores sums that arrive from elsewhere.
    assert make().score(summed) == make()(predictions, references)


@every_metric
def test_nothing_beats_perfection(make: Make) -> None:
    predictions, references = texts(40, seed=9)
    best = make()(references, references)
    assert best.value == pytest.approx(100.0 if best.higher_is_better else 0.0, abs=1e-9)
    worse = make()(predictions, references)
    worst = make()([""] * 40, references)
    if best.higher_is_better:
        assert best.value > worse.value > worst.value
    else:
        assert best.value < worse.value < worst.value


@every_metric
def test_a_score_says_what_it_is(make: Make) -> None:
    metric = make()
    score = metric(["a b c d"], ["a b c d"])
    assert score.name
    assert all(":" in part for part in score.signature.split("|")[1:])
    assert score.higher_is_better == metric.higher_is_better
    assert str(score) == f"{score.name} {score.value:.2f}"


@every_metric
def test_statistics_are_those_of_the_pairs_and_not_of_their_order(make: Make) -> None:
    predictions, references = texts(12, seed=3)
    assert make().statistics(predictions[::-1], references[::-1]) == make().statistics(tuple(predictions), tuple(references))


@every_metric
def test_nothing_cannot_be_scored(make: Make) -> None:
    with pytest.raises(UsageError) as caught:
        make()([], [])
    assert (caught.value.code, caught.value.headline) == ("C021", "there is nothing to score")
    assert caught.value.parts["fix"] == ["give at least one prediction with its reference"]


@every_metric
@pytest.mark.parametrize(("said", "wanted"), [(2, 1), (1, 2), (0, 1)])
def test_predictions_and_references_must_pair_up(make: Make, said: int, wanted: int) -> None:
    with pytest.raises(UsageError) as caught:
        make()(["a"] * said, ["a"] * wanted)
    assert (caught.value.code, caught.value.headline) == ("C022", f"{said} predictions but {wanted} references")
    assert caught.value.parts["fix"] == ["give one reference for every prediction, in the same order"]


@pytest.mark.parametrize("name", members("saccade.metrics"))
def test_every_metric_can_be_found_by_name(name: str) -> None:
    assert issubclass(find(Metric, name), Metric)


# ---- exact


def test_exact_counts_equal_texts() -> None:
    score = Exact()(["a", "B", "c ", ""], ["a", "b", "c", ""])
    assert score == ("exact", 50.0, "exact|case:mixed|space:kept", True)


def test_exact_refuses_a_sum_over_nothing() -> None:
    with pytest.raises(UsageError, match="there is nothing to score"):
        Exact().score([0.0, 0.0])


# ---- error rate


def table(left: list[str], right: list[str]) -> int:
    """Levenshtein's distance by the textbook's table."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        corner, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (a != b))
    return row[-1]


@pytest.mark.parametrize("alphabet", ["ab", "abcdefgh"])
def test_the_distance_is_that_of_the_table(alphabet: str) -> None:
    chance = random.Random(1)
    for longest in (3, 12, 130):  # beyond 64, where machine words would end
        for _ in range(60 if longest < 100 else 8):
            left, right = (chance.choices(alphabet, k=chance.randint(0, longest)) for _ in range(2))
            assert _distance(left, right) == table(left, right), (left, right)


def test_known_distances() -> None:
    assert _distance("kitten", "sitting") == 3
    assert _distance("", "abc") == _distance("abc", "") == 3
    assert _distance(["the", "cat"], ["the", "big", "cat"]) == 1


def test_the_error_rate_is_an_average_over_symbols_not_over_sentences() -> None:
    score = ErrorRate()(["x", "abcdefghi"], ["a", "abcdefghi"])
    assert score == ("CER", 10.0, "error_rate|unit:characters|case:mixed|space:kept|average:micro", False)


def test_the_word_error_rate_counts_words() -> None:
    score = ErrorRate(unit="words")(["the  cat sat there"], ["the cat sat"])
    assert score == ("WER", pytest.approx(100 / 3), "error_rate|unit:words|case:mixed|space:split|average:micro", False)


def test_the_error_rate_of_empty_references() -> None:
    assert ErrorRate()([""], [""]).value == 0.0
    assert ErrorRate()(["a"], [""]).value == math.inf


# ---- perplexity


def test_a_model_that_cannot_choose_among_v_tokens_has_perplexity_v() -> None:
    score = Perplexity().from_loss(20 * math.log(7), 20)
    assert score == ("perplexity", pytest.approx(7.0), "perplexity|per:token|units:nats|tokens:20", False)
    assert Perplexity().from_loss(0.0, 3).value == 1.0


def test_summed_losses_give_the_perplexity_of_the_whole() -> None:
    nats, tokens = (3.0, 5.0), (2.0, 8.0)
    assert Perplexity().score([sum(nats), sum(tokens)]).value == pytest.approx(math.exp(8.0 / 10))


def test_a_perplexity_beyond_floats_is_infinite() -> None:
    assert Perplexity().from_loss(1000.0, 1).value == math.inf


def test_perplexity_of_text_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        Perplexity()(["a"], ["a"])
    assert (caught.value.code, caught.value.headline) == ("C020", "perplexity needs probabilities, not text")
    assert caught.value.parts["why"] == ["it measures how likely the model found the references, and a predicted text does not say so"]
    assert caught.value.parts["fix"] == ["use Perplexity().from_loss(total_nats, tokens) with the summed loss"]


def test_perplexity_of_no_tokens_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        Perplexity().from_loss(0.0, 0)
    assert (caught.value.code, caught.value.headline) == ("C021", "there is nothing to score")


# ---- chrF


def test_a_negative_word_order_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        ChrF(word_order=-1)
    assert (caught.value.code, caught.value.headline) == ("C012", "chrf.word_order = -1; it must be at least 0")
    assert caught.value.parts["fix"] == ["chrf.word_order=2"]


# ---- bits


def test_bits_are_those_of_the_whole_for_each_unit() -> None:
    one, other = (Bits(per="word").from_loss(nats, words) for nats, words in ((math.log(2) * 6, 3), (math.log(2) * 4, 1)))
    assert (one.value, other.value) == (pytest.approx(2.0), pytest.approx(4.0))
    assert Bits(per="word").score([math.log(2) * 10, 4.0]) == ("bits/word", pytest.approx(2.5), "bits|per:word|words:4", False)
    assert Bits().from_loss(math.log(2), 1).name == "bits/char"


def test_bits_of_text_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        Bits()(["a"], ["a"])
    assert (caught.value.code, caught.value.headline) == ("C020", "bits need probabilities, not text")
    with pytest.raises(UsageError) as caught:
        Bits().from_loss(0.0, 0)
    assert caught.value.code == "C021"
